"""Networks of torchvision, with published weights, with a checkpoint of the user's own, or untrained."""

from __future__ import annotations

import re
import urllib.error
from enum import Enum
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
import torchvision  # type: ignore[import-untyped]
from torch import nn

from linbp.errors import ModelError, nearest_name
from linbp.models.centre_crop import read_crop
from linbp.models.checkpoint import file_sha256, fill, is_path, preserved_random_state, read_checkpoint
from linbp.models.model import Model
from linbp.models.own_head import changed_head, class_names_beside, preprocessing_beside

__all__ = ["load"]

_OWN_SCALING = ("inception_v3", "googlenet")
"""Networks trained on (x - 0.5) / 0.5. Their weights undo ImageNet's normalisation inside the network."""


def load(rest: str) -> Model:
    """Load `NAME@WEIGHTS`, where the weights are the name of published ones, the path of a checkpoint, or `random`.

    Mean, standard deviation, size and interpolation are those of the weights; for a checkpoint or an untrained network,
    those of the first weights that torchvision lists for it. Inception v3 and GoogLeNet are normalised once: their
    `transform_input` is off, and the preprocessing is (x - 0.5) / 0.5. A checkpoint decides how many classes the
    network has, and may name them: see `own_head`.

    Raises:
        ModelError: unknown network or weights; weights that cannot be downloaded or do not fit.
    """
    name, _, wanted = rest.partition("@")
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ModelError(f"torchvision has no classifier called {name!r}.", nearest_name(name, known))
    published = list(torchvision.models.get_model_weights(name))
    listed = ", ".join(f"torchvision:{name}@{weights.name}" for weights in published)
    source: dict[str, Any]
    names, given = tuple(published[0].meta["categories"]), dict[str, Any]()
    if wanted == "random":
        weights, module = published[0], _build(name, {})
        source = {"weights": "random, seed 0"}
    elif is_path(wanted):
        state = {_densenet_key(key): value for key, value in read_checkpoint(wanted).items()}
        usual = len(published[0].meta["categories"])
        with torch.device("meta"):
            classes = changed_head(_build(name, state), usual, state) or usual
        weights, module = published[0], _build(name, state, **({} if classes == usual else {"num_classes": classes}))
        fill(module, state, Path(wanted).name)
        names = class_names_beside(wanted, classes) or (names if classes == usual else ())
        given = preprocessing_beside(wanted)
        source = {"weights": Path(wanted).name, "file_sha256": file_sha256(Path(wanted).expanduser())}
    elif wanted in [entry.name for entry in published]:
        weights = next(entry for entry in published if entry.name == wanted)
        names = tuple(weights.meta["categories"])
        path = _fetch(name, weights)
        with preserved_random_state():
            module = torchvision.models.get_model(name, weights=weights, progress=False)
        source = {"weights": wanted, "url": weights.url, "file_sha256": file_sha256(path)}
    else:
        message = f"torchvision:{name} has no weights called {wanted!r}." if wanted else f"Which weights of {name}?"
        raise ModelError(message, f"Write {listed}, or the path of a checkpoint after the @, or @random.")
    model = _model(name, module, weights, source, given)
    model.class_names = names
    return model


def _build(name: str, state: dict[str, torch.Tensor], **more: Any) -> nn.Module:
    """The network as the first published weights need it, with the auxiliary heads that `state` holds."""
    options: dict[str, Any] = dict(more)
    if name in _OWN_SCALING:
        heads = any(key.startswith(("aux", "AuxLogits")) for key in state)
        options |= {"aux_logits": heads, "init_weights": not state}
    with preserved_random_state():
        module: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return module


def _densenet_key(key: str) -> str:
    # DenseNet's published files are older than the rule that module names hold no dots.
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", key)


def _fetch(name: str, weights: Any) -> Path:
    """The weights' file in torch's cache, downloaded if missing, with its hash checked, and free of code.

    torchvision itself unpickles the file without restriction, so it is first read with `weights_only=True`.
    """
    file = Path(urlparse(weights.url).path).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not path.is_file():
        found = re.search(r"-([0-9a-f]{8,})\.", file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(weights.url, str(path), found.group(1) if found else None, progress=False)
        except (urllib.error.URLError, HTTPException, OSError, RuntimeError) as error:
            raise ModelError(
                f"The weights {weights.name} of {name} could not be downloaded: {error}.",
                f"Fetch {weights.url} elsewhere and put it at {path}, or write torchvision:{name}@path/to/{file}.",
            ) from error
    read_checkpoint(path)
    return path


def _model(name: str, module: nn.Module, weights: Any, source: dict[str, Any], given: dict[str, Any]) -> Model:
    preset = weights.transforms()
    mean, std = preset.mean, preset.std
    if name in _OWN_SCALING:
        module.transform_input = False  # type: ignore[assignment]
        mean = std = (0.5, 0.5, 0.5)
    interpolation = preset.interpolation
    usual = {
        "input_size": (3, preset.crop_size[0], preset.crop_size[0]),
        "mean": mean,
        "std": std,
        "interpolation": str(interpolation.value if isinstance(interpolation, Enum) else interpolation),
    }
    model = Model(
        module,
        **{**usual, **given},
        name=f"torchvision:{name}@{source['weights'].partition(',')[0]}",
        source=source,
    )
    model.published_crop = read_crop(model.input_size[1:], preset.resize_size[0], preset.crop_size[0])
    return model
