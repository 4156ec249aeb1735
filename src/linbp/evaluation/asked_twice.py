"""A victim is asked twice: the same images again, and in other company. Each image has one answer, or there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from linbp.data.images import Pixels, size_batches
from linbp.errors import LogitsError, ModelError
from linbp.evaluation.answers import Floats, spreads
from linbp.models import Classifier
from linbp.models.decisions import answers_with
from linbp.models.queries import asked_afresh, queries_left, queries_of
from linbp.models.scores import Preprocess, scores_of

__all__ = ["ASKED", "UnsteadyError", "ask_twice"]

ASKED = 5
"""How many images are asked about again: each twice, and each with a companion."""

NOISE = {torch.float64: 1e-7, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""What kernels may change in a score from batch to batch, as a share of the range of an image's scores."""

NOISE_ELSEWHERE = 5e-3
"""The same for float32 that is computed elsewhere than on this CPU, where convolutions may take TF32."""

CLOSE = 0.05
"""The share of all predictions that may be within the change before the victim is refused."""


class UnsteadyError(ModelError):
    """A victim whose answers do not belong to the images alone."""


@dataclass(frozen=True)
class _Change:
    """How scores differ between two answers to the same images: the largest share of their range, and new classes."""

    size: float
    classes: int

    @classmethod
    def between(cls, one: torch.Tensor, other: torch.Tensor) -> _Change:
        share = (one - other).abs().amax(1) / spreads(one)
        return cls(float(share.max()), int((one.argmax(1) != other.argmax(1)).sum()))


def ask_twice(
    victim: Classifier,
    images: Sequence[Pixels],
    first: torch.Tensor,
    margins: Floats,
    *,
    batch_size: int,
    preprocess: Preprocess | None = None,
    reserve: int = 0,
) -> tuple[str, ...]:
    """Ask a victim about a few images twice more, in a batch with darkened copies of them.

    A victim that keeps its answers is asked all the same. One whose budget would then not last for `reserve` more
    images is not asked, which is noted.

    Of the three answers to an image, the second and third differ if the answer depends on chance or on what was asked
    before; the first and second if it depends on the companions, the place or the size of the batch, as that of batch
    norm without running statistics. What is larger than rounding is refused if a class changes with it, or if one in
    twenty of all predictions is as close as that; else it is noted with its size.

    Args:
        victim: the network.
        images: (H, W, 3) each.
        first: the scores (images, classes) that it gave them.
        margins: those of all predictions, see `Answers`.
        batch_size: the most images that it is asked about at a time; 2 if that is 1.
        preprocess: as for the first answer.
        reserve: how many images it will still be asked about.

    Returns:
        What should be noted.

    Raises:
        UnsteadyError: its answers do not belong to the images alone.
        ModelError: it fails.
    """
    left = queries_left(victim)
    if left is not None and left < 4 * len(images) + reserve:
        return (
            f"{victim.name} was not asked twice: its budget leaves {left} images, and {reserve} are still to be asked "
            "about. Whether its answers belong to the images alone is not known.",
        )
    with asked_afresh(victim):
        return _ask_twice(victim, images, first, margins, batch_size, preprocess)


def _ask_twice(
    victim: Classifier,
    images: Sequence[Pixels],
    first: torch.Tensor,
    margins: Floats,
    batch_size: int,
    preprocess: Preprocess | None,
) -> tuple[str, ...]:
    notes: list[str] = []
    second, third = torch.empty_like(first), torch.empty_like(first)
    for rows in size_batches([pixels.shape for pixels in images], max(1, batch_size // 2)):
        some = np.stack([images[row] for row in rows])
        asked, answer, failed = _in_company(victim, some, preprocess)
        skipped = len(asked) - len(some)
        if failed:
            notes.append(
                f"{victim.name} answers {len(some)} images, and fails on {2 * len(some)}: {failed.rstrip('.')}. "
                "Whether its answers depend on the size of a batch is not known."
            )
        second[rows] = answer[skipped:].double()
        third[rows] = scores_of(victim, asked, preprocess)[skipped:].double()
    return (*dict.fromkeys(notes), *_verdict(victim, first, second, third, margins))


def _in_company(victim: Classifier, some: Pixels, preprocess: Preprocess | None) -> tuple[Pixels, torch.Tensor, str]:
    """Images behind companions, the scores of both, and how the victim failed with any company.

    Darkened copies have another mean and contrast, and mostly other classes. A victim may have no finite scores for
    them, which is no fault: then their negatives are tried, and at last the images are asked about alone.
    """
    failed = ""
    for companions in (some // 4, 255 - some):
        asked = np.concatenate([companions, some])
        try:
            return asked, scores_of(victim, asked, preprocess), ""
        except LogitsError:
            continue
        except ModelError as error:
            failed = error.message
            break
    return some, scores_of(victim, some, preprocess), failed


def _verdict(
    victim: Classifier, first: torch.Tensor, second: torch.Tensor, third: torch.Tensor, margins: Floats
) -> tuple[str, ...]:
    dtype, device = getattr(victim, "dtype", torch.float32), torch.device(getattr(victim, "device", "meta"))
    noise = NOISE_ELSEWHERE if dtype == torch.float32 and device.type != "cpu" else NOISE.get(dtype, NOISE_ELSEWHERE)
    chance, company = _Change.between(second, third), _Change.between(first, second)
    by_chance = chance.size > noise
    change = chance if by_chance else company
    if change.size <= noise:
        return ()
    count, close = len(first), int((margins < change.size).sum())
    when = "when it is asked the same again" if by_chance else "in a batch with other images"
    changed = max(change.classes, company.classes)
    if answers_with(victim) == "labels":
        words = f"{victim.name} gives {changed} of {count} images another class {when}"
    else:
        words = (
            f"{victim.name} gives an image other scores {when}: of {count} images, they change by up to "
            f"{change.size:.1%} of their range, and the class of {changed}; {close} of all {len(margins)} "
            "predictions are as close as that"
        )
    if not max(change.classes, company.classes if by_chance else 0) and close <= CLOSE * len(margins):
        return (f"{words}.",)
    mend = (
        "Its answers depend on chance or on what it was asked before: switch off dropout and random transforms in "
        "evaluation mode, or fix their seed in each call."
        if by_chance
        else "Its answers depend on the batch, as batch norm without running statistics, or padding and normalising by "
        "the batch, do: export or write it so that each image is by itself."
    )
    if queries_of(victim) is not None:
        mend += " Or the model has changed since its answers were kept (docs/http.md)."
    raise UnsteadyError(f"{words}.", f"{mend} If it is meant so: --trust-victim (trust_victim=True).")
