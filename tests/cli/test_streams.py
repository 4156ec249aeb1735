"""With --json, or a CSV on standard output, data are all that is there, whoever else prints."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import Run

from linbp.data.images import write_png

TALKATIVE = """
import ctypes, logging, os, subprocess, sys
from sys import stdout

import torch
from torch import nn
import linbp

C = ctypes.CDLL(None)
logging.basicConfig(stream=sys.stdout, level=logging.INFO, force=True)


def talk(where):
    print("loading", where)
    stdout.write("held\\n")
    print("raw", file=sys.__stdout__)
    os.write(1, b"descriptor\\n")
    C.printf(b"from C\\n")  # C keeps it in a buffer of its own
    C.puts(b"also from C")
    logging.info("logged")
    subprocess.run(["echo", "a program"], check=True)


talk("at import")


class Talking(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 6)).double()

    def forward(self, x):
        if not torch.compiler.is_compiling():
            talk("in forward")
        return self.layers(x)


class Answers:
    name = "answers"

    def logits(self, images):
        talk("in logits")
        return Talking().layers(images.double())

    def identity(self):
        return {}


def net():
    talk("in the function")
    return linbp.Model(Talking().layers, input_size=(3, 8, 8), name="net")


def talking():
    return linbp.Model(Talking(), input_size=(3, 8, 8), name="talking")


def answers():
    return Answers()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a network that prints in every way, and two images."""
    monkeypatch.chdir(tmp_path)
    Path("talk.py").write_text(TALKATIVE)
    Path("photos").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        write_png(f"photos/i{number}.png", pixels)
    Path("photos/images.csv").write_text("file,label\ni0.png,0\ni1.png,1\n")
    return tmp_path


CRAFT = ["craft", "--surrogate", "file:talk.py:net", "--recipe", "ifgsm", "--data", "photos", "--steps", "1"]
EVALUATE = ["evaluate", "out", "--victim", "file:talk.py:talking", "--victim", "file:talk.py:answers"]


SEVERAL = """
import sys
import linbp.cli
for number, words in enumerate(sys.argv[1:]):
    sys.argv = ["linbp", *words.split("|")]
    try:
        linbp.cli.main()
    except SystemExit as end:
        assert not end.code, end.code
    print("-----", flush=True)
    print("-----", file=sys.stderr, flush=True)
"""


def test_a_network_that_prints_in_every_way_leaves_the_data_alone(folder: Path) -> None:
    """In a process of its own, since file descriptors are what this is about; standard output comes back afterwards."""
    commands = [
        [*CRAFT, "--trust-labels", "--out", "out", "--json"],
        [*EVALUATE, "--json"],
        [*EVALUATE, "--csv", "-"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, *("|".join(words) for words in commands)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    crafted, evaluated, lines, rest = done.stdout.split("-----\n")
    assert json.loads(crafted)["images"] == 2
    assert [victim["victim"]["name"] for victim in json.loads(evaluated)["victims"]] == ["talking", "answers"]
    assert [row["victim"] for row in csv.DictReader(io.StringIO(lines))] == ["talking"] * 2 + ["answers"] * 2
    assert rest == ""
    first, second, third, _ = done.stderr.split("-----\n")
    for words in ("loading at import", "held", "raw", "descriptor", "from C", "also from C", "logged", "a program"):
        assert words in first, words
    for words in ("loading in forward", "loading in logits", "from C", "a program"):
        assert words in second, words
    assert "1 - accuracy" in third  # the table


def test_a_csv_on_standard_output_is_the_one_that_a_file_gets(folder: Path, run: Run) -> None:
    assert run(*CRAFT, "--trust-labels", "--out", "out").status == 0
    assert run(*EVALUATE, "--csv", "file.csv").status == 0
    for name in ("-", "/dev/stdout"):
        answer = run(*EVALUATE, "--csv", name)
        assert answer.out == Path("file.csv").read_text()
        assert "talking" in answer.err
    assert not Path("-").exists()
    answer = run(*EVALUATE, "--csv", "-", "--json")
    assert (answer.status, answer.out) == (2, "")
    assert "--csv" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "file:talk.py:net"),
        ("inspect", "file:talk.py:talking"),
        ("list", "recipes"),
        ("list", "protocols"),
        ("show", "mi"),
        ("show", "linbp-2020-imagenet"),
        ("zoo", "list"),
    ],
)
def test_every_command_prints_json_alone(folder: Path, run: Run, words: tuple[str, ...]) -> None:
    answer = run(*words, "--json")
    assert answer.status == 0, answer.err
    assert answer.facts


def test_an_error_leaves_standard_output_empty(folder: Path, run: Run) -> None:
    answer = run("inspect", "file:talk.py:gone", "--json")
    assert (answer.status, answer.out) == (2, "")
    assert "loading at import" in answer.err
    assert answer.err.splitlines()[-2].startswith("Error: ")
