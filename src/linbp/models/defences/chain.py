"""A victim behind a chain of defences, as `jpeg(75) | bits(5) | NAME` says it: images pass from left to right."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import torch

from linbp.errors import ModelError
from linbp.models.black_box import BlackBox, Classifier
from linbp.models.defences.base import Defence, Ids, content_ids
from linbp.models.defences.crop import Crop
from linbp.models.logits import check_logits
from linbp.models.model import Model
from linbp.models.onnx import OnnxModel
from linbp.models.queries import queries_left
from linbp.registry import grammar_name
from linbp.registry.grammar import build, parse_part, write_first

__all__ = ["Defended", "behind", "parse_chain"]


def parse_chain(text: str) -> tuple[Defence, ...]:
    """The defences of a text such as `jpeg(75) | bits(5)`.

    Raises:
        RecipeError: the text does not follow the grammar, there is no such defence, or a parameter is out of range.
    """
    found = tuple(build(parse_part(part, "defence")) for part in text.split("|"))
    for one in found:
        if not isinstance(one, Defence):
            raise ModelError(
                f"{grammar_name(one)} of {type(one).__module__} is no Defence.",
                "Let its class inherit from linbp.models.defences.Defence.",
            )
    return found


def behind(defences: str | Sequence[Defence], victim: Classifier) -> Model | OnnxModel | BlackBox:
    """A victim behind defences.

    Crops that stand directly before a `Model` or an `OnnxModel` become its own, so that a Model stays one, with
    gradients; anything else gives a `Defended`.

    Args:
        defences: the first one acts first; as a text, `jpeg(75) | bits(5)`.
        victim: changed in place where a crop becomes its own.

    Raises:
        RecipeError: as `parse_chain`.
        ModelError: a crop that does not fit the victim.
    """
    chain = list(parse_chain(defences) if isinstance(defences, str) else defences)
    inner = victim if isinstance(victim, Model | OnnxModel | BlackBox) else BlackBox(victim)
    last = chain[-1] if chain else None
    if isinstance(last, Crop) and isinstance(inner, Model | OnnxModel):
        _crop(inner, last)
        chain.pop()
    elif isinstance(last, Crop) and last.crop is None and inner.input_size is not None:
        chain[-1] = dataclasses.replace(last, crop=inner.input_size[1:])
    return Defended(inner, chain) if chain else inner


def _crop(model: Model | OnnxModel, crop: Crop) -> None:
    own = model if isinstance(model, Model) else model.preprocessing
    if own.centre_crop is not None:
        raise ModelError(f"{model.name} crops already ({own.centre_crop}).", "Leave the crop out.")
    size = model.input_size
    own.centre_crop = crop.of(None if size is None else (size[1], size[2]), own.published_crop, model.name)
    if isinstance(model, OnnxModel) and size is None:
        model.input_size = own.input_size = (3, *own.centre_crop.crop)
    model.name = f"{write_first(crop)} | {model.name}"


class Defended(BlackBox):
    """A victim behind defences. It gives no gradients, also where its defences could: see docs/defences.md.

    Args:
        victim: what stands behind the defences.
        defences: the first one acts first.

    Attributes:
        abstains: whether it may decline to answer, with a row of equal scores.
    """

    def __init__(self, victim: Model | OnnxModel | BlackBox, defences: Sequence[Defence]) -> None:
        super().__init__(victim)
        self.inner, self.defences = victim, tuple(defences)
        self.name = " | ".join([*map(write_first, self.defences), victim.name])
        self.abstains = self.abstains or any(one.abstains for one in self.defences)

    @property
    def device(self) -> torch.device:
        """Where the victim runs; the defences run on the CPU."""
        return torch.device(getattr(self.inner, "device", "cpu"))

    def to(self, device: str | torch.device) -> Defended:
        """The same with the victim on another device."""
        self.inner = self.inner.to(device)
        return self

    @property
    def left(self) -> int | None:
        """How many more images it may be asked about, where its victim has a limit."""
        left = queries_left(self.inner)
        return None if left is None else left // math.prod(one.copies for one in self.defences)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Scores (N, classes) of images (N, 3, H, W) in [0, 1], on the CPU.

        Raises:
            ModelError: the victim fails, or a defence does not fit the images.
        """
        plain = images.detach().cpu()
        return check_logits(self._ask(0, plain, content_ids(plain)), len(images), self.name).detach().cpu()

    def _ask(self, place: int, images: torch.Tensor, ids: Ids) -> torch.Tensor:
        """The answer of everything from a place in the chain on."""
        if place == len(self.defences):
            return self.inner.logits(images).detach().cpu()
        # Two defences of one name draw apart from each other.
        own = tuple(f"{image_id}|{place}" for image_id in ids)
        return self.defences[place].answer(images, own, lambda changed, names: self._ask(place + 1, changed, names))

    def identity(self) -> dict[str, Any]:
        """What results record: the victim's identity, and each defence with its parameters and packages' versions."""
        chain = [
            {
                "name": grammar_name(one),
                **{known.name: _plain(getattr(one, known.name)) for known in dataclasses.fields(one)},  # type: ignore[arg-type]
                **{package: version(package) for package in one.packages},
            }
            for one in self.defences
        ]
        return {**self.inner.identity(), "name": self.name, "defences": chain, **self.source}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
