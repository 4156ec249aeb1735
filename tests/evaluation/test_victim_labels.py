"""Victims whose classes are not the surrogate's: their labels come from a list, a column, or themselves."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from colours import COLOURS, COUNT, colours, image, surrogate, write_photos
from resolved_jobs import craft_folder
from torch import nn

from linbp import Model, craft, evaluate
from linbp.data.image_list import list_images
from linbp.data.images import read_image, write_png
from linbp.errors import ImageError, LabelsError, LinbpError, ModelError
from linbp.evaluation import FolderEvaluation, evaluate_folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in folders that are named by the victim's classes, and their adversarial images of a surrogate of six."""
    place = tmp_path_factory.mktemp("labels")
    write_photos(place / "photos")
    craft_folder(surrogate(), list_images(place / "photos"), place / "adv", "pgd", eps="16/255", labels="predicted")
    return place


def by_hand(order: Sequence[int], adv: Path) -> tuple[list[int], list[int]]:
    """The classes of the clean and the adversarial images in float64, with numpy."""
    found = []
    for paths in ([*adv.parent.glob("photos/*/*.png")], [*adv.glob("*.png")]):
        means = {path.stem.rpartition("_")[2]: read_image(path).mean((0, 1))[list(order)] for path in paths}
        found.append([int(means[str(number)].argmax()) for number in range(COUNT)])
    return found[0], found[1]


def of_victim(found: FolderEvaluation, row: int = 0) -> dict[int, tuple[int, int, int]]:
    """Label and both predictions by the number of the image."""
    return {
        int(one.image_id.rpartition("_")[2]): (one.label, one.clean_prediction, one.adv_prediction)
        for one in found.evaluations[row].records
    }


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_names_of_folders_are_each_victims_own_classes(photos: Path, order: tuple[int, ...]) -> None:
    victim = colours(order, [COLOURS[at] for at in order])
    found = evaluate_folder(photos / "adv", [victim], labels="given")
    clean, adv = by_hand(order, photos / "adv")
    labels = [order.index(number % 3) for number in range(COUNT)]
    assert of_victim(found) == {number: (labels[number], clean[number], adv[number]) for number in range(COUNT)}
    assert found.evaluations[0].statistics.right_on_clean == COUNT  # five levels are far more than the noise
    fooled = sum(made != label for label, made in zip(labels, adv, strict=True))
    assert found.evaluations[0].statistics.fooled.successes == fooled > 0


def test_predicted_labels_are_right_by_definition(photos: Path) -> None:
    found = evaluate_folder(photos / "adv", [colours((1, 0, 2))], labels="predicted").evaluations[0]
    clean, adv = by_hand((1, 0, 2), photos / "adv")
    assert found.statistics.right_on_clean == COUNT
    assert found.statistics.fooled.successes == sum(map(int.__ne__, clean, adv)) > 0
    assert any("by definition" in note for note in found.notes)


def test_the_hint_for_other_classes_leads_to_their_labels(photos: Path) -> None:
    with pytest.raises(LabelsError, match=r"colours has 3 classes, and the network .* 6") as caught:
        evaluate_folder(photos / "adv", [colours()])
    for words in ("--labels FILE", "given", "predicted"):
        assert words in caught.value.hint


def test_a_file_of_labels_is_matched_by_id_or_by_file(photos: Path, tmp_path: Path) -> None:
    expected = of_victim(evaluate_folder(photos / "adv", [colours(names=COLOURS)], labels="given"))
    names = [(record["image_id"], Path(record["file"])) for record in records(photos)]
    numbers = {name.replace(" ", "_"): number for number, name in enumerate(COLOURS)}
    by_id = tmp_path / "ids.csv"
    by_id.write_text("image_id,label\n" + "".join(f"{one},{numbers[file.parent.name]}\n" for one, file in names))
    by_file = tmp_path / "files.csv"
    lines = [f"{file.parent.name}/{file.name};{file.parent.name.upper()}\n" for _, file in names]
    by_file.write_text("file;class\n" + "".join(lines))
    for source, victim in (
        (by_id, colours()),
        (by_file, colours(names=COLOURS)),
        (photos / "photos", colours(names=COLOURS)),
    ):
        assert of_victim(evaluate_folder(photos / "adv", [victim], labels=source)) == expected
    named = evaluate_folder(photos / "adv", [colours()], labels=by_file, classes=COLOURS)
    assert of_victim(named) == expected
    one_more = tmp_path / "ones.csv"
    one_more.write_text("image_id,label\n" + "".join(f"{one},{numbers[file.parent.name] + 1}\n" for one, file in names))
    assert of_victim(evaluate_folder(photos / "adv", [colours()], labels=one_more, first_label=1)) == expected


def test_a_column_of_the_list_may_hold_the_victims_labels(tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    lines = ["file,label,colour,wrong"]
    for number in range(12):
        write_png(tmp_path / "clean" / f"{number}.png", image(number))
        lines.append(f"{number}.png,{number % 6},{COLOURS[number % 3]},{7 if number == 3 else 0}")
    (tmp_path / "clean" / "images.csv").write_text("\n".join(lines))
    listed = list_images(tmp_path / "clean")
    craft_folder(surrogate(), listed, tmp_path / "adv", "pgd", eps="16/255", trust_labels=True)
    found = evaluate_folder(tmp_path / "adv", [colours(names=COLOURS)], labels="colour")
    assert [one.label for one in found.evaluations[0].records] == [number % 3 for number in range(12)]
    with pytest.raises(LabelsError, match="image '3' is 7"):
        evaluate_folder(tmp_path / "adv", [colours()], labels="wrong")
    with pytest.raises(ImageError, match="no column 'color'") as caught:
        evaluate_folder(tmp_path / "adv", [colours()], labels="color")
    assert "colour" in caught.value.hint


def test_victims_whose_classes_fit_are_counted_and_the_others_named(photos: Path) -> None:
    victims = [colours(names=COLOURS), colours(names=("red", "green", "blue"), name="english"), surrogate()]
    seen: list[FolderEvaluation] = []
    with pytest.raises(LabelsError, match="english has no classes called"):
        evaluate_folder(photos / "adv", victims[:2], labels="given", on_victim=seen.append)
    assert [one.name for one in seen[-1].evaluations] == ["colours"]
    assert seen[-1].missing == ("english",)
    with pytest.raises(LinbpError) as caught:
        evaluate_folder(photos / "adv", victims[1:], labels="given")
    assert len(caught.value.message.splitlines()) == 2  # one line for each
    both = evaluate_folder(photos / "adv", [victims[0], surrogate()], labels="predicted")
    assert [one.role for one in both.evaluations] == ["victim", "white box"]
    counts = [one.statistics.right_on_clean for one in both.evaluations]
    assert counts == [COUNT, COUNT]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("gone.csv", "'gone.csv' is no file, and no column"),
        ("predict", "'predict' is no file"),
        ("short.csv", "no label for 22 of 24 images"),
        ("twice.csv", "several labels for image 'rot_0': '0' and '1'"),
        ("bare.csv", "no column of labels: it has file, colour"),
    ],
)
def test_labels_that_are_none_are_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short.csv").write_text("image_id,label\nrot_0,0\nrot_3,0\n")
    Path("twice.csv").write_text("image_id,label\nrot_0,0\nrot_0,1\n")
    Path("bare.csv").write_text("file,colour\n0.png,1\n")
    with pytest.raises(ImageError, match=words) as caught:
        evaluate_folder(photos / "adv", [colours()], labels=labels)
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_a_targeted_attack_aims_at_classes_that_others_do_not_have(photos: Path, tmp_path: Path) -> None:
    listed = list_images(photos / "photos")
    craft_folder(surrogate(), listed, tmp_path / "adv", "pgd", labels="predicted", target_rule="shift:1")
    with pytest.raises(LabelsError, match="aims at one of the surrogate's 6 classes, and colours has 3"):
        evaluate_folder(tmp_path / "adv", [colours(names=COLOURS)], labels="given")


@pytest.mark.parametrize("more", [1, -1])
def test_a_class_for_the_background_shifts_the_labels(tmp_path: Path, more: int) -> None:
    """Twelve colours: means of cells of the image, of which one is bright."""
    plain, behind = Cells(), Cells(background=True)
    one, other = (plain, behind) if more == 1 else (behind, plain)
    (tmp_path / "clean").mkdir()
    lines = ["file,label"]
    for number in range(COUNT):
        pixels = np.full((9, 12, 3), 100, np.uint8)
        row, column = divmod(number % 12, 4)
        pixels[3 * row : 3 * row + 3, 3 * column : 3 * column + 3] += 12
        write_png(tmp_path / "clean" / f"{number}.png", pixels)
        lines.append(f"{number}.png,{number % 12}")
    (tmp_path / "clean" / "images.csv").write_text("\n".join(lines))
    listed = list_images(tmp_path / "clean", first_label=0 if more == 1 else -1)
    makers, victim = (Model(module, input_size=(3, 9, 12), name=type(module).__name__) for module in (one, other))
    craft_folder(makers, listed, tmp_path / "adv", "pgd", eps="2/255")
    found = evaluate_folder(tmp_path / "adv", [victim]).evaluations[0]
    assert [record.label for record in found.records] == [number % 12 + (more == 1) for number in range(COUNT)]
    assert found.statistics.right_on_clean == COUNT
    assert any("background" in note for note in found.notes)


class Cells(nn.Module):
    """The brightest of twelve cells, behind a class that is never the answer."""

    def __init__(self, background: bool = False) -> None:
        super().__init__()
        self.background = background
        self.pool = nn.AvgPool2d(3)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        cells = self.relu(self.pool(x).mean(1).flatten(1) * 50)
        return torch.cat([-torch.ones_like(cells[:, :1]), cells], 1) if self.background else cells


def in_memory() -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.from_numpy(np.stack([image(number) for number in range(12)]).transpose(0, 3, 1, 2).copy())
    return images, craft(surrogate(), images, "predicted", "pgd", eps=16 / 255, steps=5)


def test_python_takes_names_and_predictions_too() -> None:
    images, adv = in_memory()
    numbers = surrogate().logits(images / 255).argmax(1)
    assert torch.equal(adv, craft(surrogate(), images, numbers, "pgd", eps=16 / 255, steps=5))
    words = [COLOURS[number % 3].upper() for number in range(12)]
    expected = evaluate(colours(), images, adv, [number % 3 for number in range(12)])
    assert evaluate(colours(names=COLOURS), images, adv, words).records == expected.records
    assert evaluate(colours(), images, adv, words, classes=COLOURS).records == expected.records
    own = evaluate(colours(), images, adv, "predicted")
    assert [one.label for one in own.records] == [one.clean_prediction for one in expected.records]
    with pytest.raises(LabelsError, match="'ROT'"):
        evaluate(colours(names=("red", "green", "blue")), images, adv, words)
    with pytest.raises(ImageError, match="The labels are 'given'"):
        evaluate(colours(), images, adv, "given")
    named = surrogate()
    named.class_names = ("a", "b", "c", "d", "e", "f")
    letters = ["abcdef"[number] for number in numbers]
    assert torch.equal(adv, craft(named, images, letters, "pgd", eps=16 / 255, steps=5))
    with pytest.raises(ImageError, match="no class called 'z'"):
        craft(named, images, ["z", *letters[1:]], "pgd", eps=16 / 255)


def test_several_labels_for_one_image_are_refused() -> None:
    images, adv = in_memory()

    def sure(some: torch.Tensor) -> torch.Tensor:
        first = some.mean((2, 3)).argmax(1)
        return torch.stack([(first == at) | (first == (at + 1) % 3) for at in range(3)], 1).float() * 0.98 + 0.01

    labels = [number % 3 for number in range(12)]
    with pytest.raises(ModelError, match="12 of 12 images have more than one class above a half") as caught:
        evaluate(sure, images, adv, labels, trust_labels=True)
    assert "torch.logit" in caught.value.hint
    logits = evaluate(lambda some: torch.logit(sure(some)) + some.mean((2, 3)), images, adv, labels)
    assert logits.statistics.right_on_clean == 12
    with pytest.raises(ModelError, match="1 column"):
        evaluate(lambda some: sure(some)[:, :1], images, adv, labels)


def records(photos: Path) -> list[dict[str, str]]:
    lines = (photos / "adv" / "records.jsonl").read_text().splitlines()
    return [json.loads(line) for line in itertools.islice(lines, COUNT)]
