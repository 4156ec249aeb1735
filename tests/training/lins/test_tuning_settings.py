"""Order, batches, held-out images, the learning rate, augmentation, and settings that are refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from linbp.errors import ImageError, RecipeError
from linbp.randomness import generator
from linbp.training.fine_tuning.samples import Tensors, augmented, split
from linbp.training.fine_tuning.tuning import batches, held_out, order
from linbp.training.lins import Tuning

NAMES = [f"image {number}" for number in range(40)]


def test_the_order_belongs_to_the_images_and_not_to_the_list() -> None:
    rows = order(NAMES, 3, 1)
    assert sorted(rows) == list(range(40))
    assert rows != order(NAMES, 3, 2)
    assert rows != order(NAMES, 4, 1)
    turned = NAMES[::-1]
    assert [turned[row] for row in order(turned, 3, 1)] == [NAMES[row] for row in rows]
    fewer = NAMES[:20]
    assert [fewer[row] for row in order(fewer, 3, 1)] == [NAMES[row] for row in rows if row < 20]


def test_held_out_images_do_not_depend_on_the_order_of_the_list() -> None:
    found = {NAMES[row] for row in held_out(NAMES, 0, 0.25)}
    turned = NAMES[::-1]
    assert len(found) == 10
    assert {turned[row] for row in held_out(turned, 0, 0.25)} == found
    assert {NAMES[row] for row in held_out(NAMES, 1, 0.25)} != found
    assert len(held_out(NAMES, 0, 0.001)) == 1


def test_a_last_batch_of_one_joins_the_one_before() -> None:
    assert batches(range(7), 3) == [[0, 1, 2], [3, 4, 5, 6]]
    assert batches(range(8), 3) == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert batches(range(1), 3) == [[0]]
    assert batches(range(3), 1) == [[0], [1], [2]]


def test_augmentation_against_numpy() -> None:
    images = np.random.default_rng(0).random((6, 3, 16, 24))
    ids = NAMES[:6]
    found = augmented(torch.from_numpy(images), ids, ("flip", "crop"), 5, 2).numpy()
    turned = moved = 0
    for at, name in enumerate(ids):
        flip = generator(5, name, 2, "linearize.flip").random() < 0.5
        expected = images[at][:, :, ::-1] if flip else images[at]
        draw = generator(5, name, 2, "linearize.crop")
        down, right = int(draw.integers(0, 5)), int(draw.integers(0, 7))  # up to 2 and 3 either way
        wide = np.pad(expected, ((0, 0), (2, 2), (3, 3)), mode="reflect")
        assert (found[at] == wide[:, down : down + 16, right : right + 24]).all()
        turned, moved = turned + flip, moved + ((down, right) != (2, 3))
    assert 0 < turned < 6
    assert moved > 3
    alone = augmented(torch.from_numpy(images[3:4]), ids[3:4], ("flip", "crop"), 5, 2).numpy()
    assert (alone[0] == found[3]).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": "adam"}, "no optimizer 'adam'"),
        ({"learning_rate": 0.0}, "learning rate is 0.0"),
        ({"learning_rate": math.nan}, "learning rate is nan"),
        ({"learning_rate": math.inf}, "learning rate is inf"),
        ({"epochs": -1}, "Epochs are -1"),
        ({"epochs": 1.5}, "Epochs are 1.5"),
        ({"batch_size": 0}, "batch size is 0"),
        ({"warm_up": 1.0}, "warm up is 1.0"),
        ({"weight_decay": -0.1}, "weight decay is -0.1"),
        ({"label_smoothing": 1}, "label smoothing is 1"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"recalibrate": -5}, "recalibrate is -5"),
        ({"augment": ("spin",)}, "no augmentation 'spin'"),
        ({"seed": 0.5}, "seed is 0.5"),
    ],
)
def test_settings_that_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words) as refused:
        Tuning(**options)
    assert refused.value.hint


def test_defaults_go_with_the_optimizer() -> None:
    sgd, adamw = Tuning(), Tuning(optimizer="adamw")
    assert (sgd.learning_rate, sgd.weight_decay) == (0.01, 1e-4)
    assert (adamw.learning_rate, adamw.weight_decay) == (1e-4, 0.01)
    assert Tuning(learning_rate=0.5, weight_decay=0.0).weight_decay == 0.0


def test_images_in_memory_that_are_refused() -> None:
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    for faulty, labels, ids, words in [
        (images[0], [0] * 4, None, "shape"),
        (images.float() + 2, [0] * 4, None, "neither uint8 nor floats"),
        (images.int(), [0] * 4, None, "neither uint8 nor floats"),
        (images, [0] * 3, None, "4 images, 3 labels"),
        (images, [0] * 4, ["a", "a", "b", "c"], "and 3 ids"),
    ]:
        with pytest.raises(ImageError, match=words):
            Tensors(faulty, labels, ids)
    for share in (0, 1, 1.5, -0.1):
        with pytest.raises(ImageError, match="cannot be held out"):
            split(Tensors(images, [0] * 4), share, 0)
    with pytest.raises(ImageError, match="none is left"):
        split(Tensors(images[:1], [0]), 0.5, 0)
    with pytest.raises(ImageError, match="none is left"):
        split(Tensors(images, [0] * 4), 0.95, 0)
