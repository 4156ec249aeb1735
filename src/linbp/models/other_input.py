"""A network that is often wrong: would it be right with another mean, scale, crop or order of channels?"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from linbp.data.images import Pixels, size_batches
from linbp.errors import ModelError
from linbp.models.black_box import Classifier
from linbp.models.centre_crop import CentreCrop
from linbp.models.model import Model
from linbp.models.onnx import OnnxModel
from linbp.models.scores import Preprocess, scores_of

__all__ = ["POOR", "TRIED", "check_input"]

TRIED = 16
"""How many images are tried."""

FEWEST, POOR = 8, 0.75
"""Nothing is tried with fewer images, or where the victim has this share of them right."""

BETTER, MUCH_BETTER = 0.25, 0.5
"""By this share of the images another input must be better to be noted, and for the victim to be refused."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
INPUTS = {
    "mean=0, std=1": ((0.0,) * 3, (1.0,) * 3),
    "mean=0, std=1/255 (levels of 0 to 255)": ((0.0,) * 3, (1 / 255,) * 3),
    "mean=0.5, std=0.5": ((0.5,) * 3, (0.5,) * 3),
    "mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)": IMAGENET,
    "mean=(0.485, 0.456, 0.406), std=1/255": (IMAGENET[0], (1 / 255,) * 3),
}


def check_input(
    victim: Classifier,
    read: Callable[[], Sequence[Pixels]],
    labels: Sequence[int],
    predictions: Sequence[int],
    *,
    batch_size: int,
    preprocess: Preprocess | None = None,
    trust: str = "--trust-victim (trust_victim=True)",
) -> tuple[str, ...]:
    """Try other inputs with a network that is wrong on more than a quarter of some clean images.

    Tried are the usual means and standard deviations, levels of 0 to 255, a centre crop where it has none and the whole
    image where it has one, and the channels in the order blue, green, red. One under which the network knows many more
    of the images, of several classes, is noted; one with which half of all images become right, refused. A black-box
    model has its own preprocessing and is left alone.

    Args:
        victim: the network; a victim or a surrogate.
        read: gives some clean images, (H, W, 3) each.
        labels: of them.
        predictions: of the network.
        batch_size: the most images that it is asked about at a time.
        preprocess: what is done to images before the network gets them.
        trust: how the user can switch this off.

    Returns:
        What should be noted.

    Raises:
        ModelError: with another input half of the images become right.
    """
    count, right = len(labels), sum(map(int.__eq__, labels, predictions))
    if count < FEWEST or right >= POOR * count or not isinstance(victim, Model | OnnxModel):
        return ()
    images = read()
    found = {
        words: _known(other, images, labels, batch_size, step) for words, other, step in _others(victim, preprocess)
    }
    if not found:
        return ()
    words = max(found, key=lambda one: len(found[one]))
    known = found[words]
    gain = len(known) - right
    several = len({labels[row] for row in known}) >= min(3, len(set(labels))) and len(set(labels)) > 1
    if gain < max(4, BETTER * count) or not several:
        return ()
    fault = (
        f"{victim.name} knows {right} of {count} clean images, and {len(known)} of them with {words}: it seems to "
        "be trained on such images."
    )
    if gain < max(5, MUCH_BETTER * count):
        return (fault,)
    raise ModelError(
        fault,
        "Write that where the network is made, or into the JSON file beside it; is it normalised inside already? "
        f"If it is right as it is: {trust}.",
    )


def _usual_crop(size: tuple[int, int]) -> CentreCrop:
    """The middle seven eighths, such as 224 of 256."""
    return CentreCrop(crop=size, resize=round(max(size) / 0.875))


def _known(
    victim: Classifier, images: Sequence[Pixels], labels: Sequence[int], batch_size: int, preprocess: Preprocess | None
) -> list[int]:
    """The rows that a victim knows; none if it fails."""
    rows: list[int] = []
    try:
        for batch in size_batches([pixels.shape for pixels in images], batch_size):
            scores = scores_of(victim, np.stack([images[row] for row in batch]), preprocess)
            rows += [row for row, best in zip(batch, scores.argmax(1).tolist(), strict=True) if best == labels[row]]
    except ModelError:
        return []
    return rows


def _others(
    victim: Model | OnnxModel, preprocess: Preprocess | None
) -> Iterator[tuple[str, Classifier, Preprocess | None]]:
    """Other inputs in words, the victim that gets them, and what is done to images before."""

    def flipped(images: torch.Tensor) -> torch.Tensor:
        return (images if preprocess is None else preprocess(images)).flip(1)

    yield "its channels in the order blue, green, red", victim, flipped
    own = victim if isinstance(victim, Model) else victim.preprocessing
    if own.centre_crop is not None:
        yield "the whole image, without resize and crop", _with_crop(victim, None), preprocess
    elif victim.input_size is not None:
        crop = own.published_crop or _usual_crop(victim.input_size[1:])
        yield f"resize={crop.resize} and a centre crop", _with_crop(victim, crop), preprocess
    if isinstance(victim, OnnxModel) and victim.input.dtype == torch.uint8:
        return
    for words, (mean, std) in INPUTS.items():
        if (mean, std) != (own.mean, own.std):
            yield words, _with(victim, mean, std), preprocess
    caffe = _with(victim, tuple(reversed(IMAGENET[0])), (1 / 255,) * 3)
    yield "mean=(0.406, 0.456, 0.485), std=1/255 and its channels in the order blue, green, red", caffe, flipped


def _with(victim: Model | OnnxModel, mean: tuple[float, ...], std: tuple[float, ...]) -> Model | OnnxModel:
    """The same network with another mean and standard deviation."""
    other = copy.copy(victim)
    if isinstance(other, Model):
        other.mean, other.std = mean, std
    else:
        other.preprocessing = copy.copy(other.preprocessing)
        other.preprocessing.mean, other.preprocessing.std = mean, std
    return other


def _with_crop(victim: Model | OnnxModel, crop: CentreCrop | None) -> Model | OnnxModel:
    """The same network behind another crop, or behind none."""
    if isinstance(victim, Model):
        return victim.with_crop(crop)
    other = copy.copy(victim)
    other.preprocessing = other.preprocessing.with_crop(crop)
    return other
