"""The rows of a picture: which images to show, and what networks see in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from linbp.bench.pictures import Answer, PictureRow
from linbp.data.images import Pixels, to_unit
from linbp.data.predictions import class_words
from linbp.evaluation import Evaluation
from linbp.models import BlackBox, Classifier
from linbp.models.decisions import decided

__all__ = ["Viewer", "most_fooling", "picture_row"]

Viewer = tuple[str, Classifier, Callable[[torch.Tensor], torch.Tensor] | None]
"""What a picture calls a network, the network, and what is done to images (N, 3, H, W) before it gets them."""


def most_fooling(evaluations: Sequence[Evaluation], count: int) -> list[int]:
    """The rows of the images that fool most networks, of those the ones that most have right; in the images' order."""
    columns = list(zip(*(evaluation.records for evaluation in evaluations), strict=True))
    fooled = [sum(record.fooled for record in records) for records in columns]
    known = [sum(record.right_on_clean for record in records) for records in columns]
    order = sorted(range(len(columns)), key=lambda row: (-fooled[row], -known[row], row))
    return sorted(order[:count])


def picture_row(
    label: int, clean: Pixels, adv: Pixels, viewers: Sequence[Viewer], classes: Sequence[str] = ()
) -> PictureRow:
    """One row: an image, its adversarial image, and what each network finds most probable in both.

    Args:
        label: the image's class.
        clean, adv: uint8 (H, W, 3).
        viewers: the networks. A black-box model's scores need not be logits, so that its probabilities are not shown.
        classes: their names; default: numbers.
    """
    answers = []
    for name, network, preprocess in viewers:
        dtype = getattr(network, "dtype", torch.float32)
        images = torch.cat([to_unit(pixels[None], dtype) for pixels in (clean, adv)])
        logits = network.logits(images if preprocess is None else preprocess(images))
        before, after = decided(network, logits).tolist()
        sure, still_sure = logits.softmax(1).amax(1).tolist()
        told = not isinstance(getattr(network, "model", network), BlackBox)
        answers.append(
            Answer(
                network=name,
                clean=class_words(before, classes),
                clean_probability=sure if told else None,
                clean_right=before == label,
                adv=class_words(after, classes),
                adv_probability=still_sure if told else None,
                adv_right=after == label,
            )
        )
    return PictureRow(label=class_words(label, classes), clean=clean, adv=adv, answers=tuple(answers))
