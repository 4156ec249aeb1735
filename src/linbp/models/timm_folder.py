"""Networks of timm in folders, as `timm.models.save_for_hf` writes them, and in repositories of the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError
from torch import nn

from linbp.errors import ModelError, nearest_name
from linbp.models.checkpoint import preserved_random_state
from linbp.models.hub import find_folder
from linbp.models.model import Model
from linbp.models.timm_weights import class_names_of, quiet, with_preprocessing

__all__ = ["load"]


def load(rest: str) -> Model:
    """Load `local-dir:FOLDER`, or `hf-hub:ORG/NAME` or `hf-hub:ORG/NAME@REVISION`.

    The folder's config.json says which network it is, how many classes it has and how images are prepared.

    Raises:
        ModelError: no such folder or repository, no network, half a download, or weights that do not fit.
    """
    kind, _, place = rest.partition(":")
    if kind == "local-dir" and not Path(place).expanduser().is_dir():
        raise ModelError(f"timm:{rest} names no folder that is there.", "Check the path; it counts from here.")
    folder, source = find_folder(place, f"timm:{kind}")
    name = f"timm:{rest}"
    config = _read_config(folder, name)
    with quiet(), preserved_random_state():
        module = _build(folder, name)
    labels = config.get("label_names") or config["pretrained_cfg"].get("label_names")
    classes = getattr(module, "num_classes", 0)
    if not classes:
        raise ModelError(f"{name} has no classes: it makes features.", "Fine-tune it as a classifier first.")
    names = tuple(map(str, labels)) if labels and len(labels) == classes else class_names_of(module)
    return with_preprocessing(module, name, source, names, {})


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    """The folder's config.json, with `pretrained_cfg`.

    Raises:
        ModelError: it is missing, broken, or not timm's.
    """
    hint = "timm.models.save_for_hf writes such folders; one of transformers' is hf:FOLDER."
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"The config.json of {name} cannot be read: {error}.", hint) from error
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise ModelError(f"The config.json of {name} names no architecture of timm.", hint)
    if not timm.is_model(config["architecture"]):
        known = nearest_name(config["architecture"], timm.list_models())
        raise ModelError(
            f"timm {timm.__version__} has no network called {config['architecture']!r}, which {name} is.",
            known if len(known) < 200 else "A newer timm may have it.",
        )
    if not isinstance(config.get("pretrained_cfg"), dict):
        # Before timm 0.9, its fields stood beside the others.
        config["pretrained_cfg"] = dict(config)
    return config


def _build(folder: Path, name: str) -> nn.Module:
    try:
        module: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    # timm, torch and safetensors raise exceptions of their own.
    except Exception as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")[:200]
        half = isinstance(error, SafetensorError) or "zip archive" in line or "PytorchStreamReader" in line
        raise ModelError(
            f"The weights of {name} cannot be read: {line}.",
            "The download was perhaps broken off: fetch the file again."
            if half
            else "Its config.json (architecture, num_classes, model_args) has to fit its weights.",
        ) from error
    return module
