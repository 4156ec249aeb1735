"""Folders: nothing that lies in one vanishes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linbp.data.image_list import ImageList, list_images, not_used
from linbp.data.images import EXTENSIONS, read_image
from linbp.errors import ImageError


def picture(path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)  # type: ignore[arg-type]
    return path


def unused(found: ImageList) -> dict[str, list[str]]:
    return {one.kind: list(one.names) for one in found.unused}


@pytest.mark.parametrize(
    "ending", ["jfif", "JPG", "Jpeg", "avif", "webp", "tiff", "bmp", "jp2", "tga", "ppm", "mpo", "qoi"]
)
def test_whatever_pillow_reads_is_an_image(tmp_path: Path, ending: str) -> None:
    picture(tmp_path / "0" / "a.png")
    picture(tmp_path / "1" / "b.png", format=None)
    os.rename(picture(tmp_path / "1" / f"x.{ending.lower()}"), tmp_path / "1" / f"b.{ending}")
    os.remove(tmp_path / "1" / "b.png")
    found = list_images(tmp_path)
    assert [(one.image_id, one.label) for one in found] == [("0_a", 0), ("1_b", 1)]
    assert read_image(found[1].path).shape == (8, 8, 3)
    assert found.unused == ()


def test_every_ending_is_one_that_pillow_knows() -> None:
    assert Image.registered_extensions().keys() >= EXTENSIONS


def test_what_is_not_used_is_counted_and_named(tmp_path: Path) -> None:
    picture(tmp_path / "3" / "a.png")
    picture(tmp_path / "3" / "._a.jpg")
    picture(tmp_path / "3" / "deeper" / "still" / "d.png")
    picture(tmp_path / "3" / ".ipynb_checkpoints" / "a.png")
    for name in ("3/Thumbs.db", "notes.txt", ".DS_Store", "7/readme", "3/x.heic"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for name in ("1", "3/y.png", "8/sub"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "3" / "broken.png").symlink_to("gone")
    (tmp_path / "3" / "loop.png").symlink_to("loop.png")
    (tmp_path / "3" / "b.png").symlink_to("a.png")
    os.mkfifo(tmp_path / "3" / "pipe.png")
    found = list_images(tmp_path)
    assert [(one.image_id, one.label) for one in found] == [("3_a", 3), ("3_b", 3)]
    assert unused(found) == {
        "hidden files": [".DS_Store", "3/._a.jpg", "3/.ipynb_checkpoints"],
        "files of other endings": ["notes.txt", "7/readme", "3/Thumbs.db", "3/x.heic"],
        "folders without images": ["1/", "7/", "8/", "8/sub/", "3/y.png/"],
        "broken links": ["3/broken.png", "3/loop.png"],
        "neither files nor folders": ["3/pipe.png"],
        "images in deeper folders": ["3/deeper/still/d.png"],
    }


def test_a_class_without_images_shifts_no_other(tmp_path: Path) -> None:
    for name in ("0/a.png", "2/c.png"):
        picture(tmp_path / name)
    (tmp_path / "1").mkdir()
    found = list_images(tmp_path)
    assert [one.label for one in found] == [0, 2]
    assert unused(found) == {"folders without images": ["1/"]}


def test_classes_of_imagenet_may_be_named_as_wordnet_does(tmp_path: Path) -> None:
    for name in ("n01440764", "n02123045"):
        picture(tmp_path / name / "x.png")
    found = list_images(tmp_path)
    assert [(one.image_id, one.label) for one in found] == [("n01440764_x", 0), ("n02123045_x", 281)]
    assert found.classes == 1000


def test_classes_in_words_wait_for_a_network_that_knows_them(tmp_path: Path) -> None:
    for name in ("dog", "cat"):
        picture(tmp_path / name / "x.png")
    (tmp_path / "bird").mkdir()
    found = list_images(tmp_path)
    assert [(one.image_id, one.label, one.class_name) for one in found] == [
        ("cat_x", None, "cat"),
        ("dog_x", None, "dog"),
    ]
    assert found.order == ("bird", "cat", "dog")
    assert [one.label for one in list_images(tmp_path, classes=["dog", "cat"])] == [1, 0]


def test_images_that_lie_deeper_are_pointed_at(tmp_path: Path) -> None:
    picture(tmp_path / "val" / "305" / "x.png")
    with pytest.raises(ImageError, match=r"val/305/x\.png") as caught:
        list_images(tmp_path)
    assert f"such as {tmp_path / 'val'}." in caught.value.hint


def test_a_folder_without_images_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"x")
    (tmp_path / ".b.png").write_bytes(b"x")
    with pytest.raises(ImageError, match=r"hidden.*1: \.b\.png.*1: a\.heic"):
        list_images(tmp_path)


def test_two_files_of_one_name_are_both_named(tmp_path: Path) -> None:
    picture(tmp_path / "3" / "a.png")
    picture(tmp_path / "3" / "a.jpg")
    with pytest.raises(ImageError, match=r"'3_a'.*3/a\.jpg and 3/a\.png"):
        list_images(tmp_path)


def test_a_link_to_the_folder_itself_is_no_endless_loop(tmp_path: Path) -> None:
    picture(tmp_path / "3" / "a.png")
    (tmp_path / "3" / "again").symlink_to(tmp_path)
    assert [one.image_id for one in list_images(tmp_path)] == ["3_a"]
    (tmp_path / "9").symlink_to("9")
    assert unused(list_images(tmp_path))["broken links"] == ["9"]


def test_images_that_a_folders_list_leaves_out_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "images.csv").write_text("file,label\na.png,1\n")
    assert unused(list_images(tmp_path)) == {"images that images.csv does not list": ["b.png"]}
    assert list_images(tmp_path / "images.csv").unused == ()  # another list may have the rest


@pytest.mark.parametrize("name", ["x" * 304, "a/" * 3000, "\udcff", "pipe"])
def test_a_source_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError):
        list_images(tmp_path / name)


def test_a_first_label_below_minus_one_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "3" / "a.png")
    assert list_images(tmp_path, first_label=-1)[0].label == 4  # behind a class for the background
    with pytest.raises(ImageError, match="-2"):
        list_images(tmp_path, first_label=-2)


def test_what_files_store_beside_their_pixels_is_named(tmp_path: Path) -> None:
    from PIL import ImageCms

    image = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / "a.png", icc_profile=srgb)
    image.save(tmp_path / "b.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes())
    image.convert("RGBA").save(tmp_path / "c.png")
    image.convert("P").save(tmp_path / "d.png", transparency=0)
    image.convert("LA").save(tmp_path / "e.png")
    other = Image.fromarray(np.full((4, 4, 3), 255, np.uint8))
    for name in ("f.gif", "g.png", "h.tif", "i.webp"):
        image.save(tmp_path / name, save_all=True, append_images=[other])
    kinds = {one.kind: list(one.names) for one in not_used(list_images(tmp_path))}
    assert kinds == {
        "colour profiles": ["b.png"],
        "alpha channels": ["c.png", "d.png", "e.png"],
        "further frames": ["f.gif", "g.png", "h.tif", "i.webp"],
    }
