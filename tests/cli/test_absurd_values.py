"""Every option and argument of every command with absurd values: it works, or two lines of ours say what is wrong.

The options are read from the command line itself, so that a new one is tried too.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from exhaustive import marked
from PIL import Image

from linbp.cli.app import app, main

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

NET = "file:network.py:net"
CRAFT = ["--surrogate", NET, "--recipe", "ifgsm", "--data", "photos", "--steps", "1", "--trust-labels", "--out"]
VALID = {
    "audit": ["audit", NET, "--data", "photos", "--out", "made", "--surrogate", NET, "--plan-only"],
    "inspect": ["inspect", NET],
    "craft": ["craft", *CRAFT, "made"],
    "evaluate": ["evaluate", "adv", "--victim", NET],
    "picture": ["picture", "adv", "--victim", NET, "--out", "made"],
    "report": ["report", "adv", "--out", "made"],
    "compare": ["compare", "adv", "adv"],
    "bench": ["bench", "file.txt", "--dry-run"],
    "linearize": ["linearize", NET, "--start", "0", "--data", "photos", "--out", "made", "--validation", "0.5"],
    "refine lgv": ["refine", "lgv", NET, "--data", "photos", "--out", "made", "--validation", "0.5"],
    "refine mba": ["refine", "mba", NET, "--data", "photos", "--out", "made", "--validation", "0.5"],
    "substitute": ["substitute", "--victim", NET, "--backbone", NET, "--data", "photos", "--out", "made"],
    "list": ["list", "recipes"],
    "show": ["show", "mi"],
    "demo": ["demo", "--images", "0", "--out", "made"],
    "zoo list": ["zoo", "list"],
    "zoo train": ["zoo", "train", "plain", "--data", "folder", "--out", "made"],
}
"""A line for each command that does little, or fails early where it would do much."""
QUICK = {"linearize": ["--epochs", "0", "--trust-labels"], "substitute": ["--epochs", "1"]}

NUMBERS = ["nan", "-inf", "-1", "1e400", "9" * 400, "1.5", "0x10", "８", "8/0", "10000000000000000000"]
PATHS = [*("missing", "folder", "file.txt", "empty", "photos/0/a.png", "network.py", "adv", "/dev/null", "/dev/full")]
PATHS += ["x" * 304, "a/" * 3000, "~", "-", "\udcff", "a\nb", "💥", " ", "file.txt/x", "broken"]
WORDS = [
    "x" * 5000,
    "(" * 1000,
    "linbp(",
    "\x1b[2J",
    ",",
    "none",
    "linbp(start=nan)",
    "mi(decay=1e400)",
    "di(scale=9e99)",
]
WORDS += [
    f"linbp(start={'9' * 400})",
    "mi(decay=[[1]])",
    "mi" + " + mi" * 50,
    "__import__('os')",
    "'",
    "timm:",
    "file::",
]
WORDS += ["file:network.py:torch", "file:file.txt:net", "file:folder:net", f"{NET} with", f"{NET} with mi", "http://"]
WORDS += [f"file:{'x' * 304}.py:net", "broken.onnx", "broken.pt2", "shift:x", f"shift:{'9' * 30}", "cuda:99", "meta"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory of its own, with a network, images, adversarial images of them, and what is none of these."""
    place = tmp_path_factory.mktemp("absurd")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        Path("network.py").write_text(NETWORK)
        for number, name in enumerate(("0/a.png", "1/b.png", "2/c.png")):
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Path("photos", name).parent.mkdir(parents=True)
            Image.fromarray(pixels).save(f"photos/{name}")
        Path("folder").mkdir()
        for name in ("file.txt", "broken.onnx", "broken.pt2"):
            Path(name).write_text("hello\n")
        Path("empty").touch()
        Path("broken").symlink_to("gone")
        assert ended("craft", *CRAFT, "adv")[0] == 0
        yield place


def ended(*words: str) -> tuple[Any, str]:
    """Exit status and standard error; the streams take whatever bytes a name has."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["linbp", *words])
        with pytest.raises(SystemExit) as left:
            main()
    return left.value.code, err.getvalue()


def commands() -> dict[str, Any]:
    """Every command by its name, with what it takes."""
    found: dict[str, Any] = {}

    def walk(group: Any, prefix: str) -> None:
        for name, one in group.commands.items():
            walk(one, f"{prefix}{name} ") if hasattr(one, "commands") else found.update({prefix + name: one})

    walk(typer.main.get_command(app), "")
    return found


STRIDE = 4
"""Each option gets every fourth value, the next one the values after: all together, every value. 1 takes minutes."""


def values(kind: str) -> list[str]:
    if "'int'" in kind or "'float'" in kind:
        return NUMBERS
    if "Path" in kind:
        return [*PATHS, *NUMBERS[:2]]
    return [*WORDS, *PATHS, *NUMBERS] if "str" in kind else ["x", "-1", "💥"]


def with_value(words: list[str], name: str, parameter: Any, value: str) -> list[str]:
    """The valid line with another value of an option, or of the first argument."""
    line = list(words)
    if type(parameter).__name__ == "TyperArgument":
        line[len(name.split())] = value
    elif (option := parameter.opts[0]) in line:
        line[line.index(option) + 1] = value
    else:
        line += [option, value]
    return line


def test_every_command_has_a_valid_line() -> None:
    assert commands().keys() == VALID.keys()


LONGEST = {"linearize", "craft", "zoo train", "audit", "refine mba", "refine lgv", "bench"}


@pytest.mark.parametrize("name", marked(VALID, LONGEST))
def test_absurd_values_work_or_give_two_lines(folder: Path, name: str) -> None:
    for number, parameter in enumerate(commands()[name].params):
        if getattr(parameter, "is_flag", False):
            continue
        for value in values(repr(parameter.type_descriptor.annotation))[number % STRIDE :: STRIDE]:
            line = with_value([*VALID[name], *QUICK.get(name, [])], name, parameter, value)
            status, err = ended(*line)
            what = f"{name} {parameter.name} {value[:40]!r}: {status} {err[-400:]}"
            assert status in (0, 1, 2), what
            assert "unexpected" not in err, what
            assert "Traceback" not in err, what
            if status == 2:
                assert [one.split(":")[0] for one in err.splitlines()][-2:] == ["Error", "Hint"], what
            for made in ("made", "missing"):
                shutil.rmtree(made, ignore_errors=True)
