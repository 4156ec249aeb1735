"""`linbp refine` as a user types it, and its folders as surrogates in other commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from test_linearize import COUNT, write_inputs

from linbp.cli.app import main


class Answer(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Answer]
SMALL = ["--epochs", "2", "--snapshots", "2", "--batch-size", "4", "--validation", "0.2"]


@pytest.fixture
def linbp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `linbp WORDS` in a folder with a network and photographs of four classes."""
    write_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["linbp", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Answer(int(ended.value.code or 0), captured.out, captured.err)

    return run


def words(out: str, *more: str, method: str = "lgv") -> list[str]:
    return ["refine", method, "file:net.py:net", "--data", "photos", "--out", out, *SMALL, *more]


def test_from_the_network_to_adversarial_images_of_its_versions(linbp: Run) -> None:
    status, out, err = linbp(*words("lgv"))
    assert (status, err) == (0, "")
    assert "4 versions of the network kept, 10 steps on 18 images" in out
    assert "Next: linbp craft --surrogate lgv --recipe mi" in out
    assert sorted(path.name for path in Path("lgv").glob("*.pt2")) == [
        f"snapshot-{number}.pt2" for number in (1, 2, 3, 4)
    ]

    craft = ["--recipe", "leaky-linbp + mi", "--data", "photos", "--out", "adv", "--steps", "5", "--json"]
    status, out, err = linbp("craft", "--surrogate", "lgv", *craft)
    assert (status, err) == (0, "")
    facts = json.loads(out)
    assert facts["gradients_per_image"] == 5
    assert facts["images"] == COUNT
    assert facts["manifest"]["settings"]["surrogate"]["snapshots"] == 4
    assert linbp("evaluate", "adv", "--victim", "lgv/snapshot-4.pt2").status == 0
    status, out, err = linbp("evaluate", "adv", "--victim", "lgv")
    assert (status, out) == (2, "")
    assert "lgv/snapshot-1.pt2" in err.splitlines()[1]

    status, out, _ = linbp(*words("lgv"), "--json")
    facts = json.loads(out)
    assert (status, facts["already_finished"], len(facts["snapshots"])) == (0, True, 4)
    assert "tuning.learning_rate" in two_lines(linbp(*words("lgv", "--learning-rate", "0.5")))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--snapshots", "9"], "9 times in an epoch of 5 steps"),
        (["--epochs", "0"], "epochs is 0"),
        (["--learning-rate", "-1"], "learning rate is -1.0"),
        (["--validation", "1.5"], "1.5 of the images cannot be held out"),
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--out", "photos"], "photos is not empty"),
    ],
)
@pytest.mark.parametrize("method", ["lgv", "mba"])
def test_bad_input_is_two_lines(linbp: Run, more: list[str], message: str, method: str) -> None:
    assert message in two_lines(linbp(*words("out", *more, method=method)))
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--radius", "0"], "radius is 0"),
        (["--penalty", "-1"], "penalty is -1"),
        (["--scale", "nan"], "scale is nan"),
        (["--samples", "1"], "samples is 1"),
    ],
)
def test_a_bad_distribution_is_two_lines(linbp: Run, more: list[str], message: str) -> None:
    assert message in two_lines(linbp(*words("out", *more, method="mba")))
    assert not Path("out").exists()


@pytest.mark.parametrize("method", ["lgv", "mba"])
def test_a_run_that_diverges_says_so(linbp: Run, method: str) -> None:
    assert "diverged" in two_lines(linbp(*words("out", "--learning-rate", "1e30", method=method)))


def test_from_the_network_to_adversarial_images_of_drawn_weights(linbp: Run) -> None:
    status, out, err = linbp(*words("mba", "--samples", "3", method="mba"))
    assert (status, err) == (0, "")
    assert "Mean and deviations of 4 versions of the network kept, 10 steps on 18 images" in out
    assert "drawn weights" in out
    recipe = "leaky-linbp + turns(count=2) + mi"
    craft = ["--recipe", recipe, "--data", "photos", "--out", "adv", "--steps", "5", "--json"]
    status, out, err = linbp("craft", "--surrogate", "mba", *craft)
    assert (status, err) == (0, "")
    facts = json.loads(out)
    assert facts["gradients_per_image"] == 10
    assert facts["images"] == COUNT
    assert linbp("evaluate", "adv", "--victim", "mba/mean.pt2").status == 0
    status, out, err = linbp("evaluate", "adv", "--victim", "mba")
    assert (status, out) == (2, "")
    assert "mba/mean.pt2" in err.splitlines()[1]
    assert linbp("inspect", "mba").status == 0

    status, out, _ = linbp(*words("mba", "--samples", "3", method="mba"), "--json")
    facts = json.loads(out)
    assert (status, facts["already_finished"]) == (0, True)
    assert facts["files"] == ["mba/mean.pt2", "mba/deviations.safetensors"]
    assert "mba" in two_lines(linbp(*words("mba")))


def two_lines(answer: Answer) -> str:
    """The message of a fault: status 2, an error and a hint, nothing else."""
    assert (answer.status, answer.out) == (2, "")
    error, hint = answer.err.splitlines()
    assert error.startswith("Error: ")
    assert hint.startswith("Hint: ")
    return error
