"""Classes by name: found as people write them, refused where they are unknown or ambiguous."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from linbp.data.class_file import class_names_in, read_class_names
from linbp.data.class_names import ClassNames
from linbp.data.image_list import list_images
from linbp.data.images import write_png
from linbp.data.named_labels import in_words, numbered
from linbp.errors import ImageError

OWN = ("tabby, tabby cat", "Jack-o'-lantern", "crane", "crane, lifting crane", "Käfer (groß)", "C#", "C++")


def photos(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / "photos" / name).mkdir(parents=True)
        write_png(tmp_path / "photos" / name / "x.png", np.zeros((2, 2, 3), np.uint8))
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("tabby", 0), ("Tabby Cat", 0), ("tabby_cat", 0), ("TABBY-CAT", 0), ("tabby, tabby cat", 0)),
        *(("jack o lantern", 1), ("Jack_o_Lantern", 1), ("Jack-o'-lantern", 1)),
        *(("crane", 2), ("Crane", 2), ("lifting-crane", 3)),
        *(("käfer_groß", 4), ("KÄFER GROSS", 4), (unicodedata.normalize("NFD", "käfer (groß)"), 4)),
        *(("c#", 5), ("c++", 6)),
    ],
)
def test_a_name_is_found_however_it_is_written(text: str, number: int) -> None:
    assert ClassNames(OWN, "net").numbers([text]) == {text: number}


def test_an_unknown_name_is_refused_with_those_that_are_near() -> None:
    with pytest.raises(ImageError) as caught:
        ClassNames(OWN, "net").numbers(["crane", "taby cat"])
    assert "'taby cat'" in caught.value.message
    assert "tabby, tabby cat (0)" in caught.value.hint
    assert "--classes" in caught.value.hint
    with pytest.raises(ImageError, match=r"2 of 3 names") as caught:
        ClassNames(OWN, "net").numbers(["qqqqqq", "zzzzzz", "tabby"])
    assert "crane (2)" in caught.value.hint  # nothing is near: the first classes
    names = [f"bird {number:03}" for number in range(1000)]
    with pytest.raises(ImageError) as caught:
        ClassNames(names, "net").numbers(["birt 500"])
    assert len(caught.value.hint) < 300
    assert "bird 500 (500)" in caught.value.hint


def test_a_name_of_two_classes_is_refused_with_both() -> None:
    with pytest.raises(ImageError, match=r"'maillot, tank suit' \(0\) and 'maillot' \(1\)"):
        ClassNames(("maillot, tank suit", "maillot", "maillot"), "net").numbers(
            ["Maillot, tank-suit", "maillot, bikini"]
        )
    with pytest.raises(ImageError, match=r"names 2 classes of net: 'maillot' \(0\) and 'maillot' \(1\)"):
        ClassNames(("maillot", "maillot"), "net").numbers(["maillot"])


def test_names_that_are_only_numbers_say_nothing() -> None:
    assert not len(ClassNames(("LABEL_0", "LABEL_1"), "net"))
    assert len(ClassNames(("0", "1"), "net", given=True)) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "cat\ndog\nred fox\n"),
        ("classes.txt", "\ufeffcat\r\ndog\r\nred fox\r\n\r\n"),
        ("classes.names", "0: cat\n1: dog\n2: red fox"),
        ("labels.txt", "2 red fox\n1 dog\n0 cat"),
        ("labels.txt", "1 cat\n2 dog\n3 red fox"),
        ("classes.json", '["cat", "dog", "red fox"]'),
        ("classes.json", '{"0": "cat", "2": "red fox", "1": "dog"}'),
        ("classes.json", '{"red fox": 2, "cat": 0, "dog": 1}'),
        ("config.json", '{"num_labels": 3, "id2label": {"0": "cat", "1": "dog", "2": "red fox"}}'),
        ("net.json", '{"mean": 0.5, "classes": ["cat", "dog", "red fox"]}'),
        ("classes.csv", "id,name\n2,red fox\n0,cat\n1,dog\n"),
        ("classes.csv", "label,class_name\n1,cat\n2,dog\n3,red fox\n"),
        ("classes.csv", "name\ncat\ndog\nred fox\n"),
        ("classes.csv", "cat\ndog\nred fox\n"),
        ("classes.tsv", "cat\t0\nred fox\t2\ndog\t1\n"),
    ],
)
def test_a_file_of_classes_in_any_usual_form(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert read_class_names(tmp_path / name) == ("cat", "dog", "red fox")


def test_synonyms_and_commas_in_a_file_of_classes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("tench, Tinca tinca\ngoldfish\n")
    assert read_class_names(tmp_path / "a.txt") == ("tench, Tinca tinca", "goldfish")
    (tmp_path / "index.json").write_text(json.dumps({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}))
    names = read_class_names(tmp_path / "index.json")
    assert ClassNames(names, "list").numbers(["n01443537", "Tench"]) == {"n01443537": 1, "Tench": 0}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.txt", None, "does not exist"),
        ("classes.txt", "", "names no classes"),
        ("classes.txt", "cat\n", "names one class"),
        ("classes.txt", "cat\n\ndog\n", "Line 2 .* is empty"),
        ("classes.json", "{", "not readable as JSON"),
        ("classes.json", '{"0": "cat", "2": "dog"}', "without a gap"),
        ("classes.json", '{"mean": 1}', "names no classes"),
        ("classes.csv", "id,name\n0,cat\n2,dog\n", "column id .* do not count"),
        ("classes.csv", "id,name\n0,\n1,dog\n", "no column of names"),
    ],
)
def test_a_faulty_file_of_classes_is_refused(tmp_path: Path, name: str, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ImageError, match=words) as caught:
        read_class_names(tmp_path / name)
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_what_checkpoints_hold() -> None:
    assert class_names_in({"class_to_idx": {"b": 1, "a": 0}}, "x") == ("a", "b")
    assert class_names_in({"args": {"lr": 1}}, "x") == ()
    assert class_names_in(3, "x") == ()


def test_folders_get_the_numbers_of_a_networks_names(tmp_path: Path) -> None:
    listed = list_images(photos(tmp_path, "red_fox", "Cat"))
    assert in_words(listed)
    found = numbered(listed, ("cat", "dog", "red fox"), network="net", classes=3)
    assert {one.class_name: one.label for one in found} == {"Cat": 0, "red_fox": 2}
    assert found.notes == ()
    assert not in_words(found)


def test_without_names_folders_are_sorted_as_torchvision_sorts_them(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    root = photos(tmp_path, "b", "Zebra", "äpfel", "a 10", "a 2")
    found = numbered(list_images(root), (), network="net", classes=5)
    theirs = ImageFolder(str(root))
    assert [(str(one.path), one.label) for one in found] == [(path, label) for path, label in theirs.samples]
    assert len(found.notes) == 1
    assert "ImageFolder" in found.notes[0]
    (root / "c").mkdir()  # a class without images has its number all the same
    more = numbered(list_images(root), (), network="net", classes=6)
    assert {one.class_name: one.label for one in more} == {"Zebra": 0, "a 10": 1, "a 2": 2, "b": 3, "äpfel": 5}
    with pytest.raises(ImageError, match=r"names 5 classes in words .* none of its 7"):
        numbered(list_images(root), (), network="net", classes=7)


def test_names_that_are_no_classes_are_not_sorted(tmp_path: Path) -> None:
    listed = list_images(photos(tmp_path, "Katze", "Hund"))
    with pytest.raises(ImageError, match=r"'Hund', 'Katze' \(2 of 2"):
        numbered(listed, ("cat", "dog"), network="net", classes=2)


def test_given_names_come_before_numbers(tmp_path: Path) -> None:
    root = photos(tmp_path, "10", "2")
    assert [one.label for one in list_images(root)] == [10, 2]
    assert [one.label for one in list_images(root, classes=["0", "1", "10", "2"])] == [2, 3]
    assert [one.label for one in list_images(root, classes=["cat", "dog"])] == [10, 2]  # they are numbers
    with pytest.raises(ImageError, match="has 3 names, and net has 2 classes"):
        numbered(list_images(root), ("a", "b", "c"), network="net", classes=2, given=True)


def test_wordnets_numbers_behind_a_background_are_one_further(tmp_path: Path) -> None:
    listed = list_images(photos(tmp_path, "n01440764", "n02123045"))
    assert [one.label for one in numbered(listed, (), network="net", classes=1000)] == [0, 281]
    behind = numbered(listed, (), network="net", classes=1001)
    assert [one.label for one in behind] == [1, 282]
    assert "background" in behind.notes[0]
    named = numbered(listed, ("background", *map(str, range(1000))), network="net", classes=1001)
    assert [one.label for one in named] == [1, 282]
    some = numbered(listed, ("n02123045", "n01440764"), network="net", classes=2)
    assert [one.label for one in some] == [1, 0]
    assert numbered(listed, (), network="net", classes=9).classes == 1000  # for whoever checks to refuse


def test_only_targets_are_numbered_where_labels_are_predicted(tmp_path: Path) -> None:
    photos(tmp_path, "a")
    (tmp_path / "list.csv").write_text("file,label,target\nphotos/a/x.png,what?,dog\n")
    listed = list_images(tmp_path / "list.csv", targets="target")
    found = numbered(listed, ("cat", "dog"), network="net", classes=2, labels=False)
    assert [(one.label, one.class_name, one.target) for one in found] == [(None, "what?", 1)]
