"""The part that CONTRIBUTING shows, put where the page says in a copy of the package, works and follows the style."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = re.compile(r'^```python(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
PLACE = Path("src/linbp/attack/parts/transform")

USE_PART = """
import sys
import numpy as np, torch
from torch import nn
import linbp.testing
from linbp.attack.parts.transform import RandomShift
from linbp.registry import names

assert names("transform")["shift"] is RandomShift
torch.manual_seed(0)
module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).double()
surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, 8, 8)), cache=False)
images = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
labels = [0, 1, 2, 3]
linbp.testing.check_part("shift(pixels=2)")
for part in (sys.argv[1], "shift(pixels=5)"):
    recipe = f"linbp(start=0) + {part} + mi"
    together = linbp.craft(surrogate, images, labels, recipe, eps="8/255", steps=3)
    alone = linbp.craft(surrogate, images[2:3], labels[2:3], recipe, eps="8/255", steps=3, ids=["2"])
    other = linbp.craft(surrogate, images, labels, "linbp(start=0) + mi", eps="8/255", steps=3)
    assert (together[2] == alone[0]).all()
    assert (together != other).any()
    assert abs(together * 255 - images).max() <= 8 + 1e-9
"""


@pytest.fixture(scope="module")
def blocks() -> list[tuple[str | None, str]]:
    """Titles and texts of the Python on the page: the part, the line that imports it, its row in a table of tests."""
    return [(one["title"], one["text"]) for one in PYTHON.finditer((ROOT / "CONTRIBUTING.md").read_text("utf-8"))][:3]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, blocks: list[tuple[str | None, str]]) -> Path:
    """A copy of the package with the part in it."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (title, part), (_, line), _ = blocks
    assert title is not None
    (folder / title).write_text(part, encoding="utf-8")
    register = folder / PLACE / "__init__.py"
    before = "from linbp.attack.parts.transform.shift_grid"
    text = register.read_text(encoding="utf-8").replace(before, f"{line}{before}")
    register.write_text(text.replace('"ScaleInvariant"', '"RandomShift", "ScaleInvariant"'), encoding="utf-8")
    return folder


def test_it_works(copy: Path, blocks: list[tuple[str | None, str]]) -> None:
    (recipe,) = ast.literal_eval(blocks[2][1])
    environment = {**os.environ, "PYTHONPATH": str(copy / "src")}
    command = [sys.executable, "-W", "error", "-c", USE_PART, recipe]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_it_follows_the_style_of_the_house(copy: Path, blocks: list[tuple[str | None, str]]) -> None:
    ruff = [sys.executable, "-m", "ruff"]
    for words in (
        ["format", "--check", str(blocks[0][0])],  # the part as it stands on the page
        ["format", str(PLACE / "__init__.py")],  # `make format`
        ["check", str(PLACE)],
    ):
        done = subprocess.run([*ruff, *words], cwd=copy, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout
