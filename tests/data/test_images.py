"""Reading, writing and batching of images."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from linbp.data import images
from linbp.data.stored import bits_per_channel
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
    with pytest.raises(ImageError, match=r"7\.png.*tall"):
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


def png(kind: int, samples: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write: `kind` is PNG's number of the colour type."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = samples.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in samples)
    content = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def tiff(samples: np.ndarray, bits: int, kind: int) -> bytes:
    """An uncompressed TIFF; `kind` is 1 for whole numbers and 3 for floats."""
    height, width, channels = samples.shape
    content, after = samples.tobytes(), 8 + 2 + 12 * 10 + 4
    short, bits_at = struct.Struct(f"<{channels}H"), after + len(samples.tobytes())
    bits_value, kind_value = (bits_at, bits_at + short.size) if channels > 2 else (bits, kind)
    fields = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, bits_value), (259, 3, 1, 1)),
        *((262, 3, 1, 2 if channels > 2 else 1), (273, 4, 1, after), (277, 3, 1, channels), (278, 3, 1, height)),
        *((279, 4, 1, len(content)), (339, 3, channels, kind_value)),
    ]
    entries = b"".join(struct.pack("<HHII", *field) for field in fields)
    head = b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + struct.pack("<I", 0)
    return head + content + short.pack(*[bits] * channels) + short.pack(*[kind] * channels)


DEEP = np.random.default_rng(0).integers(0, 65_536, (6, 5, 4), dtype=np.uint16)
DEEP_FILES = {
    "grey.png": png(0, DEEP[..., :1]),
    "rgb.png": png(2, DEEP[..., :3]),
    "grey-alpha.png": png(4, DEEP[..., :2]),
    "rgba.png": png(6, DEEP),
    "grey.tif": tiff(DEEP[..., :1].copy(), 16, 1),
    "rgb.tif": tiff(DEEP[..., :3].copy(), 16, 1),
    "rgba.tif": tiff(DEEP, 16, 1),
    "float.tif": tiff(DEEP[..., :1].astype(np.float32), 32, 3),
    "float-rgb.tif": tiff(DEEP[..., :3].astype(np.float32), 32, 3),
    "rgb.ppm": b"P6 5 6 65535\n" + DEEP[..., :3].astype(">u2").tobytes(),
    "ten.ppm": b"P6 5 6 1023\n" + (DEEP[..., :3] >> 6).astype(">u2").tobytes(),
    "grey.pgm": b"P5 5 6 65535\n" + DEEP[..., :1].astype(">u2").tobytes(),
}


@pytest.mark.parametrize("name", DEEP_FILES)
def test_more_than_eight_bits_are_refused_in_every_kind_of_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(DEEP_FILES[name])
    with pytest.raises(ImageError, match=name) as caught:
        images.read_image(tmp_path / name)
    assert "8-bit" in caught.value.hint
    if name != "float-rgb.tif":  # which Pillow does not open at all
        assert "more than 8 bits" in caught.value.message


@pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow has no JPEG 2000")
def test_more_than_eight_bits_in_jpeg_2000(tmp_path: Path) -> None:
    Image.fromarray(noise(16, 16)).save(tmp_path / "a.jp2")
    content = bytearray((tmp_path / "a.jp2").read_bytes())
    assert images.read_image(tmp_path / "a.jp2").shape == (16, 16, 3)
    at = content.index(b"\xff\x4f\xff\x51") + 42
    content[at : at + 9 : 3] = b"\x0b" * 3  # twelve bits a channel
    (tmp_path / "a.jp2").write_bytes(content)
    with pytest.raises(ImageError, match=r"8 bits.*12"):
        images.read_image(tmp_path / "a.jp2")


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_more_than_eight_bits_in_avif(tmp_path: Path) -> None:
    Image.fromarray(noise(16, 16)).save(tmp_path / "a.avif")
    content = bytearray((tmp_path / "a.avif").read_bytes())
    at = content.index(b"av1C") + 6
    with Image.open(tmp_path / "a.avif") as image:
        depths = []
        for flags in (0x0C, 0x4C, 0x6C):
            content[at] = flags
            depths.append(bits_per_channel(image, bytes(content)))
    assert depths == [8, 10, 12]


def test_fewer_bits_and_a_packed_pixel_are_eight_bits(tmp_path: Path) -> None:
    (tmp_path / "six.ppm").write_bytes(b"P6 5 6 63\n" + (DEEP[..., :3] >> 10).astype(np.uint8).tobytes())
    assert images.read_image(tmp_path / "six.ppm").max() > 63
    head = struct.pack("<2sIIIIiiHHIIiiII", b"BM", 54 + 16, 0, 54, 40, 2, 4, 1, 16, 0, 16, 0, 0, 0, 0)
    (tmp_path / "packed.bmp").write_bytes(head + bytes(16))
    assert images.read_image(tmp_path / "packed.bmp").shape == (4, 2, 3)


@pytest.mark.parametrize("mode", ["LAB", "YCbCr"])
def test_other_colour_spaces_become_rgb(tmp_path: Path, mode: str) -> None:
    from PIL import ImageCms

    grey = Image.fromarray(np.full((4, 4, 3), 119, np.uint8))
    made = grey.convert(mode) if mode != "LAB" else None
    if made is None:
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        made = ImageCms.profileToProfile(grey, *profiles, outputMode="LAB")
    assert made is not None
    made.save(tmp_path / "a.tif")
    assert np.abs(images.read_image(tmp_path / "a.tif").astype(int) - 119).max() <= 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty.png", "is empty"),
        ("folder.png", "directory"),
        ("broken.png", "link to gone"),
        ("loop.png", "links"),
        ("page.png", "Pillow knows"),
        ("x" * 304 + ".png", "too long"),
    ],
)
def test_what_is_no_image_is_named_with_its_fault(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "broken.png").symlink_to("gone")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "page.png").write_text("<html>")
    with pytest.raises(ImageError, match=words) as caught:
        images.read_image(tmp_path / name)
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_too_many_open_files_are_no_fault_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images.write_png(tmp_path / "a.png", noise())

    def full(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ImageError, match="Too many open files") as caught:
        images.read_image(tmp_path / "a.png")
    assert "--threads" in caught.value.hint


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_level_survives_every_kind_of_float(dtype: type) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert np.array_equal(images.to_uint8((levels / np.float64(255)).astype(dtype)), levels)
    with pytest.raises(ImageError, match="8-bit grid"):
        images.to_uint8((levels[..., 1:, 1:] / np.float64(255) - 0.3 / 255).astype(dtype))
