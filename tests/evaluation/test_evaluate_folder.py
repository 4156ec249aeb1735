"""Evaluation of a folder: what is on disk counts, and nothing else."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from resolved_jobs import craft_folder
from torch import nn

from linbp import Model
from linbp.data.image_list import list_images
from linbp.data.images import read_image, write_png
from linbp.errors import ImageError, ModelError, StoreError
from linbp.evaluation import Record, evaluate, evaluate_folder, write_csv


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


def test_an_unfinished_folder_is_counted_only_on_request(folder: Path) -> None:
    records = folder / "out" / "records.jsonl"
    records.write_text("".join(records.read_text().splitlines(keepends=True)[:4]))
    with pytest.raises(StoreError, match="holds 4 of 10 adversarial images") as caught:
        evaluate_folder(folder / "out", [network(0)])
    assert "--partial" in caught.value.hint
    found = evaluate_folder(folder / "out", [network(0)], partial=True)
    assert (found.evaluations[0].statistics.images, found.expected) == (4, 10)
    records.write_text("")
    with pytest.raises(StoreError, match="holds 0 of 10 adversarial images"):
        evaluate_folder(folder / "out", [network(0)], partial=True)


def test_moved_images_are_found_in_the_list_that_is_given(folder: Path) -> None:
    wanted = evaluate_folder(folder / "out", [varied()]).evaluations[0].records
    shutil.move(folder / "clean", folder / "elsewhere")
    with pytest.raises(ImageError, match=r"i0\.png does not exist"):
        evaluate_folder(folder / "out", [varied()])
    found = evaluate_folder(folder / "out", [varied()], data=folder / "elsewhere")
    assert found.evaluations[0].records == wanted
    (folder / "short.csv").write_text("file,label\nelsewhere/i0.png,1\n")
    with pytest.raises(ImageError, match=r"short\.csv has no image 'i1'"):
        evaluate_folder(folder / "out", [varied()], data=folder / "short.csv")


@pytest.mark.parametrize("place", ["out", "clean"])
def test_changed_pixels_are_refused(folder: Path, place: str) -> None:
    path = folder / place / "i3.png"
    pixels = read_image(path)
    pixels[0, 0, 0] ^= 1
    write_png(path, pixels)
    with pytest.raises(StoreError, match=r"i3\.png does not hold the pixels that were recorded"):
        evaluate_folder(folder / "out", [network(0)])


def test_what_is_no_folder_of_adversarial_images_is_refused(folder: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no manifest\.json"):
        evaluate_folder(folder / "clean", [network(0)])
    with pytest.raises(ImageError, match="no victim"):
        evaluate_folder(folder / "out", [])
    with pytest.raises(ModelError, match="timm:resnet18 is given twice"):
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
