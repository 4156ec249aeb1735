"""Answers that are no fair measure are noted, or refused with what to write: each in Python, with its counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from linbp.errors import ModelError
from linbp.evaluation import Evaluation, evaluate
from linbp.models import Model

CLASSES = 6
COLOURS = np.random.default_rng(5).integers(20, 236, (CLASSES, 3))
LABELS = np.resize(np.arange(CLASSES), 24)
IMAGES = (COLOURS[LABELS][:, :, None, None] + np.random.default_rng(6).integers(-15, 16, (24, 3, 8, 8))).astype(
    np.uint8
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Colours(nn.Module):
    """Knows each class by its colour, out of images as it was "trained" on: preprocessed by `inside`."""

    def __init__(self, mean: Any = 0.0, std: Any = 1.0, flipped: bool = False, end: Any = None) -> None:
        super().__init__()
        colours = COLOURS[:, ::-1].copy() if flipped else COLOURS
        mean, std = (np.broadcast_to(value, 3) for value in (mean, std))
        self.register_buffer("centres", torch.from_numpy((colours / 255 - mean) / std).float())
        self.register_buffer("scale", torch.tensor(np.asarray(std).copy()).float())
        self.end = end

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        means = images.mean((2, 3))
        logits = -20 * (((means[:, None] - self.centres) * self.scale) ** 2).sum(2).sqrt()
        return logits if self.end is None else self.end(logits)


def asked(module: nn.Module, images: Any = IMAGES, labels: Any = LABELS, **options: Any) -> Evaluation:
    given = {key: options.pop(key) for key in ("mean", "std") if key in options}
    model = Model(module, input_size=8, name="net", **given)
    return evaluate(model, images, 255 - images, labels, **options)


def notes(found: Evaluation, words: str) -> list[str]:
    return [note for note in found.notes if words in note]


def test_the_network_of_this_test_knows_every_image_and_is_noted_for_nothing() -> None:
    found = asked(Colours())
    assert found.statistics.right_on_clean == 24
    assert found.notes == ()


@pytest.mark.parametrize(
    ("module", "given", "mend"),
    [
        (Colours(0, 1 / 255), {}, "std=1/255"),
        (Colours(MEAN, STD), {"mean": 0.0, "std": 1 / 255}, r"mean=\(0.485, 0.456, 0.406\), std=\(0.229"),
        (Colours(0.5, 0.5), {"mean": 0.9, "std": 0.01}, "mean=0.5, std=0.5"),
        (Colours(), {"mean": 0.9, "std": 0.1}, "mean=0, std=1"),  # normalised inside already
        (Colours(flipped=True), {}, "blue, green, red"),
        (Colours((0.406, 0.456, 0.485), 1 / 255, flipped=True), {}, "std=1/255 and its channels"),
    ],
)
def test_another_scale_or_order_of_channels_is_named(module: nn.Module, given: dict[str, Any], mend: str) -> None:
    with pytest.raises(ModelError, match=rf"net knows \d+ of 16 clean images, and 16 of them with .*{mend}") as told:
        asked(module, trust_labels=True, **given)
    assert "--trust-victim" in told.value.hint
    found = asked(module, trust_labels=True, trust_victim=True, **given)
    assert found.statistics.right_on_clean < 12


def test_levels_are_legal() -> None:
    found = asked(Colours(0, 1 / 255), std=1 / 255)
    assert (found.statistics.right_on_clean, found.notes) == (24, ())


def test_a_bad_network_is_not_blamed_on_its_input() -> None:
    draw = np.random.default_rng(0)
    for _ in range(5):
        assert not notes(asked(Colours(), labels=draw.permutation(LABELS), trust_labels=True), "trained on such")


def test_one_class_for_everything() -> None:
    module = Colours(end=lambda logits: logits * 0 + torch.eye(CLASSES)[2])
    found = asked(module)
    assert notes(found, "each of 24 clean images the class 2")
    assert not notes(asked(module, labels=np.full(24, 2)), "the class 2")  # then it is right


@pytest.mark.parametrize("end", [lambda z: z.softmax(1), lambda z: (z / 7).softmax(1), lambda z: z.half().softmax(1)])
def test_probabilities_of_a_victim_are_noted_and_its_classes_are_right(end: Any) -> None:
    found = asked(Colours(end=end))
    assert notes(found, "probabilities")
    assert found.statistics.right_on_clean == 24
    assert found.records == asked(Colours()).records


@pytest.mark.parametrize("end", [lambda z: z, lambda z: z.log_softmax(1), lambda z: z.sigmoid()])
def test_other_scores_are_not_taken_for_probabilities(end: Any) -> None:
    assert not notes(asked(Colours(end=end)), "probabilities, not")


def test_scores_that_are_equal_are_counted() -> None:
    found = asked(Colours(end=lambda z: (z + 40).sigmoid()))  # saturated in float32: several are 1
    assert notes(found, "best classes for 48 of 48 images")
    assert not notes(asked(Colours(end=lambda z: (z + 4).double().sigmoid())), "best classes")


@pytest.mark.parametrize(("count", "counted"), [(1, "1 image is"), (6, "6 images are")])
def test_few_images_get_a_word_on_their_number(count: int, counted: str) -> None:
    found = asked(Colours(), IMAGES[:count], LABELS[:count])
    success = found.statistics.success
    assert success.n == count
    (note,) = found.notes
    assert f"{counted} counted" in note
    assert f"{success.low:.0%} to {success.high:.0%}" in note


def test_nothing_right_on_clean() -> None:
    found = asked(Colours(), labels=np.full(24, 5), images=IMAGES[:1].repeat(24, 0))
    assert found.statistics.success.value is None
    assert notes(found, "right on none of 24 clean images")


@pytest.mark.parametrize(
    ("end", "mend"),
    [
        (lambda z: z[:, :1], "torch.cat"),
        (lambda z: z[:, 0], "torch.cat"),
        (lambda z: z[:, :, None, None], "flatten(1)"),
        (lambda z: z.argmax(1), "one_hot"),
        (lambda z: {"scores": z}, "answer['scores']"),
        (lambda z: (z, z), "answer[0]"),
        (lambda z: z[1:], "shape"),
        (lambda z: z * float("nan"), "log_softmax"),
        (lambda z: z[:, :3], "classes"),
    ],
)
def test_what_is_no_matrix_of_logits_is_refused_wherever_it_is_asked(end: Any, mend: str) -> None:
    module = Colours(end=end)
    for victim in (Model(module, input_size=8, name="net"), module.forward):
        with pytest.raises(ModelError) as told:
            evaluate(victim, IMAGES, IMAGES, LABELS)
        assert mend in told.value.hint


def test_a_network_that_sorted_its_folders_as_strings_is_told() -> None:
    names = sorted(map(str, range(12)))
    labels = np.repeat(np.arange(12), 3)
    levels = np.zeros((36, 3, 4, 4), np.uint8)
    levels[:] = labels[:, None, None, None]

    class Sorted(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            numbers = (255 * images[:, 0, 0, 0]).round().long().tolist()
            places = [names.index(str(number)) if number < 12 else 0 for number in numbers]
            return functional.one_hot(torch.tensor(places), 12).float()

    model = Model(Sorted(), input_size=4, name="sorted")
    with pytest.raises(ModelError, match=r"of 36 clean images it predicts 36 .*strings.* 6 as label") as told:
        evaluate(model, levels, levels, labels)
    assert "sorted(range(0, 12), key=str)" in told.value.hint
    assert evaluate(model, levels, levels, labels, trust_labels=True).statistics.right_on_clean == 6
