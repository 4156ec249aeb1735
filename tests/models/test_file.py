"""Networks from a Python file of the user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from linbp.errors import ModelError
from linbp.models import Model, load_model

GOOD = """
import torch
from linbp.models import Model
from neighbour import CLASSES

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, CLASSES)
    def forward(self, x):
        return self.head(x.mean((2, 3)))

class Sized(Net):
    input_size = (3, 8, 8)

class WrongSize(Net):
    input_size = "8x8"

def model():
    torch.manual_seed(0)
    return Model(Net(), input_size=(3, 8, 8), mean=(0.5, 0.5, 0.5), name="mine")

def raises():
    table = {}
    return table["missing"]

number = 3

def nothing():
    return number
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "neighbour.py").write_text("CLASSES = 7\n")
    (tmp_path / "net.py").write_text(GOOD)
    return tmp_path / "net.py"


def test_a_function_that_returns_a_model(file: Path) -> None:
    path = list(sys.path)
    model = load_model(f"file:{file}:model")
    assert isinstance(model, Model)
    assert model.logits(torch.rand(2, 3, 8, 8)).shape == (2, 7)
    assert model.name == "mine"
    identity = model.identity()
    assert identity["spec"] == f"file:{file}:model"
    assert len(identity["code_sha256"]) == 64
    assert sys.path == path


def test_a_module_with_an_input_size(file: Path) -> None:
    model = load_model(f"file:{file}:Sized")
    assert isinstance(model, Model)
    assert model.input_size == (3, 8, 8)
    assert model.mean == (0, 0, 0)
    assert model.name == "net.py:Sized"


@pytest.mark.parametrize(
    ("function", "message", "hint"),
    [
        ("Net", "Net", "linbp.Model(module"),
        ("nothing", "int", "linbp.Model(module"),
        ("WrongSize", "'8x8'", "channels"),
        ("modell", "'modell'", "'model'"),
        ("number", "'number'", "Known"),
        ("raises", "net.py, line 25: KeyError: 'missing'", "file"),
    ],
)
def test_what_a_function_does_wrong(file: Path, function: str, message: str, hint: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(f"file:{file}:{function}")
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import not_a_package\n", "bad.py, line 1: ModuleNotFoundError: No module named 'not_a_package'"),
        ("x = 1\ndef broken(:\n", "bad.py, line 2: SyntaxError"),
        ("\n\n1 / 0\n", "bad.py, line 3: ZeroDivisionError"),
    ],
)
def test_errors_inside_the_file_name_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(ModelError) as caught:
        load_model(f"file:{tmp_path / 'bad.py'}:model")
    assert message in caught.value.message


@pytest.mark.parametrize("spec", ["file:net.py", "file:", "file:net:model"])
def test_a_spec_without_function_or_file(spec: str) -> None:
    with pytest.raises(ModelError, match="function"):
        load_model(spec)


def test_a_missing_file() -> None:
    with pytest.raises(ModelError, match=r"missing/net\.py"):
        load_model("file:missing/net.py:model")
