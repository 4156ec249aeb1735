"""Networks of timm, with published weights, with a checkpoint of the user's own, or untrained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from timm.models import get_pretrained_cfg
from torch import nn

from linbp.errors import ModelError, nearest_name
from linbp.models.checkpoint import file_sha256, fill, is_path, preserved_random_state, read_checkpoint
from linbp.models.model import Model
from linbp.models.own_head import class_names_beside, head_size, preprocessing_beside
from linbp.models.timm_folder import load as load_folder
from linbp.models.timm_weights import class_names_of, quiet, with_preprocessing

__all__ = ["load"]


def load(rest: str) -> Model:
    """Load `NAME.TAG`, where the tag names published weights, or `NAME@FILE`, or `NAME@random`.

    Mean, standard deviation, size and interpolation are those that timm has for the weights; for a checkpoint or an
    untrained network, those of the tag, or else of the first weights that timm lists for the network.

    A checkpoint decides how many classes the network has, and may name them: see `own_head`.

    Raises:
        ModelError: unknown network or tag; weights that cannot be downloaded or do not fit.
    """
    if rest.startswith(("hf-hub:", "local-dir:")):
        return load_folder(rest)
    name, at, wanted = rest.partition("@")
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise ModelError(
            f"timm has no network called {architecture!r}.", nearest_name(architecture, timm.list_models())
        )
    published = [*timm.list_pretrained(f"{architecture}.*"), *timm.list_pretrained(architecture)]
    if (tag or not at) and name not in published:
        message = f"timm:{architecture} has no weights called {tag!r}." if tag else f"Which weights of {architecture}?"
        listed = ", ".join(f"timm:{entry}" for entry in published) or f"timm:{architecture}@path/to/checkpoint"
        raise ModelError(message, f"Write {listed}, or timm:{architecture}@path/to/checkpoint, or @random.")
    source: dict[str, Any]
    names: tuple[str, ...] = ()
    given: dict[str, Any] = {}
    if not at:
        module, source = _published(name), {"weights": tag or name}
        names = class_names_of(module)
    elif wanted == "random":
        module, source = _build(name), {"weights": "random, seed 0"}
    elif is_path(wanted):
        state, usual = read_checkpoint(wanted), get_pretrained_cfg(name)
        assert usual is not None
        classes = head_size(state, usual.classifier or ()) or usual.num_classes
        module = _build(name, **({} if classes == usual.num_classes else {"num_classes": classes}))
        fill(module, state, Path(wanted).name)
        names, given = class_names_beside(wanted, classes), preprocessing_beside(wanted)
        source = {"weights": Path(wanted).name, "file_sha256": file_sha256(Path(wanted).expanduser())}
    else:
        raise ModelError(
            f"timm:{architecture}@{wanted} names no checkpoint.",
            f"Published weights are a tag, as in timm:{(published or [architecture + '.TAG'])[0]}; "
            "after an @ stands the path of a checkpoint, or random.",
        )
    full = f"timm:{name}" + (f"@{source['weights'].partition(',')[0]}" if at else "")
    return with_preprocessing(module, full, source, names, given)


def _build(name: str, **options: Any) -> nn.Module:
    with preserved_random_state():
        module: nn.Module = timm.create_model(name, pretrained=False, **options)
    return module


def _published(name: str) -> nn.Module:
    """The network with published weights, which timm reads as safetensors or with `weights_only=True`."""
    try:
        with quiet(), preserved_random_state():
            module: nn.Module = timm.create_model(name, pretrained=True)
    # The hub's client raises its own, its transport's and the operating system's exceptions; all mean the same here.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"The weights of timm:{name} could not be fetched: {lines[0].rstrip('.')}.",
            f"Without a network, fetch the model.safetensors of hf.co/timm/{name} elsewhere and write "
            f"timm:{name}@path/to/model.safetensors.",
        ) from error
    return module
