"""`linbp evaluate` and victims that are no fair measure: what the table, JSON and CSV say, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from command_line import Run, two_lines

from linbp.data.images import write_png

NETWORKS = '''
import torch
from torch import nn
from torch.nn import functional
import linbp


class Net(nn.Module):
    """A linear network on means over quarters, and what is made of its logits."""

    def __init__(self, seed=0, end=None, middle=None):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Conv2d(3, 6, 3), middle or nn.Identity(), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
            self.head = nn.Linear(24, 6)
        self.end = end

    def forward(self, images):
        logits = self.head(self.layers(images).flatten(1))
        return logits if self.end is None else self.end(logits)


class Wrapped(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.network = module

    def forward(self, images):
        return self.network(images)


def model(name=None, **options):
    return linbp.Model(Net(**options), input_size=8, name=name)


def net(): return model("net")
def again(): return linbp.Model(Wrapped(Net()), input_size=8, name="mine")
def one(): return model(seed=1)
def two(): return model(seed=2)
def column(): return model("column", end=lambda z: z[:, :1])
def classes(): return model("classes", end=lambda z: z.argmax(1))
def pixels(): return model("pixels", end=lambda z: z[:, :, None, None])
def wrapped(): return model("wrapped", end=lambda z: {"scores": z})
def probabilities(): return model("probabilities", seed=1, end=lambda z: z.softmax(1))
def dropout(): return model("dropout", seed=1, end=lambda z: functional.dropout(z, 0.5, training=True))
def batch(): return model("batch", seed=1, end=lambda z: z - z.mean(0))
def norm(): return model("norm", seed=1, middle=nn.BatchNorm2d(6, track_running_stats=False))
def scale(): return linbp.Model(Net(), input_size=8, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
'''

CRAFT = ["craft", "--surrogate", "file:nets.py:net", "--recipe", "ifgsm", "--data", "photos", "--out", "out"]
SHORT = ["--steps", "2", "--step-size", "1/255", "--trust-labels"]


@pytest.fixture
def linbp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Run:
    """Runs the command line in a folder of networks and 24 images, where `out` holds adversarial images of them."""
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NETWORKS)
    Path("photos").mkdir()
    lines = ["file,label"]
    for number in range(24):
        draw = np.random.default_rng(number)
        pixels = np.kron(draw.integers(0, 256, (2, 2, 3)), np.ones((4, 4, 1))).astype(np.uint8)
        write_png(f"photos/i{number:02}.png", pixels)
        lines.append(f"i{number:02}.png,{number % 6}")
    Path("photos/images.csv").write_text("\n".join(lines) + "\n")
    made = run(*CRAFT, *SHORT, "--labels", "predicted")
    assert made.status == 0, made.err
    return run


def victim(*names: str) -> list[str]:
    return ["evaluate", "out", *(word for name in names for word in ("--victim", f"file:nets.py:{name}"))]


def rows(path: str = "out.csv") -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_names_roles_and_notes_are_in_table_json_and_csv(linbp: Run) -> None:
    command = victim("net", "again", "one", "two", "probabilities")
    table = linbp(*command, "--csv", "out.csv")
    assert table.status == 0, table.err
    found = linbp(*command, "--json").facts
    names = [one["victim"]["name"] for one in found["victims"]]
    assert names == ["net", "mine", "Net (file:nets.py:one)", "Net (file:nets.py:two)", "probabilities"]
    assert list(dict.fromkeys(row["victim"] for row in rows())) == names
    assert [one["role"] for one in found["victims"]] == ["white box"] * 2 + ["victim"] * 3
    assert {row["victim"] for row in rows() if row["role"] == "white box"} == {"net", "mine"}
    for words in ("net (white box)", "mine (white box)", "file:nets.py:one", "file:nets.py:two"):
        assert words in table.text
    (note,) = found["victims"][4]["notes"][:1]
    assert "probabilities" in note
    assert note in table.text
    assert all(note in row["notes"] for row in rows() if row["victim"] == "probabilities")


def test_what_craft_noted_is_beside_the_numbers(linbp: Run) -> None:
    """Two steps of 1/255 make the same images for every radius from 2/255 on: no table may hide that."""
    table = linbp(*victim("one"), "--csv", "out.csv")
    found = linbp(*victim("one"), "--json").facts
    notes = [note for note in found["notes"] if "radius" in note]
    assert notes
    for note in notes:
        assert note in found["manifest"]["notes"]
        assert note in table.text
        assert all(note in row["notes"] for row in rows())


REFUSED = {
    "column": ("column", "torch.cat"),
    "classes": ("classes", "one_hot"),
    "pixels": ("(24, 6, 1, 1)", "flatten(1)"),
    "wrapped": ("'scores'", "answer['scores']"),
    "scale": ("123.7", "0.485", "0.229"),
    "dropout": ("dropout", "chance", "--trust-victim"),
    "batch": ("in a batch with other images", "--trust-victim"),
    "norm": ("batch norm", "--trust-victim"),
}


def test_victims_that_are_no_measure_are_refused_with_their_cause(linbp: Run) -> None:
    for name, words in REFUSED.items():
        two_lines(linbp(*victim(name)), *words)


def test_doubts_are_switched_off_by_name(linbp: Run) -> None:
    for name in ("dropout", "batch"):
        answer = linbp(*victim(name), "--trust-victim")
        assert answer.status == 0, answer.err


def test_surrogates_of_another_scale_or_with_probabilities_are_refused(linbp: Run) -> None:
    for name, words in (("scale", "0.485"), ("probabilities", "log_softmax"), ("column", "torch.cat")):
        command = [*CRAFT, *SHORT, "--surrogate", f"file:nets.py:{name}"]
        del command[1:3]
        command[command.index("out")] = f"new-{name}"
        two_lines(linbp(*command), words)
        assert not Path(f"new-{name}").exists()


def test_what_is_no_folder_is_told_what_it_is(linbp: Run) -> None:
    two_lines(linbp("evaluate", "photos/images.csv", "--victim", "file:nets.py:one"), "file", "craft --data")
    two_lines(linbp("evaluate", "out/manifest.json", "--victim", "file:nets.py:one"), "linbp evaluate out")
    two_lines(linbp("evaluate", "nets.py", "--victim", "file:nets.py:one"), "--victim")
    two_lines(linbp("evaluate", ".", "--victim", "file:nets.py:one"), "folders in it", "out")


def test_partial_is_a_way_on_when_an_image_is_gone(linbp: Run) -> None:
    Path("out/i03.png").unlink()
    two_lines(linbp(*victim("one")), "i03.png", "--partial")
    answer = linbp(*victim("one"), "--partial")
    assert "1 of 24 adversarial images are missing or broken: i03.png" in answer.text
    found = linbp(*victim("one"), "--partial", "--json").facts
    assert found["victims"][0]["images"] == 23
    assert found["finished"] is False


def test_one_image_gets_a_word_on_its_number(linbp: Run) -> None:
    Path("photos/one.csv").write_text("file,label\ni00.png,0\n")
    command = ["photos/one.csv" if word == "photos" else "single" if word == "out" else word for word in CRAFT]
    assert linbp(*command, *SHORT, "--labels", "predicted").status == 0
    answer = linbp("evaluate", "single", "--victim", "file:nets.py:net")
    assert "1 image is counted: the 95% interval reaches from" in answer.text
