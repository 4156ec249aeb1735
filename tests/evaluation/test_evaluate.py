"""Evaluation in memory with victims whose answers are known by construction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from linbp.errors import ImageError, ModelError
from linbp.evaluation import evaluate
from linbp.models import Model


class ByRed(nn.Module):
    """The class is the red level of the first pixel: a network whose predictions can be read off an image."""

    def __init__(self, classes: int = 10, broken: bool = False) -> None:
        super().__init__()
        self.classes, self.broken = classes, broken

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        level = torch.round(255 * x[:, 0, 0, 0])
        logits = -(level[:, None] - torch.arange(self.classes)).abs()
        return logits * float("nan") if self.broken else logits


def victim(**options: Any) -> Model:
    return Model(ByRed(**options), input_size=(3, 4, 4), name="by-red")


def reds(*levels: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    images = np.zeros((len(levels), 3, 4, 4), np.uint8)
    images[:, 0, 0, 0] = levels
    return images


CLEAN, ADV, LABELS, TARGETS = reds(1, 2, 3, 4, 5), reds(1, 3, 4, 9, 7), [1, 2, 3, 0, 5], [2, 3, 5, 9, 5]


def test_untargeted_counts_only_images_that_the_victim_knew() -> None:
    found = evaluate(victim(), CLEAN, ADV, LABELS, batch_size=2)
    assert [record.fooled for record in found.records] == [False, True, True, False, True]
    assert (found.statistics.fooled.successes, found.statistics.fooled.n) == (3, 4)
    assert (found.statistics.wrong.successes, found.statistics.wrong.n) == (4, 5)
    assert [record.linf for record in found.records] == [0, 1, 1, 5, 2]
    assert [record.l2 for record in found.records] == pytest.approx([0, 1 / 255, 1 / 255, 5 / 255, 2 / 255])
    assert found.name == "by-red"


def test_targeted_counts_targets_that_differ_from_the_label() -> None:
    found = evaluate(victim(), CLEAN, ADV, LABELS, targets=TARGETS, ids=list("abcde")).statistics
    assert found.hit is not None
    assert (found.hit.successes, found.hit.n) == (1, 3)
    assert (found.fooled.successes, found.fooled.n) == (3, 4)


def test_every_kind_of_array_and_batch_size_gives_the_same_records() -> None:
    wanted = evaluate(victim(), CLEAN, ADV, LABELS).records
    for dtype in (torch.float32, torch.float64):
        images, adv = (torch.from_numpy(array).to(dtype) / 255 for array in (CLEAN, ADV))
        for batch_size in (1, 3, 99):
            assert evaluate(victim(), images, adv, torch.tensor(LABELS), batch_size=batch_size).records == wanted
    as_arrays = (CLEAN / np.float32(255), ADV / np.float64(255), np.array(LABELS))
    assert evaluate(victim(), *as_arrays).records == wanted


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"adv": ADV[:3]}, "adv"),
        ({"adv": ADV / 255 + 0.3 / 255}, "8-bit grid"),
        ({"images": CLEAN[0]}, "shape"),
        ({"images": CLEAN.astype(np.int64)}, "int64"),
        ({"labels": [1, 2]}, "Give 5 integers"),
        ({"labels": [0.0] * 5}, "Give 5 integers"),
        ({"targets": [1]}, "Give 5 integers"),
        ({"ids": ["a"]}, "1 ids"),
        ({"batch_size": 0}, "batch size"),
        ({"images": CLEAN[:0], "adv": ADV[:0], "labels": np.zeros(0, int)}, "no images"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], words: str) -> None:
    given = {"images": CLEAN, "adv": ADV, "labels": LABELS, **changes}
    with pytest.raises(ImageError) as caught:
        evaluate(victim(), given.pop("images"), given.pop("adv"), given.pop("labels"), **given)
    assert words in str(caught.value)


def test_a_victim_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match=r"5 classes.*'4'.*5"):
        evaluate(victim(classes=5), CLEAN, ADV, LABELS)
    with pytest.raises(ModelError, match=r"image '3' has target 9"):
        evaluate(victim(classes=6), CLEAN, ADV, LABELS, targets=TARGETS)
    with pytest.raises(ModelError, match="NaN"):
        evaluate(victim(broken=True), CLEAN, ADV, LABELS)
    with pytest.raises(ModelError, match="no network"):
        evaluate("nothing", CLEAN, ADV, LABELS)


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_victim_with_shifted_classes_is_refused(shift: int) -> None:
    """As one with a class for the background: it predicts each label's neighbour."""

    class Shifted:
        name = "shifted"

        def logits(self, images: torch.Tensor) -> torch.Tensor:
            classes = (255 * images[:, 0, 0, 0]).round().long() + shift
            return torch.nn.functional.one_hot(classes, 30).float()

        def identity(self) -> dict[str, str]:
            return {"name": self.name}

    images = np.zeros((14, 3, 2, 2), dtype=np.uint8)
    images += np.arange(1, 15, dtype=np.uint8)[:, None, None, None]
    labels = list(range(1, 15))
    with pytest.raises(ModelError, match=r"14 .*14") as told:
        evaluate(Shifted(), images, images, labels)
    assert ("--first-label 1" in told.value.hint) == (shift < 0)
    assert evaluate(Shifted(), images, images, labels, trust_labels=True).statistics.right_on_clean == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_images_that_a_surrogate_of_any_precision_made(dtype: torch.dtype) -> None:
    """Half precision holds k/255 up to 0.06 levels, bfloat16 up to 0.5: all levels are told apart in both."""
    every = np.arange(256, dtype=np.uint8)
    images = np.broadcast_to(every[:, None, None, None], (256, 3, 4, 4)).copy()
    wanted = evaluate(victim(classes=256), images, images[::-1].copy(), every.astype(int)).records
    assert [record.clean_prediction for record in wanted] == list(range(256))
    for unit in (
        torch.from_numpy(images).to(dtype) / 255,
        (torch.from_numpy(images) / 255).to(dtype),
        (torch.from_numpy(images) / 255).to(dtype).to(memory_format=torch.channels_last),
        torch.from_numpy(images).double().div(255).to(dtype).requires_grad_(),
    ):
        assert evaluate(victim(classes=256), unit, unit.flip(0), torch.from_numpy(every).long()).records == wanted
    off = torch.from_numpy(images).to(dtype) / 255 + 0.4 / 255
    with pytest.raises(ImageError, match=r"8-bit grid|above 1"):
        evaluate(victim(classes=256), off, off, every.astype(int))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_floats_are_converted_a_few_images_at_a_time(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64 an image takes eight times the memory of its levels, and there are several steps."""
    largest = 0
    double, to = torch.Tensor.double, torch.Tensor.to

    def seen(found: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        if found.dtype == torch.float64 and found.ndim == 4:
            largest = max(largest, len(found))
        return found

    monkeypatch.setattr(torch.Tensor, "double", lambda tensor: seen(double(tensor)))
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *wanted, **more: seen(to(tensor, *wanted, **more)))
    levels = torch.from_numpy(reds(*(number % 10 for number in range(200))))
    adv = torch.from_numpy(reds(*((number + number % 3) % 10 for number in range(200))))
    labels = [number % 10 for number in range(200)]
    expected = evaluate(victim(), levels, adv, labels)
    assert largest == 0
    found = evaluate(victim(), (levels / 255).to(dtype), (adv / 255).to(dtype), labels)
    assert found.records == expected.records
    assert 0 < largest <= 64
