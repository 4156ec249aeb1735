"""What a server answered, as rows of numbers: one an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from linbp.errors import LogitsError, ModelError, nearest_name
from linbp.models.oip.sidecar import Sidecar

__all__ = ["chosen_outputs", "rows_of", "shown_text"]

Array = npt.NDArray[Any]

LABELS = 'If these are classes: write "answers": "labels" and "classes": 1000 into the JSON file.'


def shown_text(text: str, most: int = 300) -> str:
    """A text of somebody else's in one line, cut short."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def chosen_outputs(arrays: Mapping[str, Array | None], wanted: Sequence[str], model: str) -> list[Array]:
    """The outputs of some names in their order; of no name, the only one.

    Raises:
        ModelError: one is not there, or there are several.
    """
    listed = shown_text(", ".join(arrays) or "none")
    if not wanted and len(arrays) != 1:
        raise ModelError(
            f"{model} answers with {len(arrays)} outputs: {listed}.",
            'Write {"output": "NAME"} into a JSON file, and name the model oip:URL@FILE.json.',
        )
    found = [arrays.get(name) for name in wanted or arrays]
    for name, array in zip(wanted or arrays, found, strict=True):
        if array is None:
            raise ModelError(f"{model} answers without the output {name!r}: {listed}.", "Name another one: output.")
    return [array for array in found if array is not None]


def rows_of(outputs: Sequence[Array], sidecar: Sidecar, count: int, name: str) -> Array:
    """One row for each of `count` images, checked.

    Returns:
        Of scores: (count, classes), floats. Of labels: (count, 1), classes from 0. Of the k best: (count, 2, k), their
        classes from 0 and their scores.

    Raises:
        ModelError: the outputs are something else.
    """
    if sidecar.answers == "scores":
        return _scores(outputs[0], sidecar, count, name)
    if sidecar.answers == "labels":
        labels = outputs[0]
        if labels.shape not in ((count,), (count, 1)):
            raise ModelError(
                f"{name} answers {count} images with labels of shape {labels.shape}.",
                "Labels have shape (N) or (N, 1)." + _batch_hint(labels, count),
            )
        return _classes(labels.reshape(count, 1), sidecar, name)
    classes, scores = outputs if len(outputs) == 2 else _sorted(outputs[0], name)
    if classes.ndim != 2 or classes.shape != scores.shape or len(classes) != count or not classes.size:
        raise ModelError(
            f"{name} answers {count} images with classes of shape {classes.shape} and scores of shape {scores.shape}.",
            "Both have shape (N, k)." + _batch_hint(classes, count),
        )
    numbers = _numbers(scores, name)
    _check_finite(numbers, name)
    return np.stack([_classes(classes, sidecar, name).astype(np.float64), numbers], axis=1)


def _scores(scores: Array, sidecar: Sidecar, count: int, name: str) -> Array:
    if scores.ndim > 2 and all(length == 1 for length in scores.shape[2:]):
        scores = scores.reshape(scores.shape[:2])
    if scores.ndim != 2 or len(scores) != count:
        labels = scores.shape in ((count,), (count, 1))
        raise ModelError(
            f"{name} answers {count} images with shape {scores.shape}.",
            LABELS if labels else "Scores have shape (N, classes)." + _batch_hint(scores, count),
        )
    if sidecar.count not in (None, scores.shape[1]):
        raise ModelError(
            f"{name} answers with {scores.shape[1]} classes, and the JSON file has {sidecar.count}.",
            'Correct "classes", or leave it out.',
        )
    if scores.shape[1] == 1 and np.issubdtype(scores.dtype, np.integer):
        raise ModelError(f"{name} answers each image with one whole number.", LABELS)
    numbers = _numbers(scores, name)
    _check_finite(numbers, name)
    return numbers


def _numbers(values: Array, name: str) -> Array:
    """Scores as floats of at least single precision."""
    if values.dtype == np.float64:
        return values
    if values.dtype.kind not in "fiub":
        raise ModelError(f"{name} answers with {values.dtype.name} instead of numbers.", LABELS)
    return values.astype(np.float64 if values.dtype.kind in "iu" and values.dtype.itemsize > 2 else np.float32)


def _check_finite(numbers: Array, name: str) -> None:
    finite = np.isfinite(numbers).all(1)
    if not finite.all():
        raise LogitsError(
            f"{name} answers with NaN or infinite scores.",
            "Do size, layout, mean and std fit what it was trained with? See the server's log.",
            tuple(np.flatnonzero(~finite).tolist()),
        )


def _classes(labels: Array, sidecar: Sidecar, name: str) -> Array:
    """Labels, numbers or names, as classes from 0, int64."""
    count = sidecar.count or 0
    if labels.dtype.kind in "OSU":
        known = {word: number for number, word in enumerate(sidecar.names)}
        words = [one.decode(errors="replace") if isinstance(one, bytes) else str(one) for one in labels.ravel()]
        found = [known.get(word, int(word) if word.isascii() and word.isdigit() else -1) for word in words]
        for word, number in zip(words, found, strict=True):
            if number < 0:
                hint = (
                    nearest_name(word, sidecar.names) if len(known) <= 20 or not known else "Write them all, in order."
                )
                raise ModelError(f'{name} answers {shown_text(word, 60)!r}, which is none of "classes".', hint)
        numbers = np.array(found, dtype=np.int64).reshape(labels.shape)
    elif labels.dtype.kind in "iu" or (labels.dtype.kind == "f" and bool((labels == np.floor(labels)).all())):
        numbers = labels.astype(np.int64)
    else:
        raise ModelError(
            f"{name} answers with {labels.dtype.name} instead of labels.",
            'If these are scores of all classes: "answers": "scores".',
        )
    outside = numbers[(numbers < 0) | (numbers >= count)]
    if outside.size:
        raise ModelError(
            f"{name} answers with class {int(outside[0])}, and the JSON file has {count} classes (0 to {count - 1}).",
            'Correct "classes"; they count from 0.',
        )
    return numbers


def _sorted(answers: Array, name: str) -> tuple[Array, Array]:
    """Classes and scores out of Triton's texts, `score:class` or `score:class:label`."""
    flat = [one.decode(errors="replace") if isinstance(one, bytes) else str(one) for one in answers.ravel()]
    parts = [text.split(":") for text in flat]
    try:
        scores = np.array([float(part[0]) for part in parts]).reshape(answers.shape)
        classes = np.array([int(part[1]) for part in parts], dtype=np.int64).reshape(answers.shape)
    except (ValueError, IndexError):
        raise ModelError(
            f"{name} answers {shown_text(flat[0] if flat else '', 60)!r}, which is no score:class.",
            'Triton does so with its classification extension ("top"); other servers have two outputs.',
        ) from None
    return classes, scores


def _batch_hint(array: Array, count: int) -> str:
    if array.ndim and len(array) == 1 and count > 1:
        return ' If it takes one image at a time: {"batch": 1} in the JSON file.'
    return ""
