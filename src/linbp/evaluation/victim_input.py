"""What a victim is shown: the image as it resizes it itself, or as a protocol's released test does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch

from linbp.data.preprocessing import Crop, Network, View, look, read_view
from linbp.errors import ImageError, ModelError
from linbp.models import Classifier

__all__ = ["Shown", "VictimInput", "choose_input", "show_to"]

VictimInput = Literal["protocol", "own"]
"""Whose preprocessing victims get: that of the protocol that made the folder, or their own resizing alone."""

CROP_FRACTION = 0.875
"""Of a network that does not say its own: timm's default, and 224 of 256 pixels."""


UNKNOWN = Network(size=(0, 0))
"""Stands in where no step of a view looks at the network."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """What one victim gets to see.

    Attributes:
        view: what is done to an image before the victim's own resizing.
        network: the victim's size and interpolation, where a step of the view needs them.
        words: the same for people.
    """

    view: View = ()
    network: Network = UNKNOWN
    words: str = "its own resizing"

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) in [0, 1] as the victim gets them."""
        return look(images, self.view, self.network)


def choose_input(manifest: Mapping[str, Any], wanted: VictimInput | None) -> VictimInput:
    """Whose preprocessing the victims of a folder get; by default the protocol's, where a protocol made it.

    Raises:
        ImageError: an unknown word, or the protocol's where there was none.
    """
    named = manifest.get("protocol") is not None
    if wanted is None:
        return "protocol" if named else "own"
    if wanted not in get_args(VictimInput):
        raise ImageError(f"Victims cannot be given {wanted!r}.", f"Use one of: {', '.join(get_args(VictimInput))}.")
    if wanted == "protocol" and not named:
        raise ImageError("No protocol made this folder.", "Leave --victim-input out, or craft with --protocol.")
    return wanted


def show_to(victim: Classifier, manifest: Mapping[str, Any], chosen: VictimInput) -> Shown:
    """What a victim of a folder gets to see.

    A victim with the surrogate's weights is the white box, which some protocols show another view. A victim that does
    not tell its input size resizes inside, so that a last resizing to that size is left to it.

    Raises:
        ModelError: the protocol's view crops to the victim's input size, and the victim does not tell it.
    """
    if chosen == "own":
        return Shown()
    facts = victim.identity()
    white = facts.get("weights_sha256") in _hashes(manifest["settings"]["surrogate"])
    view = read_view(manifest["protocol"]["white_box" if white else "victims"])
    role = "white box: " if white else ""
    if not view:
        return Shown(words=f"{role}as it is")
    size = getattr(victim, "input_size", None)
    if size is None:
        return _without_size(victim, view, role)
    network = Network(
        size=(int(size[1]), int(size[2])),
        interpolation=str(facts.get("interpolation", "bilinear")),
        crop_fraction=_crop_fraction(victim),
    )
    own = "" if all(step.side is not None for step in view) else f" [{network}]"
    return Shown(view=view, network=network, words=role + ", ".join(map(str, view)) + own)


def _without_size(victim: Classifier, view: View, role: str) -> Shown:
    known = tuple(step for step in view if step.side is not None)
    left = view[len(known) :]
    if known != view[: len(known)] or any(isinstance(step, Crop) or step.enlarged for step in left):
        raise ModelError(
            f"{victim.name} does not say which size it takes, which the protocol's preprocessing needs.",
            "Evaluate with --victim-input own; or write input_size into the JSON file beside an exported network, or "
            "give an object of yours that attribute.",
        )
    return Shown(view=known, words=role + ", ".join([*map(str, known), "its own resizing to a size unknown"]))


def _hashes(surrogate: Mapping[str, Any]) -> set[str]:
    """The weights' hashes of the surrogate, or of every member of an ensemble."""
    members = surrogate.get("members", [surrogate])
    return {str(member["weights_sha256"]) for member in members}


def _crop_fraction(victim: Classifier) -> float:
    """The share that the network's ordinary centre crop keeps, which timm's networks carry with them."""
    kept = getattr(getattr(victim, "module", None), "pretrained_cfg", None)
    fraction = kept.get("crop_pct") if isinstance(kept, Mapping) else None
    return float(fraction) if fraction else CROP_FRACTION
