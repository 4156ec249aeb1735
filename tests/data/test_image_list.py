"""Lists of images: CSVs and folders, and every way in which they can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from linbp.data.image_list import list_images, list_sha256
from linbp.data.images import write_png
from linbp.errors import ImageError

SHARED = Path(__file__).parents[2] / ".." / "shared"


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.zeros((2, 2, 3), np.uint8))
    return path


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / name)
    return tmp_path


def rows(source: Path, **options: object) -> list[tuple[str, str, int | None, int | None]]:
    found = list_images(source, **options)  # type: ignore[arg-type]
    return [(one.image_id, one.path.name, one.label, one.target) for one in found]


def test_a_csv_keeps_its_order_and_finds_files_relative_to_itself(folder: Path) -> None:
    path = write(folder / "list.csv", "file,label,image_id,note", 'b.png,3,second,"x, y"', "", " a.png , 0 ,first,")
    assert rows(path) == [("second", "b.png", 3, None), ("first", "a.png", 0, None)]


def test_ids_default_to_the_stem_and_a_byte_order_mark_is_no_part_of_a_name(folder: Path) -> None:
    (folder / "list.csv").write_bytes(b"\xef\xbb\xbffile,label\r\na.png,1\r\n")
    assert rows(folder / "list.csv") == [("a", "a.png", 1, None)]


def test_a_folder_with_images_csv_is_that_csv(folder: Path) -> None:
    write(folder / "images.csv", "file,label", "c.png,2")
    assert rows(folder) == [("c", "c.png", 2, None)]


def test_targets_come_from_the_column_that_is_named(folder: Path) -> None:
    path = write(folder / "list.csv", "file,label,aim", "a.png,1,7")
    assert rows(path, targets="aim") == [("a", "a.png", 1, 7)]
    assert rows(path) == [("a", "a.png", 1, None)]
    with pytest.raises(ImageError, match="no column 'ami'") as caught:
        list_images(path, targets="ami")
    assert "'aim'" in caught.value.hint


def test_the_original_list_of_nips_2017_is_understood(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "0c7ac.png")
    path = write(tmp_path / "images.csv", "ImageId,URL,x1,TrueLabel,TargetClass", "0c7ac,https://x,0.5,306,779")
    assert rows(path, targets="TargetClass", first_label=1) == [("0c7ac", "0c7ac.png", 305, 778)]
    assert rows(path, targets="target", first_label=1) == [("0c7ac", "0c7ac.png", 305, 778)]


def test_the_lists_of_published_code_are_understood(tmp_path: Path) -> None:
    picture(tmp_path / "n02" / "x.png")
    picture(tmp_path / "y.png")
    released = write(tmp_path / "released.csv", "class_index, class, image_name", "2,n02,x.png", "0,n01,y.png")
    assert rows(released) == [("x", "x.png", 2, None), ("y", "y.png", 0, None)]
    picture(tmp_path / "images" / "z.png")
    framework = write(tmp_path / "labels.csv", "filename,label,targeted_label", "z.png,5,7")
    assert rows(framework, targets="targeted_label") == [("z", "z.png", 5, 7)]
    own_first = write(tmp_path / "own.csv", "file,label,class_index,filename", "y.png,1,8,z.png")
    assert rows(own_first) == [("y", "y.png", 1, None)]
    with pytest.raises(ImageError, match=r"gone\.png"):
        list_images(write(tmp_path / "gone.csv", "class_index,class,image_name", "1,n02,gone.png"))


def test_two_files_of_one_id_are_not_chosen_between(folder: Path) -> None:
    picture(folder / "images" / "a.png")
    with pytest.raises(ImageError, match=r"a\.png and .*a\.png"):
        list_images(write(folder / "list.csv", "image_id,label", "a,1"))


def test_class_folders_give_labels_and_ids_that_cannot_clash(tmp_path: Path) -> None:
    picture(tmp_path / "305" / "x.png")
    picture(tmp_path / "7" / "x.png")
    picture(tmp_path / "7" / ".hidden.png")
    assert rows(tmp_path) == [("305_x", "x.png", 305, None), ("7_x", "x.png", 7, None)]
    assert [label for *_, label, _ in rows(tmp_path, first_label=1)] == [304, 6]


def test_a_plain_folder_has_no_labels(folder: Path) -> None:
    assert rows(folder) == [(name, f"{name}.png", None, None) for name in "abc"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["file,label", "a.png,1", "b.png,two"], r"line 3 of .*'two', not an integer"),
        (["file,label", "a.png,1.5"], r"line 2 of .*'1.5', not an integer"),
        (["file,label", "a.png,1_0", "b.png,2"], r"line 2 of .*'1_0', not an integer"),
        (["file,label", "a.png,"], r"line 2 of .*'', not an integer"),
        (["file,label", "a.png,-1"], r"line 2 of .* is -1"),
        (["file,label", "a.png,1", "gone.png,1"], r"gone\.png \(line 3 of"),
        (["file,label", ",1"], r"No file in line 2"),
        (["file,label", "a.png,1,2"], r"Line 2 of .* 3 cells instead of 2"),
        (["file,label", "a.png"], r"Line 2 of .* 1 cells instead of 2"),
        (["file,label", "a.png,1", "b.png,1", "a.png,2"], r"'a' is used twice: line 2 of .* and line 4"),
        (["image_id,file,label", "x,a.png,1", "X,b.png,1"], r"'X' differs from 'x' by case"),
        (["image_id,file,label", "../x,a.png,1"], r"'\.\./x' \(line 2"),
        (["image_id,file,label", ".x,a.png,1"], r"cannot be the name of a file"),
        (["image_id,file,label", ",a.png,1"], r"cannot be the name of a file"),
        (["image_id,label", "gone,1"], r"'gone' \(line 2 .* there is no image"),
        (["image_id,label", "../a,1"], r"cannot be the name of a file"),
        (["file,file,label", "a.png,a.png,1"], r"'file' twice"),
        (["file,label,TrueLabel", "a.png,1,2"], r"both a column label and a column TrueLabel"),
        (["picture,label", "a.png,1"], r"neither a column file nor image_id"),
        (["file,label"], r"lists no images"),
        ([""], r"is empty"),
        (["file,label", 'a.png,"1'], r"cannot be read as CSV"),
    ],
)
def test_a_faulty_csv_is_refused_with_its_line(folder: Path, lines: list[str], words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        list_images(write(folder / "list.csv", *lines))
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_labels_below_the_first_one_are_refused(folder: Path) -> None:
    path = write(folder / "list.csv", "file,label", "a.png,0")
    with pytest.raises(ImageError, match=r"line 2.*0.*1"):
        list_images(path, first_label=1)


def test_text_in_another_encoding_is_refused(folder: Path) -> None:
    (folder / "list.csv").write_bytes("file,label\nä.png,1\n".encode("latin-1"))
    with pytest.raises(ImageError, match=r"list\.csv.*CSV"):
        list_images(folder / "list.csv")


def test_folders_that_are_no_list_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        list_images(tmp_path / "gone")
    with pytest.raises(ImageError, match="holds no images"):
        list_images(tmp_path)
    with pytest.raises(ImageError, match="no column 'target'"):
        list_images(tmp_path, targets="target")
    one = picture(tmp_path / "cats" / "x.png")
    picture(tmp_path / "7" / "x.png")
    with pytest.raises(ImageError, match=r"cats.*class number, as 7 is"):
        list_images(tmp_path)
    with pytest.raises(ImageError, match="is an image, not a list"):
        list_images(one)
    picture(tmp_path / "y.png")
    with pytest.raises(ImageError, match="images and sub-folders"):
        list_images(tmp_path)
    twice = tmp_path / "cats" / "x.jpg"
    twice.write_bytes(one.read_bytes())
    with pytest.raises(ImageError, match=r"x\.jpg and x\.png"):
        list_images(tmp_path / "cats")


def test_the_hash_of_a_list_sees_ids_labels_targets_pixels_and_order(folder: Path) -> None:
    def digest(*lines: str, pixels: tuple[str, ...] = ("p", "q"), targets: str | None = None) -> str:
        return list_sha256(list_images(write(folder / "list.csv", "file,label,aim", *lines), targets=targets), pixels)

    same = digest("a.png,1,5", "b.png,2,6")
    assert same == digest("a.png,1,0", "b.png,2,0")
    (folder / "deeper").mkdir()
    changed = {
        digest("b.png,2,6", "a.png,1,5"),
        digest("a.png,1,5", "b.png,3,6"),
        digest("a.png,1,5", "c.png,2,6"),
        digest("a.png,1,5", "b.png,2,6", targets="aim"),
        digest("a.png,1,5", "b.png,2,6", pixels=("p", "r")),
    }
    assert len(changed | {same}) == 6


@pytest.mark.skipif(not (SHARED / "data" / "nips17").is_dir(), reason="the shared photographs are not here")
def test_the_shared_photographs_are_listed() -> None:
    found = list_images(SHARED / "data" / "nips17", targets="target")
    assert len(found) == 300
    assert found[0].image_id == "0c7ac4a8c9dfa802"
    assert (found[0].label, found[0].target) == (305, 778)


def test_adversarial_images_among_the_images_are_no_class(tmp_path: Path) -> None:
    picture(tmp_path / "3" / "a.png")
    picture(tmp_path / "adv" / "3_a.png")
    with pytest.raises(ImageError, match="adv"):
        list_images(tmp_path)
    (tmp_path / "adv" / "manifest.json").write_text("{}")
    assert rows(tmp_path) == [("3_a", "a.png", 3, None)]
    picture(tmp_path / "4" / "c.png")
    (tmp_path / "4" / "manifest.json").write_text("{}")  # somebody's own: a class keeps its images
    assert [row[0] for row in rows(tmp_path)] == ["3_a", "4_c"]
    picture(tmp_path / "flat" / "b.png")
    picture(tmp_path / "flat" / "adv" / "b.png")
    (tmp_path / "flat" / "adv" / "manifest.json").write_text("{}")
    assert rows(tmp_path / "flat") == [("b", "b.png", None, None)]


def test_an_empty_name_is_not_the_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert len(list_images(".")) == 3
    with pytest.raises(ImageError, match="is empty"):
        list_images("")


def test_a_name_that_is_no_utf_8(folder: Path) -> None:
    try:
        picture(folder / "caf\udce9.png")
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system has no such names")
    with pytest.raises(ImageError) as caught:
        list_images(folder)
    assert "caf" in caught.value.message
    assert "UTF-8" in caught.value.hint
