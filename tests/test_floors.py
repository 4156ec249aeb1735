"""A module imports only from its own floor and from floors below."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import linbp

PACKAGE = Path(linbp.__file__).parent

FLOORS = (
    "data",
    "jobs",
    "zoo",
    "models",
    "graph",
    "rules",
    "training",
    "attack",
    "testing",
    "evaluation",
    "bench",
    "audit",
    "report",
    "cli",
)
"""The packages from the bottom up. Single modules (errors, randomness, ...) and the registry lie below them all."""

GROUND = 0
ROOF = len(FLOORS) + 1
"""Where `linbp/__init__.py` stands: it hands out the public names of every floor."""


def floor_of(module: str) -> int:
    """The height of a module, such as `linbp.graph.capture.capture`.

    Raises:
        ValueError: a package that has no floor.
    """
    words = module.split(".")
    if len(words) == 1:
        return ROOF
    if words[1] in FLOORS:
        return FLOORS.index(words[1]) + 1
    return GROUND


def imports_of(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything of linbp that a file imports, also inside functions."""
    package = ("linbp", *path.relative_to(root).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(word for word in (base, node.module) if word)
            # `from linbp import attack` may name a package; `from linbp.attack import craft` names it already.
            found = [f"linbp.{alias.name}" for alias in node.names] if source == "linbp" else [source]
        else:
            continue
        yield from ((node.lineno, name) for name in found if name.split(".")[0] == "linbp")


def violations(root: Path) -> list[str]:
    """One line for each import that goes up."""
    found = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        name = ".".join(("linbp", *relative.with_suffix("").parts)).removesuffix(".__init__")
        floor = floor_of(name)
        found += [
            f"{relative}:{line}: {name} imports {imported} from above"
            for line, imported in imports_of(path, root)
            if height_of_import(imported, root) > floor
        ]
    return found


def height_of_import(imported: str, root: Path) -> int:
    """The floor of an imported name; a public name that `linbp/__init__.py` hands out stands on the roof."""
    words = imported.split(".")
    if len(words) > 1 and not (root / words[1]).is_dir() and not (root / f"{words[1]}.py").is_file():
        return ROOF
    return floor_of(imported)


def test_no_module_imports_from_above() -> None:
    assert violations(PACKAGE) == []


def test_every_package_has_a_floor() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert packages <= {*FLOORS, "registry"}


@pytest.mark.parametrize(
    "line",
    [
        "import linbp.attack.loop",
        "import torch, linbp.rules",
        "from linbp.attack import craft",
        "from linbp.attack.recipe.recipe import Recipe",
        "from linbp import attack",
        "from linbp import craft",
        "import linbp",
        "from ..rules import LinBP",
        "from .. import cli",
        "def later():\n    from linbp.evaluation import evaluate",
        "if TYPE_CHECKING:\n    from linbp.cli.app import main",
    ],
)
def test_an_import_from_above_is_found(tmp_path: Path, line: str) -> None:
    for name in ("graph", "attack", "cli", "rules", "evaluation"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "graph" / "wrong.py").write_text(line + "\n", encoding="utf-8")
    (found,) = violations(tmp_path)
    assert "wrong.py" in found
    assert "from above" in found


@pytest.mark.parametrize(
    "line",
    [
        "import torch",
        "from linbp.graph import analysis",
        "from . import analysis",
        "from .analysis import Site",
        "from linbp.models.model import Model",
        "from ..models import Model",
        "from linbp.errors import CaptureError",
        "from linbp import errors",
    ],
)
def test_imports_from_the_same_floor_and_below_are_let_through(tmp_path: Path, line: str) -> None:
    for name in ("graph", "models"):
        (tmp_path / name).mkdir()
    (tmp_path / "errors.py").write_text("", encoding="utf-8")
    (tmp_path / "graph" / "right.py").write_text(line + "\n", encoding="utf-8")
    assert violations(tmp_path) == []


def test_the_ground_floor_imports_nothing_of_the_packages(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "draws.py").write_text("from linbp.models import Model\n", encoding="utf-8")
    assert len(violations(tmp_path)) == 1
