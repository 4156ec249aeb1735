"""Labels out of range, and lists that seem to count from 1."""

from __future__ import annotations

import numpy as np
import pytest

from linbp.attack.labels import check_labels, check_not_from_one, spread
from linbp.errors import ImageError


def test_a_label_out_of_range_is_named_with_its_image() -> None:
    check_labels(["a", "b"], [0, 9], 10)
    for label in (10, -1):
        with pytest.raises(
            ImageError, match=rf"label of image 'b' is {label}, but the network has the classes 0 to 9"
        ) as caught:
            check_labels(["a", "b"], [0, label], 10)
        assert "--first-label 1" in caught.value.hint


def test_the_images_asked_about_are_spread_over_the_list() -> None:
    assert spread(5) == [0, 1, 2, 3, 4]
    chosen = spread(1000, 64)
    assert len(set(chosen)) == 64
    assert (chosen[0], chosen[-1]) == (0, 999)
    assert max(np.diff(chosen)) <= 17


def predictions(draw: np.random.Generator, truth: np.ndarray, accuracy: float, classes: int) -> np.ndarray:
    """What a network of that accuracy says: the truth, or any class."""
    return np.where(draw.random(len(truth)) < accuracy, truth, draw.integers(0, classes, len(truth)))


@pytest.mark.parametrize("accuracy", [0.3, 0.5, 0.75, 0.95])
@pytest.mark.parametrize("count", [64, 300])
def test_lists_from_one_are_suspected(accuracy: float, count: int) -> None:
    for seed in range(100):
        draw = np.random.default_rng(seed)
        truth = draw.integers(0, 1000, count)
        asked = spread(count)
        labels = truth + 1
        seen = predictions(draw, truth[asked], accuracy, 1000)
        with pytest.raises(ImageError, match=r"count from 1: of 64 images .* label - 1") as caught:
            check_not_from_one(labels[asked], seen, labels)
        assert "--first-label 1" in caught.value.hint
        assert "--trust-labels" in caught.value.hint


@pytest.mark.parametrize("accuracy", [0.0, 0.1, 0.5, 0.75, 0.95, 1.0])
@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
@pytest.mark.parametrize("count", [1, 20, 64, 300])
def test_right_labels_are_never_suspected(accuracy: float, classes: int, count: int) -> None:
    for seed in range(100):
        draw = np.random.default_rng(seed)
        truth = draw.integers(0, classes, count)
        asked = spread(count)
        check_not_from_one(truth[asked], predictions(draw, truth[asked], accuracy, classes), truth)


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
def test_random_labels_are_never_suspected(classes: int) -> None:
    for seed in range(300):
        draw = np.random.default_rng(seed)
        labels = draw.integers(0, classes, 64)
        check_not_from_one(labels, draw.integers(0, classes, 64), labels)
        check_not_from_one(labels + 1, draw.integers(0, classes, 64), labels + 1)


def test_one_class_that_is_taken_for_its_neighbour_is_not_suspected() -> None:
    tiger_cat, tabby = 282, 281
    check_not_from_one([tiger_cat] * 64, [tabby] * 60 + [tiger_cat] * 4, [tiger_cat] * 64)


def test_a_list_with_a_label_0_does_not_count_from_1() -> None:
    labels = np.arange(1, 41)
    with pytest.raises(ImageError):
        check_not_from_one(labels, labels - 1, labels)
    check_not_from_one(labels, labels - 1, [*labels, 0])
