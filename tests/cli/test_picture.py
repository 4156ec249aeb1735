"""`linbp picture` on a folder of adversarial images and on a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import Run, two_lines
from PIL import Image
from small_suites import small_suite

from linbp.bench import pictures
from linbp.bench.pictures import PictureRow
from linbp.bench.run import run_bench
from linbp.data.images import read_image


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    suite = small_suite(tmp_path_factory.mktemp("pictured"), images=6)
    run_bench(suite, suite.parent / "run")
    return suite.parent


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[PictureRow]]:
    """The rows of each picture that is drawn."""
    from linbp.bench import picture_of_folder

    kept: list[list[PictureRow]] = []

    def watched(path: Path, rows: list[PictureRow], **options: object) -> None:
        kept.append(rows)
        pictures.draw_picture(path, rows, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(picture_of_folder, "draw_picture", watched)
    return kept


def attack_folder(run: Path, recipe: str, levels: int) -> Path:
    for path in sorted((run / "attacks").glob("*/")):
        settings = json.loads((path / "manifest.json").read_text())["settings"]
        if recipe in settings["recipe"] and round(255 * settings["eps"]) == levels:
            return path
    raise AssertionError(recipe)


def test_the_images_that_fool_most_are_shown_with_what_each_network_sees(
    run: Run, made: Path, drawn: list[list[PictureRow]], tmp_path: Path
) -> None:
    folder, nets = attack_folder(made / "run", "linbp", 16), made / "nets.py"
    victims = ("--victim", f"file:{nets}:tiny_chain", "--victim", f"file:{nets}:tiny")
    answer = run("picture", str(folder), *victims, "--images", "3", "--out", str(tmp_path / "p.png"), "--json")
    assert answer.status == 0, answer.err
    assert answer.facts["picture"] == str(tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as image:
        assert image.size[1] > 3 * 224
    rows = drawn[0]
    assert len(rows) == 3
    records = {
        json.loads(line)["image_id"]: json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()
    }
    evaluated = run("evaluate", str(folder), *victims[:2], "--trust-labels", "--csv", str(tmp_path / "r.csv"))
    assert evaluated.status == 0, evaluated.err
    lines = [line.split(",") for line in (tmp_path / "r.csv").read_text().splitlines()]
    at = {name: lines[0].index(name) for name in ("image_id", "fooled", "clean_prediction", "adv_prediction")}
    fooled = {line[at["image_id"]] for line in lines[1:] if line[at["fooled"]] == "True"}
    by_pixels = {read_image(folder / f"{name}.png").tobytes(): name for name in records}
    shown = [by_pixels[row.adv.tobytes()] for row in rows]
    assert len(fooled & set(shown)) == min(3, len(fooled))
    for name, row in zip(shown, rows, strict=True):
        assert np.array_equal(row.clean, read_image(records[name]["file"]))
        chain, surrogate = row.answers
        assert "(surrogate)" in surrogate.network
        assert "(surrogate)" not in chain.network
        line = next(line for line in lines if line[at["image_id"]] == name)
        assert chain.clean == f"class {line[at['clean_prediction']]}"
        assert chain.adv == f"class {line[at['adv_prediction']]}"


def test_a_run_shows_its_best_attack_to_its_victims(
    run: Run, made: Path, drawn: list[list[PictureRow]], tmp_path: Path
) -> None:
    assert run("picture", str(made / "run")).status == 0
    assert (made / "run" / "picture.png").is_file()
    assert [answer.network for answer in drawn[0][0].answers] == ["chain", "white (surrogate)"]
    named = run("picture", str(made / "run"), "--attack", "mi", "--image", "i004", "--out", str(tmp_path / "one.png"))
    assert named.status == 0, named.err
    (row,) = drawn[1]
    levels = {
        levels: read_image(attack_folder(made / "run", "mifgsm", levels) / "i004.png").tobytes() for levels in (8, 16)
    }
    assert row.adv.tobytes() in levels.values()


def test_without_a_name_the_picture_lies_beside_the_folder(run: Run, made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adv"
    shutil.copytree(attack_folder(made / "run", "linbp", 8), folder)
    answer = run("picture", str(folder), "--victim", f"file:{made / 'nets.py'}:tiny_chain")
    assert answer.text == str(tmp_path / "adv.png")
    assert (tmp_path / "adv.png").is_file()


def test_what_cannot_be_drawn_is_said(run: Run, made: Path) -> None:
    folder = str(attack_folder(made / "run", "linbp", 8))
    two_lines(run("picture", folder), "--victim")
    victim = ("--victim", f"file:{made / 'nets.py'}:tiny_chain")
    two_lines(run("picture", folder, *victim, "--image", "i0004"), "i0004", "'i004'")
    two_lines(run("picture", str(made / "run"), "--attack", "linpb"), "linpb", "'linbp'")
    two_lines(run("picture", folder, *victim, "--attack", "mi"), "--attack")
    two_lines(run("picture", str(made), *victim), "manifest.json")
