"""Reading, writing and batching of images."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from linbp.data import images
from linbp.errors import ImageError, StoreError


def noise(height: int = 5, width: int = 7, seed: int = 0) -> images.Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_png_gives_back_the_pixels_and_leaves_no_other_file(tmp_path: Path) -> None:
    pixels = noise()
    images.write_png(tmp_path / "a.png", pixels)
    images.write_png(tmp_path / "a.png", pixels)
    assert np.array_equal(images.read_image(tmp_path / "a.png"), pixels)
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(np.repeat(noise()[:, :, :1], 3, axis=2))
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    grey.convert(mode).save(path)
    read = images.read_image(path)
    assert read.dtype == np.uint8
    assert read.shape == (5, 7, 3)
    if mode in ("L", "LA", "RGBA"):
        assert np.array_equal(read, np.asarray(grey))


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    palette = Image.fromarray(noise()).convert("P")
    palette.save(tmp_path / "a.png", transparency=bytes(range(256)))
    assert images.read_image(tmp_path / "a.png").shape == (5, 7, 3)


def test_sixteen_bits_are_refused_instead_of_cut(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="more than 8 bits") as caught:
        images.read_image(tmp_path / "a.png")
    assert caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png does not exist"):
        images.read_image(tmp_path / "gone.png")


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif", "bmp", "tif"])
def test_no_cut_file_is_taken_for_whole(tmp_path: Path, ending: str) -> None:
    whole = tmp_path / f"whole.{ending}"
    Image.fromarray(noise(40, 40)).save(whole)
    content = whole.read_bytes()
    cut = tmp_path / f"cut.{ending}"
    for share in (0.0, 0.1, 0.5, 0.9):
        cut.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ImageError, match=f"cut.{ending}") as caught:
            images.read_image(cut)
        assert "\n" not in caught.value.message


@settings(max_examples=60, deadline=None)
@given(damage=st.binary(min_size=1, max_size=8), place=st.floats(0, 0.99))
def test_a_damaged_file_is_read_or_refused_with_our_error(
    tmp_path_factory: pytest.TempPathFactory, damage: bytes, place: float
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "a.png"
    images.write_png(path, noise(20, 20))
    content = bytearray(path.read_bytes())
    at = int(place * len(content))
    content[at : at + len(damage)] = damage
    path.write_bytes(content)
    with contextlib.suppress(ImageError):
        assert images.read_image(path).ndim == 3


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    images.write_png(path, noise(seed=1))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device") as caught:
        images.write_png(path, noise(seed=2))
    assert "Free some space" in caught.value.hint
    assert np.array_equal(images.read_image(path), noise(seed=1))
    assert os.listdir(tmp_path) == ["a.png"]


def test_a_hash_sees_pixels_and_shape_but_not_the_file_format(tmp_path: Path) -> None:
    pixels = noise(4, 6)
    images.write_png(tmp_path / "a.png", pixels)
    Image.fromarray(pixels).save(tmp_path / "a.bmp")
    hashes = {images.pixel_sha256(images.read_image(tmp_path / name)) for name in ("a.png", "a.bmp")}
    assert hashes == {images.pixel_sha256(pixels)}
    assert images.pixel_sha256(pixels.reshape(6, 4, 3)) not in hashes
    other = pixels.copy()
    other[3, 5, 2] ^= 1
    assert images.pixel_sha256(other) not in hashes


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_a_cameras_orientation_is_not_applied_but_noticed(tmp_path: Path, ending: str) -> None:
    upright, turned = tmp_path / f"upright.{ending}", tmp_path / f"turned.{ending}"
    for path, orientation in ((upright, 1), (turned, 6)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(noise(16, 24)).save(path, exif=exif)
    assert np.array_equal(images.read_image(turned), images.read_image(upright))
    assert (images.is_turned(upright), images.is_turned(turned)) == (False, True)


def test_a_tiffs_orientation_is_applied_by_pillow(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned a quarter to the right
    Image.fromarray(noise(16, 24)).save(tmp_path / "a.tif", exif=exif)
    assert np.array_equal(images.read_image(tmp_path / "a.tif"), np.rot90(noise(16, 24), -1))
    assert not images.is_turned(tmp_path / "a.tif")


def test_what_is_no_image_is_not_turned(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")
    assert not images.is_turned(tmp_path / "a.jpg")
    assert not images.is_turned(tmp_path / "gone.jpg")
    images.write_png(tmp_path / "a.png", noise())
    assert not images.is_turned(tmp_path / "a.png")


@pytest.mark.parametrize("threads", [1, 3])
def test_reading_ahead_prepares_each_image(tmp_path: Path, threads: int) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(9)]
    for number, path in enumerate(paths):
        images.write_png(path, noise(4 + number, 5, seed=number))

    def cut(pixels: images.Pixels, where: str) -> images.Pixels:
        if len(pixels) > 10:
            raise ImageError(f"{where} is too tall.")
        return pixels[:4]

    coming = images.read_ahead(paths, threads, cut)
    for number in range(7):
        assert np.array_equal(next(coming), noise(4 + number, 5, seed=number)[:4])
    with pytest.raises(ImageError, match=r"Image .*7\.png is too tall"):
        next(coming)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_reading_ahead_keeps_the_order_for_any_number_of_threads(tmp_path: Path, threads: int) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(20)]
    for number, path in enumerate(paths):
        images.write_png(path, noise(seed=number))
    for number, pixels in enumerate(images.read_ahead(paths, threads)):
        assert np.array_equal(pixels, noise(seed=number))
    assert number == 19


def test_reading_ahead_fails_at_the_turn_of_the_faulty_image(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path in paths:
        images.write_png(path, noise())
    paths[3].write_bytes(b"no image")
    coming = images.read_ahead(paths, 2)
    for _ in range(3):
        next(coming)
    with pytest.raises(ImageError, match=r"3\.png"):
        next(coming)


def test_every_level_survives_the_way_to_floats_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    for dtype in (torch.float32, torch.float64):
        unit = images.to_unit(levels, dtype)
        assert unit.shape == (1, 3, 16, 16)
        assert torch.equal(unit[0, 0].reshape(-1), torch.arange(256, dtype=dtype) / 255)
        assert np.array_equal(images.to_uint8(unit.numpy()).transpose(0, 2, 3, 1), levels)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.5, 1.2], "above 1"),
        ([-0.1], "below 0"),
        ([float("nan")], "NaN"),
        ([0.3 / 255], "8-bit grid"),
        ([7], "int"),
    ],
)
def test_what_is_not_on_the_grid_is_refused(values: list[float], words: str) -> None:
    with pytest.raises(ImageError, match=words):
        images.to_uint8(np.array(values))


@given(
    sizes=st.lists(st.sampled_from([(4, 4), (4, 5), (5, 4)]), max_size=30),
    batch_size=st.integers(1, 7),
)
def test_batches_hold_every_image_once_and_one_size_each(sizes: list[tuple[int, int]], batch_size: int) -> None:
    batches = images.size_batches(sizes, batch_size)
    assert sorted(index for batch in batches for index in batch) == list(range(len(sizes)))
    for batch in batches:
        assert 1 <= len(batch) <= batch_size
        assert batch == sorted(batch)
        assert len({sizes[index] for index in batch}) == 1


def test_distances_are_those_of_numpy() -> None:
    clean, adv_image = noise(seed=1), noise(seed=2)
    linf, l2 = images.distances(clean, adv_image)
    difference = clean.astype(float) - adv_image
    assert linf == np.abs(difference).max()
    assert l2 == pytest.approx(np.linalg.norm(difference / 255))
    with pytest.raises(ImageError, match="shape"):
        images.distances(clean, adv_image[1:])
