"""CSV files as people and programs write them: accepted where they are plain, else one line that names the fault."""

from __future__ import annotations

import codecs
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from linbp.data.image_csv import label_hint
from linbp.data.image_list import list_images
from linbp.data.images import write_png
from linbp.errors import ImageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        write_png(tmp_path / f"{name}.png", np.zeros((2, 2, 3), np.uint8))
    return tmp_path


def rows(folder: Path, content: str | bytes, **options: object) -> list[tuple[str, int | None]]:
    """Names and labels of the images of a CSV with this content."""
    (folder / "list.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return [(one.path.name, one.label) for one in list_images(folder / "list.csv", **options)]  # type: ignore[arg-type]


def write(folder: Path, content: str) -> Path:
    (folder / "list.csv").write_text(content)
    return folder / "list.csv"


BOTH = [("a.png", 3), ("b.png", 0)]


@pytest.mark.parametrize(
    "header",
    [
        *(
            "file,label",
            "file,Label",
            "file,labels",
            "File, LABELS",
            "path,class",
            "filename,label",
            "Image Path,Class ID",
        ),
        *("image,true_label", "file name , ground truth", "#file,label", "img_path,class_idx", "file,label,"),
    ],
)
def test_columns_are_known_by_their_usual_names(folder: Path, header: str) -> None:
    assert rows(folder, f"{header}\na.png,3\nb.png,0\n") == BOTH


@pytest.mark.parametrize(
    "content",
    [
        *("a.png,3\nb.png,0\n", "3,a.png\n0,b.png\n", "a.png 3\nb.png 0\n", "a.png\t3\nb.png\t0\n"),
        *(
            "file;label\na.png;3\nb.png;0\n",
            "sep=;\r\nfile;label\r\na.png;3\r\nb.png;0\r\n",
            "file|label\na.png|3\nb.png|0",
        ),
        *(
            "file\tlabel\na.png\t3\nb.png\t0\n",
            "file,label\r\na.png,3\r\n\r\nb.png,0\r\n",
            "file,label\ra.png,3\rb.png,0\r",
        ),
        *('"file","label"\n"a.png","3"\n"b.png","0"\n', '"file", "label"\n"a.png", "3"\n"b.png", "0"\n'),
        *("\n\nfile,label\n  \na.png,3\n,\nb.png,0\n", "file,label\na.png,3,\nb.png,0,,\n"),
        *("file,label\na.png,3.0\nb.png,0.\n", "file,label\na.png,03\nb.png,+0\n", "file,label\n.\\a.png,3\nb.png,0\n"),
        codecs.BOM_UTF8 + b"a.png,3\nb.png,0\n",
        codecs.BOM_UTF8 + b"file;label\r\na.png;3\r\nb.png;0\r\n",
        "file,label\na.png,3\nb.png,0\n".encode("utf-16"),
        "file\tlabel\r\na.png\t3\r\nb.png\t0\r\n".encode("utf-16-le"),
        "file,label\na.png,3\nb.png,0\n".encode("utf-16-be"),
    ],
)
def test_what_is_plain_is_read(folder: Path, content: str | bytes) -> None:
    assert rows(folder, content) == BOTH


def test_files_alone_have_no_labels(folder: Path) -> None:
    assert rows(folder, "a.png\nb.png\n") == [("a.png", None), ("b.png", None)]
    assert rows(folder, "file\na.png\n") == [("a.png", None)]


def test_ids_alone_find_their_files_but_are_only_numbers_beside_files(folder: Path) -> None:
    assert rows(folder, "id,label\na,3\nb,0\n") == BOTH
    (folder / "list.csv").write_text("id,file,label\n17,a.png,3\n")
    assert list_images(folder / "list.csv")[0].image_id == "a"


def test_classes_of_imagenet_may_be_named_as_wordnet_does(folder: Path) -> None:
    assert rows(folder, "file,label\na.png,n01440764\nb.png,n15075141\n") == [("a.png", 0), ("b.png", 999)]
    assert list_images(folder / "list.csv").classes == 1000
    assert rows(folder, "path,class\na.png,n01440764\n") == [("a.png", 0)]
    assert rows(folder, "file,label\na.png,n99999999\nb.png,n01440764\n") == [("a.png", None), ("b.png", None)]


def test_classes_in_words_wait_for_a_network_that_knows_them(folder: Path) -> None:
    assert rows(folder, "file,class_name\na.png,dog\nb.png,cat\n") == [("a.png", None), ("b.png", None)]
    found = list_images(folder / "list.csv", classes=["cat", "fox", "dog"])
    assert [(one.label, one.class_name) for one in found] == [(2, "dog"), (0, "cat")]
    assert rows(folder, "file,class,label\na.png,dog,4\nb.png,cat,5\n") == [("a.png", 4), ("b.png", 5)]
    assert list_images(write(folder, "a.png,dog\nb.png,cat\n"))[1].class_name == "cat"
    with pytest.raises(ImageError, match=r"line 3 of .*'two', not an integer"):
        rows(folder, "file,label\na.png,1\nb.png,two\n")
    with pytest.raises(ImageError, match=r"has the label dog in line 2 .* cat in line 3"):
        rows(folder, "file,label,image_id\na.png,dog,x\na.png,cat,y\n")
    aimed = list_images(
        write(folder, "file,label,target\na.png,dog,cat\nb.png,cat,dog\n"), targets="target", classes=["cat", "dog"]
    )
    assert [(one.label, one.target) for one in aimed] == [(1, 0), (0, 1)]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("file,lable", ("file, lable", "lable holds the classes")),
        ("file,Lbl,note", ("file, Lbl, note", "Lbl holds the classes")),
        ("file,colour", ("file, colour",)),
    ],
)
def test_the_columns_of_a_list_without_labels_are_named(folder: Path, header: str, words: tuple[str, ...]) -> None:
    assert rows(folder, f"{header}\na.png,x,y\n" if header.count(",") == 2 else f"{header}\na.png,x\n") == [
        ("a.png", None)
    ]
    hint = label_hint(list_images(folder / "list.csv"))
    assert all(word in hint for word in words)
    assert ("call it label" in hint) == (len(words) > 1)


def test_the_column_of_files_is_suggested(folder: Path) -> None:
    with pytest.raises(ImageError, match="it has fiel, label") as caught:
        rows(folder, "fiel,label\na.png,1\n")
    assert "'fiel'" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("file,label,Label\na.png,1,2\n", "column label and a column Label"),
        ("file,File\na.png,b.png\n", "column file and a column File"),
        ("file,label\na.png,1\na2.png,2\nb2.png,3\n", r"2 of 3 images of .*a2\.png \(line 3\), .*b2\.png \(line 4\)"),
        ("file,label\nA.PNG,1\n", r"A\.PNG \(line 2 of"),
        ("file,label\nsub,1\n", r"sub \(line 2 of .* is a folder"),
        ("file,label\nbroken.png,1\n", r"broken\.png \(line 2 of .* is a broken link"),
        ("file,label\nloop.png,1\n", r"loop\.png \(line 2 of .* is a broken link"),
        (f"file,label\n{'x' * 300}.png,1\n", r"\(line 2 of .* does not exist"),
        ("file,label,image_id\na.png,1,x\na.png,2,y\n", r"a\.png has the label 1 in line 2 .* 2 in line 3"),
        ("file,label,image_id\na.png,1,x\nsub/link.png,2,y\n", r"has the label 1 in line 2 .* 2 in line 3"),
        ("file,label\na.png,1e400\n", "'1e400', not an integer"),
        (b"file,label\na.png,1\n\xe4.png,1\n", "line 3 is not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "cannot be read as CSV"),
        (bytes(range(256)), "cannot be read as CSV"),
        ("\ufeff", "is empty"),
        ("# nothing\n", "is empty"),
        ("1,2,3\n4,5,6\n", "neither a column file nor image_id: it has 1, 2, 3"),
        ("a.png,b.png\n", "neither a column file nor image_id"),
    ],
)
def test_a_fault_is_named_in_one_line(folder: Path, content: str | bytes, words: str) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "link.png").symlink_to("../a.png")
    (folder / "broken.png").symlink_to("gone")
    (folder / "loop.png").symlink_to("loop.png")
    with pytest.raises(ImageError, match=words) as caught:
        rows(folder, content)
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_a_file_of_nearly_that_name_is_suggested(folder: Path) -> None:
    with pytest.raises(ImageError) as caught:
        rows(folder, "file,label\nA.PNG,1\n")
    assert f"There is {folder / 'a.png'}" in caught.value.hint


def test_a_file_in_another_normalisation_is_the_same_file(folder: Path) -> None:
    composed = unicodedata.normalize("NFC", "café.png")
    apart = unicodedata.normalize("NFD", composed)
    os.rename(folder / "a.png", folder / apart)
    assert rows(folder, f"file,label\n{composed},3\n")[0][1] == 3
    os.rename(folder / "b.png", folder / composed)
    if len(os.listdir(folder)) == 4:  # a file system that keeps the two apart
        with pytest.raises(ImageError, match="normalisation") as caught:
            rows(folder, f"file,label\n{composed},3\n{apart},3\n")
        assert "image_id" in caught.value.hint


def test_rows_that_are_not_used_are_counted_and_named(folder: Path) -> None:
    content = "# made by hand\nfile,label\na.png,3\n#c.png,1\na.png,3\nb.png,0\nb.png,0\n"
    assert rows(folder, content) == BOTH
    unused = {one.kind: one.names for one in list_images(folder / "list.csv").unused}
    assert unused == {"lines that begin with #": ("line 1", "line 4"), "rows that repeat another": ("line 5", "line 7")}


def test_one_file_may_have_several_targets(folder: Path) -> None:
    content = "image_id,file,label,target\nx,a.png,1,5\ny,a.png,1,6\n"
    assert rows(folder, content, targets="target") == [("a.png", 1), ("a.png", 1)]


def test_a_comment_sign_may_begin_a_file(folder: Path) -> None:
    os.rename(folder / "a.png", folder / "#a.png")
    assert rows(folder, "file,label\n#a.png,3\n") == [("#a.png", 3)]


def test_columns_of_targets_are_found_by_their_name_in_any_case(folder: Path) -> None:
    (folder / "list.csv").write_text("file,label,Target Class\na.png,1,7\n")
    for name in ("Target Class", "target_class", "target", "TargetClass"):
        assert list_images(folder / "list.csv", targets=name)[0].target == 7
