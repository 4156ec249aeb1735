"""How images are preprocessed for a victim: by its own resizing alone, or as in a protocol's released test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch

from linbp.data.preprocessing import Crop, Network, View, apply_view, read_view
from linbp.errors import ImageError, ModelError
from linbp.evaluation.roles import has_weights_of_surrogate
from linbp.models import BlackBox, Classifier, Defended, Model, OnnxModel
from linbp.models.centre_crop import CentreCrop

__all__ = ["VictimInput", "VictimPreprocessing", "preprocessing_for", "resolve_victim_input"]

VictimInput = Literal["protocol", "own"]
"""Whose preprocessing victims get: that of the protocol that made the folder, or their own resizing alone."""

CROP_FRACTION = 0.875
"""Of a network that does not say its own: timm's default, and 224 of 256 pixels."""


UNKNOWN = Network(size=(0, 0))
"""Stands in where no step depends on the network."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VictimPreprocessing:
    """What is done to images before a victim's own resizing.

    Attributes:
        steps: resizing and cropping, in order.
        network: the victim's input size and interpolation, where a step needs them.
        description: the same in words.
    """

    steps: View = ()
    network: Network = UNKNOWN
    description: str = "its own resizing"

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) in [0, 1] as the victim gets them."""
        return apply_view(images, self.steps, self.network)


def resolve_victim_input(manifest: Mapping[str, Any], wanted: VictimInput | None) -> VictimInput:
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


def preprocessing_for(victim: Classifier, manifest: Mapping[str, Any], chosen: VictimInput) -> VictimPreprocessing:
    """How images of a folder are preprocessed for one of its victims.

    A victim with the surrogate's weights is the white box, for which some protocols have another preprocessing. A
    victim that does not tell its input size resizes inside, so that a last resizing to that size is left to it.

    Raises:
        ModelError: the protocol's preprocessing crops to the victim's input size, and the victim does not tell it; or
            the victim crops by itself, so that images would be cropped twice.
    """
    crop = own_crop(victim)
    if chosen == "own":
        return VictimPreprocessing() if crop is None else VictimPreprocessing(description=f"its own: {crop}")
    if crop is not None:
        raise ModelError(
            f"{victim.name} crops by itself ({crop}), and the protocol says how victims see images.",
            "Name it without its crop; or --victim-input own (victim_input='own'): its own crop then counts.",
        )
    facts = victim.identity()
    white = has_weights_of_surrogate(facts, manifest)
    view = read_view(manifest["protocol"]["white_box" if white else "victims"])
    role = "white box: " if white else ""
    if not view:
        return VictimPreprocessing(description=f"{role}as it is")
    size = getattr(victim, "input_size", None)
    if size is None:
        return _without_size(victim, view, role)
    network = Network(
        size=(int(size[1]), int(size[2])),
        interpolation=str(facts.get("interpolation", "bilinear")),
        crop_fraction=_crop_fraction(victim),
    )
    own = "" if all(step.side is not None for step in view) else f" [{network}]"
    return VictimPreprocessing(steps=view, network=network, description=role + ", ".join(map(str, view)) + own)


def own_crop(victim: Classifier) -> CentreCrop | None:
    """The crop that a network of linbp's does itself, behind defences too."""
    if isinstance(victim, Defended):
        return own_crop(victim.inner)
    inner = victim.preprocessing if isinstance(victim, OnnxModel | BlackBox) else victim
    return inner.centre_crop if isinstance(inner, Model) else None


def _without_size(victim: Classifier, view: View, role: str) -> VictimPreprocessing:
    known = tuple(step for step in view if step.side is not None)
    left = view[len(known) :]
    if known != view[: len(known)] or any(isinstance(step, Crop) or step.enlarged for step in left):
        raise ModelError(
            f"{victim.name} does not say which size it takes, which the protocol's preprocessing needs.",
            "Evaluate with --victim-input own; or write input_size into the JSON file beside an exported network, or "
            "give an object of yours that attribute.",
        )
    description = role + ", ".join([*map(str, known), "its own resizing to a size unknown"])
    return VictimPreprocessing(steps=known, description=description)


def _crop_fraction(victim: Classifier) -> float:
    """The share that the network's ordinary centre crop keeps, which timm's networks carry with them."""
    kept = getattr(getattr(victim, "module", None), "pretrained_cfg", None)
    fraction = kept.get("crop_pct") if isinstance(kept, Mapping) else None
    return float(fraction) if fraction else CROP_FRACTION
