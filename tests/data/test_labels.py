"""Labels out of range, and lists that seem to be shifted."""

from __future__ import annotations

import numpy as np
import pytest

from linbp.data.labels import check_labels, check_not_shifted, spread
from linbp.errors import ImageError


def test_a_label_out_of_range_is_named_with_its_image() -> None:
    check_labels(["a", "b"], [0, 9], 10)
    for label in (10, -1):
        with pytest.raises(ImageError, match=rf"'b' is {label}.*0 to 9") as caught:
            check_labels(["a", "b"], [0, label], 10)
        assert "--first-label 1" in caught.value.hint
        assert ("must not have it" in caught.value.hint) == (label < 0)


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
        with pytest.raises(ImageError, match=r"from 1.*64 images.*label - 1") as caught:
            check_not_shifted(labels[asked], seen, labels, 1001)
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
        check_not_shifted(truth[asked], predictions(draw, truth[asked], accuracy, classes), truth, classes)


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
def test_random_labels_are_never_suspected(classes: int) -> None:
    for seed in range(300):
        draw = np.random.default_rng(seed)
        labels = draw.integers(0, classes, 64)
        check_not_shifted(labels, draw.integers(0, classes, 64), labels, classes)
        check_not_shifted(labels + 1, draw.integers(0, classes, 64), labels + 1, classes + 2)


def test_eight_classes_are_enough_and_seven_are_not() -> None:
    labels = np.arange(1, 21)
    for known, suspected in ((7, False), (8, True)):
        seen = np.where(np.arange(20) < known, labels - 1, 999)
        if suspected:
            with pytest.raises(ImageError, match=f"{known} as label - 1.* 0 as label"):
                check_not_shifted(labels, seen, labels, 1000)
        else:
            check_not_shifted(labels, seen, labels, 1000)


def test_one_class_that_is_taken_for_its_neighbour_is_not_suspected() -> None:
    tiger_cat, tabby = 282, 281
    check_not_shifted([tiger_cat] * 64, [tabby] * 60 + [tiger_cat] * 4, [tiger_cat] * 64, 1000)
    check_not_shifted([tabby] * 64, [tiger_cat] * 60 + [tabby] * 4, [tabby] * 64, 1000)


def test_a_list_with_a_label_0_does_not_count_from_1() -> None:
    labels = np.arange(1, 41)
    with pytest.raises(ImageError):
        check_not_shifted(labels, labels - 1, labels, 1000)
    check_not_shifted(labels, labels - 1, [*labels, 0], 1000)


@pytest.mark.parametrize("accuracy", [0.3, 0.5, 0.75, 0.95])
def test_a_superfluous_first_label_is_suspected(accuracy: float) -> None:
    for seed in range(100):
        draw = np.random.default_rng(seed)
        truth = draw.integers(1, 1000, 64)  # a 0 would be -1 now, and out of range
        with pytest.raises(ImageError, match=r"64 images.*label \+ 1") as caught:
            check_not_shifted(truth - 1, predictions(draw, truth, accuracy, 1000), truth - 1, 1000)
        assert "Leave out --first-label 1" in caught.value.hint


def test_labels_that_have_the_last_class_are_not_too_small() -> None:
    labels = np.arange(0, 40)
    with pytest.raises(ImageError, match="too small"):
        check_not_shifted(labels, labels + 1, labels, 1000)
    check_not_shifted(labels, labels + 1, [*labels, 999], 1000)
