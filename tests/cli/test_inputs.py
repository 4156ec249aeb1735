"""What the command line says about the files it was given: what is not used, and what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Run, two_lines
from PIL import Image

NETWORK = """
import torch
from torch import nn
import linbp


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 4))
    return linbp.Model(layers, input_size=(3, 8, 8), name="net")
"""


@pytest.fixture
def linbp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Run:
    """Runs the command line in a folder with a network, and with images of two of its four classes."""
    monkeypatch.chdir(tmp_path)
    Path("network.py").write_text(NETWORK)
    for number, name in enumerate(("0/a.png", "0/b.jfif", "2/c.webp")):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Path("photos", name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(f"photos/{name}")
    return run


def craft(data: str = "photos", *more: str) -> list[str]:
    return [
        *("craft", "--surrogate", "file:network.py:net", "--recipe", "ifgsm", "--steps", "1", "--data", data),
        *("--out", "out", "--trust-labels", *more),
    ]


def test_all_that_pillow_reads_is_attacked_and_nothing_is_noted(linbp: Run) -> None:
    answer = linbp(*craft("photos", "--json"))
    assert (answer.status, answer.err) == (0, "")
    assert (answer.facts["images"], answer.facts["unused"]) == (3, [])
    records = [json.loads(line) for line in Path("out/records.jsonl").read_text().splitlines()]
    assert [(record["image_id"], record["label"]) for record in records] == [("0_a", 0), ("0_b", 0), ("2_c", 2)]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_is_not_used_is_on_standard_error_in_json_and_in_the_manifest(
    linbp: Run, options: tuple[str, ...]
) -> None:
    Path("photos/1").mkdir()
    Path("photos/0/notes.txt").touch()
    Path("photos/0/._a.png").touch()
    Image.new("RGBA", (8, 8)).save("photos/0/clear.png")
    answer = linbp(*craft("photos", *options))
    assert answer.status == 0, answer.err
    for words in ("folders without images (1: 1/)", "hidden files (1: 0/._a.png)", "other endings (1: 0/notes.txt)"):
        assert words in answer.err
    assert "alpha channels (1: clear.png)" in answer.err
    written = json.loads(Path("out/manifest.json").read_text())["unused"]
    assert {(one["kind"], one["count"], *one["first"]) for one in written} == {
        ("folders without images", 1, "1/"),
        ("hidden files", 1, "0/._a.png"),
        ("files of other endings", 1, "0/notes.txt"),
        ("alpha channels", 1, "clear.png"),
    }
    if options:
        assert answer.facts["unused"] == written


def test_a_pool_that_is_not_used_whole_is_noted(linbp: Run) -> None:
    Path("pool/1").mkdir(parents=True)
    Path("pool/1/readme").touch()
    Image.new("RGB", (8, 8)).save("pool/1/x.png")
    answer = linbp(*craft("photos", "--pool", "pool", "--recipe", "admix-mifgsm", "--steps", "2"))
    assert answer.status == 0, answer.err
    assert "Not used of pool: files of other endings (1: 1/readme)" in answer.err


def test_inspect_says_what_of_an_image_it_does_not_use(linbp: Run) -> None:
    Image.new("RGBA", (8, 8)).save("clear.png")
    answer = linbp("inspect", "file:network.py:net", "--image", "clear.png", "--json")
    assert answer.facts["image"]["unused"] == [{"kind": "alpha channels", "count": 1, "first": ["clear.png"]}]
    assert "alpha channels" in answer.err
    two_lines(linbp("inspect", "file:network.py:net", "--image", "photos"), "photos", "directory")


def test_more_than_eight_bits_are_refused_by_name(linbp: Run) -> None:
    Path("photos/2/deep.ppm").write_bytes(b"P6 8 8 65535\n" + bytes(8 * 8 * 6))
    two_lines(linbp(*craft()), "deep.ppm", "more than 8 bits", "16")
    assert not Path("out").exists()


def test_a_list_without_labels_names_its_columns(linbp: Run) -> None:
    Path("list.csv").write_text("file;lable\nphotos/0/a.png;1\n")
    two_lines(linbp(*craft("list.csv")), "'a' has no label", "file, lable", "call it label", "--labels predicted")
    Path("list.csv").write_text("file;Label\nphotos/0/a.png;1\n")
    answer = linbp(*craft("list.csv", "--json"))
    assert (answer.status, answer.facts["images"]) == (0, 1)


def test_imagenets_names_of_classes_need_its_classes(linbp: Run) -> None:
    Path("photos/0").rename("photos/n01440764")
    two_lines(linbp(*craft()), "1000", "net has 4 classes")
    answer = linbp(*craft("photos", "--labels", "predicted"))
    assert answer.status == 0, answer.err


def test_adversarial_images_must_not_become_a_class(linbp: Run) -> None:
    answer = linbp(*craft()[:-2], "photos/7", "--trust-labels")
    two_lines(answer, "photos/7", "one of the classes")
    assert not Path("photos/7").exists()
    assert linbp(*craft()[:-2], "photos/adv", "--trust-labels").status == 0
    again = linbp(*craft(), "--json")
    assert again.facts["images"] == 3
    assert again.facts["unused"] == [{"kind": "folders of adversarial images", "count": 1, "first": ["adv/"]}]


def test_names_that_are_too_long_or_no_utf_8_are_one_line(linbp: Run) -> None:
    long = "x" * 304
    for words in (
        craft(long),
        [*craft()[:-2], long, "--trust-labels"],
        [*craft(), "--pool", long],
        ["inspect", "file:network.py:net", "--image", long],
        ["inspect", f"file:{long}.py:net"],
        ["evaluate", long, "--victim", "file:network.py:net"],
        ["linearize", "file:network.py:net", "--start", "0", "--data", long, "--out", "lins"],
        ["zoo", "train", "plain", "--data", long, "--out", "zoo"],
    ):
        two_lines(linbp(*words))
    Path("list.csv").write_text(f"file,label\nphotos/0/{long}.png,0\n")
    two_lines(linbp(*craft("list.csv")), "line 2", "does not exist")
    Path("list.csv").write_bytes(b"file,label\nphotos/0/\xff.png,0\n")
    two_lines(linbp(*craft("list.csv")), "line 2", "UTF-8")


def test_a_list_comes_from_no_pipe_or_device(linbp: Run) -> None:
    two_lines(linbp(*craft("/dev/null")), "/dev/null", "neither a file nor a folder")


def test_folders_named_by_class_are_sorted_where_the_network_names_none(linbp: Run) -> None:
    for old, new in (("photos/0", "photos/Große Katze"), ("photos/2", "photos/fox")):
        Path(old).rename(new)
    two_lines(linbp(*craft()), "2 classes in words (Große Katze, fox)", "net names none of its 4", "--classes")
    for empty in ("Hund", "zebra"):
        Path("photos", empty).mkdir()
    answer = linbp(*craft("photos", "--json"))
    assert answer.status == 0, answer.err
    assert "ImageFolder sorts them: Große Katze is 0, Hund is 1, fox is 2" in answer.err
    records = [json.loads(line) for line in Path("out/records.jsonl").read_text().splitlines()]
    assert {(record["class_name"], record["label"]) for record in records} == {("Große Katze", 0), ("fox", 2)}
    assert any("ImageFolder" in note for note in json.loads(Path("out/manifest.json").read_text())["notes"])


def test_folders_named_by_class_with_a_file_of_classes(linbp: Run) -> None:
    for old, new in (("photos/0", "photos/Große Katze"), ("photos/2", "photos/fox")):
        Path(old).rename(new)
    Path("classes.txt").write_text("fox\nhen\nowl\ngrosse_katze\n", encoding="utf-8")
    answer = linbp(*craft("photos", "--classes", "classes.txt", "--json"))
    assert answer.status == 0, answer.err
    records = [json.loads(line) for line in Path("out/records.jsonl").read_text().splitlines()]
    assert {(record["class_name"], record["label"]) for record in records} == {("Große Katze", 3), ("fox", 0)}
    Path("classes.txt").write_text("foxes\nhen\nowl\nkatze\n", encoding="utf-8")
    two_lines(linbp(*craft("photos", "--classes", "classes.txt")), "'Große Katze', 'fox'", "katze (3)")
    two_lines(linbp(*craft("photos", "--classes", "gone.txt")), "gone.txt does not exist")
