"""Rules that choose the class a targeted attack aims at, image by image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from linbp.errors import RecipeError
from linbp.randomness import generator

__all__ = ["TargetRule", "least_likely", "random_other", "shifted"]

SHIFT = re.compile(r"shift:([+-]?\d+)")


def shifted(labels: Any, by: int, classes: int) -> torch.Tensor:
    """Targets (label + by) mod classes: by 1 on CIFAR-10 and by 500 on ImageNet in the LinBP paper's released code.

    Guo, Li, Chen: Backpropagating Linearly Improves Transferability of Adversarial Examples, NeurIPS 2020, arXiv
    2012.03528; qizhangli/linbp-attack.

    Args:
        labels: (N,) classes, counted from 0.
        by: how far to shift; no multiple of the number of classes.
        classes: how many classes the network has.

    Returns:
        (N,) int64, never the label.

    Raises:
        RecipeError: every image would be its own target.
    """
    if by % classes == 0:
        raise RecipeError(
            f"shift:{by} on {classes} classes gives every image its own label as its target.",
            "Shift by another number, such as shift:1.",
        )
    return (_whole(labels) + by % classes) % classes  # as whole as Python counts, not as 64 bits do


def least_likely(logits: torch.Tensor, labels: Any) -> torch.Tensor:
    """Of each image's classes other than its label, the one with the smallest logit; the first of equal ones.

    Kurakin, Goodfellow, Bengio: Adversarial Examples in the Physical World, arXiv 1607.02533.

    Args:
        logits: (N, classes) of the clean images.
        labels: (N,) classes, counted from 0.

    Returns:
        (N,) int64, never the label.

    Raises:
        RecipeError: there is one class only.
    """
    _check_classes(logits.shape[1])
    # Copied, because the label is put out of reach in place.
    others = logits.detach().clone()
    others[torch.arange(len(others)), _whole(labels).to(others.device)] = torch.inf
    return others.argmin(1)


def random_other(ids: Sequence[str], labels: Any, classes: int, seed: int = 0) -> torch.Tensor:
    """A class drawn for each image, uniformly from those other than its label.

    A draw depends on the seed and the image's id only: not on the order or the companions.

    Args:
        ids: the images' names.
        labels: (N,) classes, counted from 0.
        classes: how many classes the network has.
        seed: any integer.

    Returns:
        (N,) int64, never the label.

    Raises:
        RecipeError: there is one class only.
    """
    _check_classes(classes)
    given = _whole(labels)
    drawn = [int(generator(seed, image_id, 0, "target").integers(classes - 1)) for image_id in ids]
    # A number among the others: those from the label on are one further.
    return torch.tensor(
        [other + (other >= label) for other, label in zip(drawn, given.tolist(), strict=True)], dtype=torch.int64
    ).to(given.device)


@dataclass(frozen=True, kw_only=True)
class TargetRule:
    """How targets are chosen where no list gives them.

    Attributes:
        name: `shift` (see `shifted`), `least-likely` (see `least_likely`) or `random` (see `random_other`).
        by: how far `shift` shifts.
    """

    name: Literal["shift", "least-likely", "random"]
    by: int = 0

    @classmethod
    def parse(cls, text: str) -> TargetRule:
        """The rule that `shift:K`, `least-likely` or `random` means.

        Raises:
            RecipeError: another text.
        """
        words = text.strip()
        if words == "least-likely":
            return cls(name="least-likely")
        if words == "random":
            return cls(name="random")
        shift = SHIFT.fullmatch(words)
        if shift is None:
            raise RecipeError(
                f"There is no target rule {text!r}.",
                "Write shift:K (the label plus K, such as shift:1), least-likely or random.",
            )
        return cls(name="shift", by=int(shift[1]))

    def __str__(self) -> str:
        return f"shift:{self.by}" if self.name == "shift" else self.name

    def targets(self, ids: Sequence[str], labels: torch.Tensor, logits: torch.Tensor, seed: int) -> torch.Tensor:
        """One target for each image.

        Args:
            ids: the images' names.
            labels: (N,) classes, counted from 0.
            logits: (N, classes), the surrogate's for the clean images.
            seed: of the job.

        Returns:
            (N,) int64, never the label.

        Raises:
            RecipeError: the rule has no target to give on so few classes.
        """
        if self.name == "shift":
            return shifted(labels, self.by, logits.shape[1])
        if self.name == "least-likely":
            return least_likely(logits, labels)
        return random_other(ids, labels, logits.shape[1], seed)


def _whole(labels: Any) -> torch.Tensor:
    return torch.as_tensor(labels).to(torch.int64)


def _check_classes(classes: int) -> None:
    if classes < 2:
        raise RecipeError(
            f"A network of {classes} class has no other class to aim at.", "Leave the targets out: attack the label."
        )
