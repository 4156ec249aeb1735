"""Evaluation of a folder: what is on disk counts, and nothing else."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from resolved_jobs import craft_folder
from torch import nn

from linbp import Model
from linbp.data import images
from linbp.data.image_list import list_images
from linbp.data.images import Pixels, read_image, write_png
from linbp.errors import ImageError, ModelError, StoreError
from linbp.evaluation import Record, evaluate, evaluate_folder, pairs, write_csv


def network(seed: int, classes: int = 6) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, classes)]
        return Model(nn.Sequential(*layers).double(), input_size=(3, 8, 8), name=f"tiny{seed}")


class ByOnePixel(nn.Module):
    """Its class is one red level modulo 6, so that predictions differ from image to image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -(torch.remainder(255 * x[:, 0, 4, 4, None], 6) - torch.arange(6)).abs()


def varied() -> Model:
    return Model(ByOnePixel(), input_size=(3, 8, 8), name="varied")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images of two sizes with targets, and their adversarial images in `out`."""
    (tmp_path / "clean").mkdir()
    lines = ["file,label,target"]
    for number in range(10):
        size = (8, 8) if number % 3 else (10, 9)
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        write_png(tmp_path / "clean" / f"i{number}.png", pixels)
        with torch.no_grad():
            label = int(varied().logits(torch.from_numpy(pixels.transpose(2, 0, 1)[None] / 255)).argmax())
        label = label if number % 2 else 0
        lines.append(f"i{number}.png,{label},{(label + 1 + number % 4) % 6}")
    (tmp_path / "clean" / "images.csv").write_text("\n".join(lines))
    images = list_images(tmp_path / "clean", targets="target")
    craft_folder(network(0), images, tmp_path / "out", "mi", eps="32/255", steps=6)
    return tmp_path


def test_a_folder_gives_the_records_that_memory_gives(folder: Path) -> None:
    found = evaluate_folder(folder / "out", [network(0), varied()], batch_size=3)
    assert [evaluation.name for evaluation in found.evaluations] == ["tiny0", "varied"]
    assert found.expected == 10
    images = list_images(folder / "clean", targets="target")
    for victim, evaluation in zip((network(0), varied()), found.evaluations, strict=True):
        expected: list[Record] = []
        for image in images:
            clean, adv = read_image(image.path), read_image(folder / "out" / f"{image.image_id}.png")
            one = evaluate(
                victim,
                clean.transpose(2, 0, 1)[None],
                adv.transpose(2, 0, 1)[None],
                [image.label],
                targets=[image.target],
                ids=[image.image_id],
            )
            expected += one.records
        assert list(evaluation.records) == expected
        assert evaluation.victim["weights_sha256"] == victim.identity()["weights_sha256"]
    assert len({record.clean_prediction for record in found.evaluations[1].records}) > 2
    assert 5 <= found.evaluations[1].statistics.right_on_clean < 10


def test_the_csv_has_one_line_for_each_victim_and_image(folder: Path) -> None:
    found = evaluate_folder(folder / "out", [network(0), varied()])
    write_csv(folder / "records.csv", found)
    with (folder / "records.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert [row["victim"] for row in rows] == ["tiny0"] * 10 + ["varied"] * 10
    records = [record for evaluation in found.evaluations for record in evaluation.records]
    for row, record in zip(rows, records, strict=True):
        assert row["image_id"] == record.image_id
        assert int(row["adv_prediction"]) == record.adv_prediction
        assert row["fooled"] == str(record.fooled)
        assert float(row["l2"]) == record.l2
    attack = {"surrogate": "tiny0", "recipe": "mi", "norm": "linf", "steps": "6", "gradients": "6", "seed": "0"}
    assert all(row | attack == row and float(row["eps"]) == 32 / 255 for row in rows)
    with pytest.raises(StoreError, match="cannot be written"):
        write_csv(folder / "gone" / "records.csv", found)


@pytest.mark.parametrize("room", [None, 0])
def test_a_file_is_decoded_once_for_all_victims_where_there_is_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch, room: int | None
) -> None:
    opened: Counter[Path] = Counter()

    def counted(path: Path) -> Pixels:
        opened[path] += 1
        return read_image(path)

    monkeypatch.setattr(images, "read_image", counted)
    if room is not None:
        monkeypatch.setattr(pairs, "ROOM", room)
    victims = [network(seed) for seed in range(1, 4)]
    found = evaluate_folder(folder / "out", victims, trust_labels=True, trust_victim=True)
    assert len(opened) == 20
    assert set(opened.values()) == {1 if room is None else 1 + len(victims)}
    monkeypatch.undo()
    for victim, one in zip(victims, found.evaluations, strict=True):
        (alone,) = evaluate_folder(folder / "out", [victim], trust_labels=True).evaluations
        assert one.records == alone.records


def test_where_room_is_short_every_row_still_gets_its_own_pixels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sorted((folder / "clean").glob("*.png"))
    monkeypatch.setattr(pairs, "ROOM", 3 * read_image(paths[1]).nbytes)
    reader = pairs.Reader(None, 2)
    asked = [pairs.Pair({}, path, path) for path in [*paths, *paths[::-1], paths[1], paths[1]]]
    for _ in range(2):
        for pair, pixels in zip(asked, reader.clean(asked), strict=True):
            assert np.array_equal(pixels, read_image(pair.clean))


def test_an_unfinished_folder_is_counted_only_on_request(folder: Path) -> None:
    records = folder / "out" / "records.jsonl"
    records.write_text("".join(records.read_text().splitlines(keepends=True)[:4]))
    with pytest.raises(StoreError, match="4 of 10") as caught:
        evaluate_folder(folder / "out", [network(0)])
    assert "--partial" in caught.value.hint
    found = evaluate_folder(folder / "out", [network(0)], partial=True)
    assert (found.evaluations[0].statistics.images, found.expected) == (4, 10)
    records.write_text("")
    with pytest.raises(StoreError, match="0 of 10"):
        evaluate_folder(folder / "out", [network(0)], partial=True)


def test_moved_images_are_found_in_the_list_that_is_given(folder: Path) -> None:
    wanted = evaluate_folder(folder / "out", [varied()]).evaluations[0].records
    shutil.move(folder / "clean", folder / "elsewhere")
    with pytest.raises(ImageError, match=r"i0\.png does not exist"):
        evaluate_folder(folder / "out", [varied()])
    found = evaluate_folder(folder / "out", [varied()], data=folder / "elsewhere")
    assert found.evaluations[0].records == wanted
    (folder / "short.csv").write_text("file,label\nelsewhere/i0.png,1\n")
    with pytest.raises(ImageError, match=r"short\.csv.*i1"):
        evaluate_folder(folder / "out", [varied()], data=folder / "short.csv")


@pytest.mark.parametrize("place", ["out", "clean"])
def test_changed_pixels_are_refused(folder: Path, place: str) -> None:
    path = folder / place / "i3.png"
    pixels = read_image(path)
    pixels[0, 0, 0] ^= 1
    write_png(path, pixels)
    with pytest.raises(StoreError, match=r"i3\.png.*pixels"):
        evaluate_folder(folder / "out", [network(0)])


def test_what_is_no_folder_of_adversarial_images_is_refused(folder: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no manifest\.json"):
        evaluate_folder(folder / "clean", [network(0)])
    with pytest.raises(ImageError, match="no victim"):
        evaluate_folder(folder / "out", [])
    with pytest.raises(ModelError, match=r"timm:resnet18.*twice"):
        evaluate_folder(folder / "out", ["timm:resnet18", "timm:resnet34", "timm:resnet18"])
    with pytest.raises(ModelError, match=r"tiny0 has 3 classes"):
        evaluate_folder(folder / "out", [network(0, classes=3)])
    (folder / "out" / "i4.png").unlink()
    with pytest.raises(StoreError, match=r"1 of 10 .*missing.*i4\.png"):
        evaluate_folder(folder / "out", [network(0)])


def test_evaluations_are_plain_values_for_json(folder: Path) -> None:
    found = evaluate_folder(folder / "out", [network(0)])
    again = json.loads(json.dumps([evaluation.to_dict() for evaluation in found.evaluations], allow_nan=False))
    assert again[0]["fooled"]["n"] == found.evaluations[0].statistics.right_on_clean
    assert again[0]["victim"]["name"] == "tiny0"


def test_a_victim_whose_name_is_no_utf_8_has_its_lines(folder: Path) -> None:
    victim = Model(network(0).module, input_size=(3, 8, 8), name="caf\udce9")
    found = evaluate_folder(folder / "out", [victim])
    write_csv(folder / "odd.csv", found)
    lines = (folder / "odd.csv").read_bytes().splitlines()
    assert len(lines) == 11
    assert all(line.startswith(b"caf\xe9,") for line in lines[1:])


def test_victims_of_one_name_are_told_apart(folder: Path) -> None:
    """In Python, the CSV and JSON: by where they came from, else by a number."""
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    code = (
        "import torch\nfrom torch import nn\nimport linbp\n"
        "def build(seed):\n"
        "    torch.manual_seed(seed)\n"
        "    return linbp.Model(nn.Sequential(nn.Flatten(), nn.Linear(192, 6)), input_size=8)\n"
        "def one(): return build(1)\ndef two(): return build(2)\n"
    )
    specs = []
    for place in ("a", "b"):
        (folder / place / "nets.py").write_text(code)
        specs += [f"file:{folder / place / 'nets.py'}:{function}" for function in ("one", "two")]
    objects = [Model(network(seed).module, input_size=(3, 8, 8), name="mine") for seed in (3, 4)]
    seen: list[tuple[str, ...]] = []
    with torch.random.fork_rng():
        found = evaluate_folder(
            folder / "out",
            [*specs, *objects],
            on_victim=lambda result: seen.append(tuple(one.name for one in result.evaluations)),
        )
    names = [evaluation.name for evaluation in found.evaluations]
    assert len(set(names)) == 6
    for name, spec in zip(names, specs, strict=False):
        assert spec in name
    assert names[4:] == ["mine (1)", "mine (2)"]
    assert all(len(set(part)) == len(part) for part in seen)
    write_csv(folder / "records.csv", found)
    with (folder / "records.csv").open(newline="") as file:
        assert [row["victim"] for row in csv.DictReader(file)] == [name for name in names for _ in range(10)]
    assert [one.to_dict()["victim"]["name"] for one in found.evaluations] == names
    # The two folders hold the same networks: as two victims they count twice.
    assert sum("are the same network" in note for note in found.notes) == 2
    with pytest.raises(ModelError, match="mine is given twice"):
        evaluate_folder(folder / "out", [objects[0], objects[0]])


class Renamed(nn.Module):
    """A module under other names of its parameters."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.another_place = inner

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.another_place(images)
        return logits


def test_the_surrogate_is_a_white_box_under_any_name(folder: Path) -> None:
    inner = network(0).module

    class Answers:
        name = "service"

        def logits(self, images: torch.Tensor) -> torch.Tensor:
            return inner(network(0).resize(images.double())).detach()

        def identity(self) -> dict[str, str]:
            return {}

    surrogates = [
        network(0),
        Model(inner, input_size=(3, 8, 8), name="another name"),
        Model(Renamed(network(0).module), input_size=(3, 8, 8), name="wrapped"),
        Model(network(0).module.float(), input_size=(3, 8, 8), name="single"),
        Answers(),
    ]
    others = [network(1), varied()]
    found = evaluate_folder(folder / "out", [*surrogates, *others], partial=False)
    assert [one.role for one in found.evaluations] == ["white box"] * 5 + ["victim"] * 2
    assert [one.to_dict()["role"] for one in found.evaluations] == ["white box"] * 5 + ["victim"] * 2
    write_csv(folder / "records.csv", found)
    with (folder / "records.csv").open(newline="") as file:
        roles = {row["victim"]: row["role"] for row in csv.DictReader(file)}
    assert roles["service"] == roles["wrapped"] == "white box"
    assert roles["tiny1"] == "victim"


def test_partial_counts_what_is_there_and_names_what_is_not(folder: Path) -> None:
    (folder / "out" / "i4.png").unlink()
    (folder / "out" / "i7.png").write_bytes((folder / "out" / "i7.png").read_bytes()[:60])
    with pytest.raises(StoreError, match=r"i4\.png") as caught:
        evaluate_folder(folder / "out", [varied()])
    assert "--partial" in caught.value.hint
    found = evaluate_folder(folder / "out", [varied()], partial=True)
    assert [record.image_id for record in found.evaluations[0].records] == [
        f"i{row}" for row in (0, 1, 2, 3, 5, 6, 8, 9)
    ]
    (note,) = [note for note in found.notes if "Not counted" in note]
    for words in ("2 of 10", "i4.png", "i7.png"):
        assert words in note
    (folder / "out" / "i4.png").write_bytes((folder / "out" / "i7.png").read_bytes())
    with pytest.raises(StoreError, match=r"i[47]\.png") as caught:
        evaluate_folder(folder / "out", [varied()])
    assert "--partial" in caught.value.hint
    for path in (folder / "out").glob("*.png"):
        path.unlink()
    with pytest.raises(StoreError, match="10 of 10"):
        evaluate_folder(folder / "out", [varied()], partial=True)


def test_what_was_noted_when_the_folder_was_made_goes_with_its_numbers(folder: Path) -> None:
    images = list_images(folder / "clean")
    craft_folder(network(0), images, folder / "short", "ifgsm", eps="16/255", steps=2, step_size="1/255")
    made = json.loads((folder / "short" / "manifest.json").read_text())["notes"]
    found = evaluate_folder(folder / "short", [varied()])
    assert list(found.notes) == made
    (note,) = [note for note in found.notes if "radius" in note]
    write_csv(folder / "records.csv", found)
    with (folder / "records.csv").open(newline="") as file:
        assert all(note in row["notes"] for row in csv.DictReader(file))


@pytest.mark.parametrize(
    ("place", "says", "mend"),
    [
        ("clean/images.csv", "is a file", "--data"),
        ("out/i1.png", "is a file", "linbp evaluate"),
        ("out/manifest.json", "is a file", "linbp evaluate"),
        ("net.onnx", "is a file", "--victim"),
        ("gone", "does not exist", "--out"),
        ("", "holds no manifest", "out"),
        ("clean", "holds no manifest", "--out"),
    ],
)
def test_anything_but_a_folder_is_told_what_it_is(folder: Path, place: str, says: str, mend: str) -> None:
    (folder / "net.onnx").write_bytes(b"")
    with pytest.raises(StoreError, match=says) as caught:
        evaluate_folder(folder / place, [varied()])
    assert mend in caught.value.hint
