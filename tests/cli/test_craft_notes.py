"""What `linbp craft` says of its images stands in the folder's manifest, once, also after it was gone on with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import certain_network
import pytest
from command_line import Run, two_lines

from linbp.data.images import write_png

LABELS = (0, 0, 0, 1, 2)
NOTES = ("5 steps of 1/255", "2 of 5 images had a gradient of 0")


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """`linbp craft` with a network, a list of images, and a folder."""
    (tmp_path / "data").mkdir()
    for number, pixels in enumerate(certain_network.dark_and_bright()):
        write_png(tmp_path / "data" / f"{number}.png", pixels.transpose(1, 2, 0))
    lines = ["file,label", *(f"{number}.png,{label}" for number, label in enumerate(LABELS))]
    (tmp_path / "data" / "images.csv").write_text("\n".join(lines))
    network, data = f"file:{certain_network.__file__}:build", str(tmp_path / "data")
    return ["craft", "--surrogate", network, "--data", data, "--trust-labels", "--out", str(tmp_path / "out")]


def test_notes_of_settings_and_of_results(run: Run, options: list[str], tmp_path: Path) -> None:
    given = [*options, "--recipe", "ifgsm", "--steps", "5", "--step-size", "1/255"]
    first = run(*given)
    assert first.status == 0, first.err
    notes = json.loads((tmp_path / "out" / "manifest.json").read_text())["notes"]
    for start in NOTES:
        assert [note.startswith(start) for note in notes].count(True) == 1
        assert first.text.count(start) == 1
    (tmp_path / "out" / "4.png").unlink()
    again = run(*given, "--json").facts
    assert (again["made"], again["kept"], again["zero_gradient"]) == (1, 4, 2)
    assert again["manifest"]["notes"] == notes


def test_an_attack_that_fails_at_home_is_said(run: Run, options: list[str]) -> None:
    assert "fools the surrogate itself on 0 of" in run(*options, "--recipe", "ifgsm", "--eps", "1/255").text


def test_auto_reaches_the_radius_and_is_the_default(run: Run, options: list[str]) -> None:
    found = run(*options, "--recipe", "ifgsm", "--steps", "5", "--json").facts
    assert found["manifest"]["settings"]["step_size"] == pytest.approx(1.6 / 255)
    assert found["linf_max"] == 8
    assert not [note for note in found["manifest"]["notes"] if "steps" in note]
    same = run(*options, "--recipe", "ifgsm", "--steps", "5", "--step-size", "auto", "--json").facts
    assert (same["made"], same["kept"]) == (0, 5)


def strings(value: Any) -> Iterator[str]:
    """Every text in what `--json` printed."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(inner)


@pytest.mark.parametrize("recipe", ["mdi2fgsm(scale=3/2)", "di(scale=13/9) + mi(decay=2/3)"])
def test_results_have_the_recipe_as_it_was_written(run: Run, options: list[str], tmp_path: Path, recipe: str) -> None:
    crafted = run(*options, "--recipe", recipe, "--json")
    evaluate = [
        "evaluate",
        str(tmp_path / "out"),
        "--victim",
        f"file:{certain_network.__file__}:build",
        "--trust-labels",
    ]
    answers = [
        *strings(crafted.facts),
        *strings(run(*evaluate, "--json").facts),
        run(*evaluate, "--csv", str(tmp_path / "all.csv")).text,
        (tmp_path / "all.csv").read_text(),
    ]
    assert sum(recipe in answer for answer in answers) >= 4
    assert not [answer for answer in answers if re.search(r"\d\.\d{8}\d*\)", answer)]


def test_a_named_recipe_is_shown_with_fractions(run: Run) -> None:
    assert "8/7" in run("show", "mdi2fgsm").text
    assert "330/299" in run("show", "targeted-logit").text


def test_a_recipe_is_refused_in_the_words_that_were_typed(run: Run, options: list[str]) -> None:
    found = run(*options, "--recipe", "ifgsm + mi")
    two_lines(found, "ifgsm and mi")
    assert "sign" not in found.err
    two_lines(run(*options, "--recipe", "mifgsm(decay=0)"), "mifgsm(decay=0)")
    two_lines(run(*options, "--recipe", "linbp（start=3）"), "fullwidth")
    two_lines(run(*options, "--recipe", "mifgsm", "--steps", "0"), "steps")
    two_lines(run(*options, "--recipe", "mifgsm", "--eps", "0.4/255"), "1/255")
