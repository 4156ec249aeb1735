"""Which order of classes explains predictions: strings, reversed, permuted; and what is no order."""

from __future__ import annotations

import numpy as np
import pytest

from linbp.data.labels import check_not_shifted
from linbp.data.numbering import order_of
from linbp.errors import ImageError


def noisy(draw: np.random.Generator, right: np.ndarray, accuracy: float, classes: int) -> np.ndarray:
    """What a network of that accuracy says where `right` is what it was trained to say."""
    return np.where(draw.random(len(right)) < accuracy, right, draw.integers(0, classes, len(right)))


def folders(classes: int, first: int = 0) -> list[str]:
    """The names of folders as ImageFolder sorts them: a class's number is its place in this list."""
    return sorted(str(number) for number in range(first, first + classes))


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("classes", [12, 37, 100, 1000])
@pytest.mark.parametrize("accuracy", [0.5, 1.0])
def test_a_network_that_sorted_its_folders_as_strings(classes: int, first: int, accuracy: float) -> None:
    draw = np.random.default_rng(classes)
    labels = np.resize(np.arange(classes), max(36, 3 * min(classes, 40)))
    if classes > 40:
        labels = draw.integers(0, classes, 120)
    names = folders(classes, first)
    seen = noisy(draw, np.array([names.index(str(label + first)) for label in labels]), accuracy, classes)
    order = order_of(labels, seen, classes)
    assert order is not None
    assert order.by == 0
    assert f"strings ({names[0]}, {names[1]}, {names[2]}, {names[3]}, ...)" in order.name
    assert order.equal < order.explained
    assert order.explained >= 0.8 * accuracy * len(labels)
    # What the hint says puts the outputs in order.
    numbers = range(first, first + classes)
    assert f"sorted(range({first}, {first + classes}), key=str)" in order.mend
    back = np.argsort(np.array(sorted(numbers, key=str)))
    assert [names[place] for place in back] == [str(number) for number in numbers]


def test_labels_that_number_folders_sorted_as_strings() -> None:
    names = folders(30)
    numbers = np.arange(30)
    labels = np.array([names.index(str(number)) for number in numbers])
    order = order_of(labels, numbers, 30)
    assert order is not None
    assert "labels numbered classes" in order.name
    assert "sorted(range(0, 30), key=str)[label]" in order.mend
    assert [sorted(range(30), key=str)[label] for label in labels] == list(numbers)


def test_six_of_thirty_six_is_told_with_its_cause() -> None:
    """Folders 0 to 11: only 0 and 1 stand where they are expected."""
    labels = np.repeat(np.arange(12), 3)
    seen = np.array([folders(12).index(str(label)) for label in labels])
    assert (seen == labels).sum() == 6
    with pytest.raises(
        ImageError, match=r"of 36 images the network predicts 36 .*strings \(0, 1, 10, 11, \.\.\.\).* 6"
    ) as caught:
        check_not_shifted(labels, seen, labels, 12)
    assert "--trust-labels" in caught.value.hint


def test_classes_from_the_last_to_the_first() -> None:
    labels = np.arange(20)
    order = order_of(labels, 19 - labels, 20)
    assert order is not None
    assert order.explained == 20
    assert "from the last" in order.name


@pytest.mark.parametrize("classes", [2, 3, 5, 10])
@pytest.mark.parametrize("accuracy", [0.95, 1.0])
def test_any_permutation_that_explains_nearly_all_errors(classes: int, accuracy: float) -> None:
    draw = np.random.default_rng(classes)
    labels = np.repeat(np.arange(classes), 12)
    permutation = np.roll(np.arange(classes), 1 if classes < 4 else 3)
    order = order_of(labels, noisy(draw, permutation[labels], accuracy, classes), classes)
    assert order is not None
    assert f"0 as {permutation[0]}" in order.name


def test_two_classes_that_changed_places_among_ten() -> None:
    labels = np.repeat(np.arange(10), 5)
    seen = np.where(labels == 3, 7, np.where(labels == 7, 3, labels))
    order = order_of(labels, seen, 10)
    assert order is not None
    assert (order.explained, order.equal) == (10, 40)
    assert "3 as 7, 7 as 3" in order.name
    one_way = np.where(labels == 3, 7, labels)  # a network that is bad at one class
    assert order_of(labels, one_way, 10) is None


@pytest.mark.parametrize("classes", [2, 3, 10, 12, 100, 1000])
@pytest.mark.parametrize("count", [1, 12, 36, 64, 300])
@pytest.mark.parametrize("accuracy", [0.0, 0.1, 0.4, 0.75, 1.0])
def test_bad_networks_and_good_ones_have_the_labels_order(classes: int, count: int, accuracy: float) -> None:
    for seed in range(12):
        draw = np.random.default_rng(seed)
        labels = draw.integers(0, classes, count)
        assert order_of(labels, noisy(draw, labels, accuracy, classes), classes) is None


@pytest.mark.parametrize("classes", [3, 12, 100])
def test_one_class_for_everything_is_no_order(classes: int) -> None:
    labels = np.resize(np.arange(classes), 60)
    for seen in (0, 1, classes - 1):
        assert order_of(labels, np.full(60, seen), classes) is None
