"""Trained networks for CIFAR-10: weights with a card beside them, in a folder or in this package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from linbp.errors import ModelError, nearest_name
from linbp.models.checkpoint import existing_file, file_sha256, fill, is_path, preserved_random_state, read_checkpoint
from linbp.models.model import Model
from linbp.zoo import WEIGHTS
from linbp.zoo.architectures import ARCHITECTURES, CLASS_NAMES, INPUT_SIZE, MEAN, STD, build

__all__ = ["load", "load_packaged", "load_trained", "load_untrained", "packaged", "read_card"]

PACKAGE = WEIGHTS / "cifar10"
"""The folder of the weights that ship with linbp."""

_FIELDS: dict[str, type | tuple[type, ...]] = {"architecture": str, "width": (int, float), "file_sha256": str}


def read_card(weights: Path) -> dict[str, Any]:
    """The card of a weights file: the JSON file of the same name beside it.

    Raises:
        ModelError: there is none, it is not a card, or it is the card of another file.
    """
    place = weights.with_suffix(".json")
    try:
        card = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{weights.name} has no card {place.name} beside it.",
            "linbp zoo train writes both; keep them together.",
        ) from None
    except (ValueError, OSError) as error:
        raise ModelError(f"{place.name} is not readable as JSON: {error}.", "Train the network again.") from error
    if not isinstance(card, dict) or not all(isinstance(card.get(name), kind) for name, kind in _FIELDS.items()):
        raise ModelError(f"{place.name} is no card of linbp zoo train.", f"A card says {', '.join(_FIELDS)}.")
    if file_sha256(weights) != card["file_sha256"]:
        raise ModelError(
            f"{weights.name} is not the file that its card {place.name} describes.",
            "Put both back as they were written, or train the network again.",
        )
    return card


def load_trained(path: str | Path, name: str | None = None) -> Model:
    """The network of a weights file and its card.

    Args:
        path: a `.safetensors` file that `linbp zoo train` wrote.
        name: what results call it; by default the file's name.

    Raises:
        ModelError: no such file, no card, or weights that do not fit.
    """
    place = existing_file(path)
    if place.suffix != ".safetensors":
        raise ModelError(f"{place.name} is no .safetensors file.", "linbp zoo train writes NAME.safetensors.")
    card = read_card(place)
    with preserved_random_state():
        module = build(card["architecture"], card["width"], _activation(card))
    fill(module, read_checkpoint(place), place.name)
    return _model(
        module,
        name or f"cifar10:{place.stem}",
        {"weights": f"linbp zoo, seed {card.get('seed')}", "file_sha256": card["file_sha256"]},
    )


def _activation(card: dict[str, Any]) -> Any:
    """What took the place of the network's own activations; cards of earlier versions do not say, and nothing did."""
    settings = card.get("settings")
    return settings.get("activation") if isinstance(settings, dict) else None


def load_untrained(name: str) -> Model:
    """The network of an architecture at its full width, with weights drawn from seed 0.

    Raises:
        ModelError: no such architecture.
    """
    with preserved_random_state():
        module = build(name)
    return _model(module, f"cifar10:{name}@random", {"weights": "random, seed 0"})


def _model(module: Any, name: str, source: dict[str, Any]) -> Model:
    model = Model(module, input_size=INPUT_SIZE, mean=MEAN, std=STD, name=name, source=source)
    model.class_names = CLASS_NAMES
    return model


def packaged() -> dict[str, Path]:
    """The weights files that ship with linbp, by the name behind `demo:cifar10/`."""
    return {path.stem: path for path in sorted(PACKAGE.glob("*.safetensors"))}


def load_packaged(name: str) -> Model:
    """The network `demo:cifar10/NAME`, which ships with linbp.

    Raises:
        ModelError: there is none of that name.
    """
    found = packaged()
    if name in found:
        return load_trained(found[name], f"demo:cifar10/{name}")
    message = f"There is no demo:cifar10/{name}"
    if not found:
        raise ModelError(
            f"{message}: no CIFAR-10 weights ship with this version.",
            f"Train them: linbp zoo train {name or 'NAME'} --data FOLDER --out DIR (linbp zoo list).",
        )
    raise ModelError(f"{message}.", nearest_name(name, found))


def load(rest: str) -> Model:
    """The network behind `cifar10:`: a weights file with its card beside it, or `ARCHITECTURE@random`.

    Raises:
        ModelError: no such file or architecture, no card, or weights that do not fit.
    """
    name, at, wanted = rest.rpartition("@")
    if at and wanted == "random":
        return load_untrained(name)
    if rest in ARCHITECTURES or not is_path(rest):
        raise ModelError(
            f"Which weights of {rest!r}?",
            f"Write cifar10:DIR/{rest if rest in ARCHITECTURES else 'NAME'}.safetensors, which linbp zoo train wrote, "
            "cifar10:ARCHITECTURE@random, or demo:cifar10/NAME.",
        )
    return load_trained(rest)
