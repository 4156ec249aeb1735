"""What every defence is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import ClassVar

import torch

from linbp.models.logits import are_probabilities

__all__ = ["Ask", "Defence", "content_ids", "mean_answer"]

Ids = tuple[str, ...]
Ask = Callable[[torch.Tensor, Ids], torch.Tensor]
"""What is behind a defence: scores (N, classes) of images (N, C, H, W), and the ids that their draws are keyed by."""


class Defence:
    """Something that is done to images, or to a network's answers, before they count.

    What is drawn is keyed by the defence's seed and the image's id: an image has one answer, whatever the batch.

    Attributes:
        abstains: whether it may decline to answer: a row of zeros says so.
        packages: the distributions whose versions decide what comes out.
    """

    abstains: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ()

    @property
    def copies(self) -> int:
        """How many images what is behind it is asked about for each image."""
        return 1

    def apply(self, images: torch.Tensor, ids: Ids) -> torch.Tensor:
        """The changed images (N, C, H, W).

        Args:
            images: (N, C, H, W) in [0, 1], on the CPU.
            ids: one for each image, from its content.
        """
        raise TypeError(f"{type(self).__name__} changes nothing.")

    def answer(self, images: torch.Tensor, ids: Ids, ask: Ask) -> torch.Tensor:
        """Scores (N, classes): those of the changed images, unless the defence asks about several copies of each.

        Args:
            images: as for `apply`.
            ids: as for `apply`; each copy of an image has an id of its own.
            ask: answers what is behind the defence.
        """
        return ask(self.apply(images, ids), ids)


def content_ids(images: torch.Tensor) -> Ids:
    """The id of each image (N, C, H, W): the hash of its values at 16 bits, which do not depend on the dtype."""
    levels = (images.double() * 65535).round().to(torch.int64).contiguous().numpy()
    return tuple(hashlib.sha256(f"{level.shape}".encode() + level.tobytes()).hexdigest() for level in levels)


def mean_answer(answers: Iterator[torch.Tensor]) -> torch.Tensor:
    """Logarithms (N, classes) of the mean of the probabilities of several answers (N, classes).

    What is no probability is taken for a logit.
    """
    total, count = torch.zeros(()), 0
    for answer in answers:
        scores = answer.double()
        total, count = total + (scores if are_probabilities(scores) else scores.softmax(1)), count + 1
    return (total / count).clamp(min=torch.finfo(torch.float64).tiny).log()
