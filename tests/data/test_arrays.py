"""Images and classes in memory: whatever is plain becomes the same tensor, anything else is one line."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from linbp.data.arrays import as_classes, as_images, check_levels
from linbp.errors import ImageError

LEVELS = np.random.default_rng(0).integers(0, 256, (3, 3, 5, 4), dtype=np.uint8)
UNIT = torch.from_numpy(LEVELS).double() / 255
NAMES = ["a", "b", "c"]


def read_only() -> np.ndarray:
    copy = LEVELS.copy()
    copy.flags.writeable = False
    return copy


def mapped(folder: Path) -> np.ndarray:
    np.save(folder / "x.npy", LEVELS)
    found: np.ndarray = np.load(folder / "x.npy", mmap_mode="r")
    return found


def objects() -> np.ndarray:
    found = np.empty(3, object)
    found[:] = list(LEVELS)
    return found


KINDS: dict[str, Callable[[Path], Any]] = {
    "tensor": lambda _: torch.from_numpy(LEVELS),
    "list of tensors": lambda _: list(torch.from_numpy(LEVELS)),
    "tuple of arrays": lambda _: tuple(LEVELS),
    "array of arrays": lambda _: objects(),
    "images of Pillow": lambda _: [Image.fromarray(one.transpose(1, 2, 0)) for one in LEVELS],
    "negative strides": lambda _: LEVELS[:, :, ::-1].copy()[:, :, ::-1],
    "read-only": lambda _: read_only(),
    "memory-mapped": mapped,
    "requires a gradient": lambda _: UNIT.clone().requires_grad_(),
    "parameter": lambda _: torch.nn.Parameter(UNIT.clone()),
    "float32": lambda _: UNIT.float(),
    "float16": lambda _: UNIT.half(),
    "array of float16": lambda _: UNIT.half().numpy(),
    "big-endian": lambda _: UNIT.numpy().astype(">f4"),
    "nested lists": lambda _: UNIT.tolist(),
    "channels last in memory": lambda _: UNIT.to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_plain_kind_gives_the_same_images(tmp_path: Path, kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = as_images(KINDS[kind](tmp_path))
    check_levels(found, NAMES)
    assert type(found) is torch.Tensor
    assert not found.requires_grad
    levels = found if found.dtype == torch.uint8 else (found.double() * 255).round().to(torch.uint8)
    assert np.array_equal(levels.numpy(), LEVELS)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (UNIT[0], ("(3, 5, 4)", "images[None]")),
        (UNIT[None], ("(1, 3, 3, 5, 4)",)),
        (UNIT[:, :, :0], ("(3, 3, 0, 4)",)),
        (UNIT.bfloat16(), ("bfloat16", "256 levels")),
        (torch.from_numpy(LEVELS).long(), ("int64", "uint8")),
        (LEVELS.astype(np.uint16), ("uint16", "numpy.uint8")),
        (LEVELS > 3, ("bool",)),
        (LEVELS.astype(complex), ("complex128",)),
        (LEVELS.astype(str), ("<U3",)),
        (LEVELS.astype(np.longdouble), ("Images are",)),
        ([], ("empty",)),
        ([UNIT[0], UNIT[1, :, :2]], ("image 0 is (3, 5, 4)", "image 1 is (3, 2, 4)")),
        ([LEVELS[0], UNIT[1]], ("uint8", "float64")),
        ([Image.new("RGB", (4, 4)), Image.new("RGB", (4, 5))], ("image 1 is (3, 5, 4)",)),
        ([Image.fromarray(np.zeros((4, 4), np.uint16))], ("Image 0", "more than 8 bits")),
        ([UNIT, torch.zeros(3)], ("Image 0", "(3, 3, 5, 4)", "DataLoader")),
        (["a.png"], ("Image 0",)),
        ([1, 2], ("Image 0",)),
        ([[[1], [2, 3]]], ("Image 0",)),
        ("photos", ("path", "--data")),
        (Path("photos"), ("path", "--data")),
        (None, ("None",)),
        ({"image": UNIT}, ("dict",)),
        ({1}, ("set",)),
        (iter(UNIT), ("iterator",)),
        (DataLoader(TensorDataset(UNIT)), ("DataLoader", "one batch after the other")),
        (TensorDataset(UNIT), ("TensorDataset",)),
        (Image.new("RGB", (4, 4)), ("Pillow", "[image]")),
        (torch.nn.Identity(), ("Images are",)),
        (3, ("Images",)),
        (UNIT.to_sparse(), ("sparse",)),
        (UNIT.to("meta"), ("meta",)),
        (torch.nested.nested_tensor([UNIT[0, 0], UNIT[1, 0, :2]], layout=torch.jagged), ("ordinary",)),
    ],
)
def test_what_is_no_batch_of_images_is_one_line(images: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(ImageError) as caught:
        as_images(images)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (torch.from_numpy(LEVELS).float(), ("outside [0, 1]", "255", "images / 255")),
        ((UNIT - 0.5) / 0.2, ("outside [0, 1]", "before any normalisation")),
        (UNIT * float("nan"), ("outside [0, 1]", "NaN")),
        (UNIT / 0, ("outside [0, 1]",)),
        (UNIT + 0.3 / 255, ("8-bit grid", ".round()")),
        (UNIT.half() + 0.3 / 255, ("8-bit grid",)),
    ],
)
def test_values_that_are_no_levels_are_named_before_anything_is_computed(
    row: torch.Tensor, words: tuple[str, ...]
) -> None:
    images = torch.cat([torch.zeros(70, 3, 5, 4, dtype=row.dtype), row.clamp(max=255)])
    if row[0].isinf().any():
        images[70:] = torch.inf
    with pytest.raises(ImageError) as caught:
        check_levels(images, [f"i{number}" for number in range(73)])
    assert "Image i70 " in caught.value.message
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    "labels",
    [
        [2, 0, 1],
        (2, 0, 1),
        torch.tensor([2, 0, 1], dtype=torch.uint8),
        np.array([2, 0, 1], np.int8),
        np.array([2, 0, 1], np.uint64),
        np.array([2, 0, 1], ">i4"),
        np.array([2, 0, 1], object),
        np.array([np.int64(2), 0, 1], object),
        list(torch.tensor([2, 0, 1])),
        [np.int32(2), torch.tensor(0), 1],
    ],
)
def test_every_kind_of_whole_numbers_is_a_label(labels: Any) -> None:
    found = as_classes(labels, 3)
    assert found.dtype == torch.int64
    assert found.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([2, 0], ("(2,)",)),
        (3, ("[label]",)),
        (None, ("object",)),
        ([2.0, 0.0, 1.0], ("float64", ".astype(int)")),
        (torch.tensor([2, 0, 1]).bfloat16(), ("float32",)),
        ([float("nan")] * 3, ("float64",)),
        (["2", "0", "1"], ("int(label)",)),
        (["cat"] * 3, ("<U3",)),
        (np.array(["cat", 1, None], object), ("object",)),
        (torch.eye(10)[:3], ("argmax(1)",)),
        ([[2], [0], [1]], ("reshape(-1)",)),
        ([[2], [0, 3], [1]], ("list",)),
        ([True, False, True], ("bool",)),
        ([10**30] * 3, ("out of range",)),
        ({0: 1}, ("object",)),
        ((one for one in (2, 0, 1)), ("object",)),
    ],
)
def test_what_is_no_label_is_one_line(labels: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(ImageError) as caught:
        as_classes(labels, 3)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in caught.value.message


def test_no_images_have_no_labels() -> None:
    for none in ([], (), np.zeros(0), torch.zeros(0, dtype=torch.int64)):
        assert as_classes(none, 0).tolist() == []
    assert as_images(LEVELS[:0]).shape == (0, 3, 5, 4)
