"""Every registered part has its page of help and its section in the reference."""

from __future__ import annotations

import importlib.util
import inspect
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import linbp.attack  # noqa: F401  (registers the parts)
from linbp.cli.app import app
from linbp.registry import Kind, kinds, names

ROOT = Path(__file__).parents[2]
PARTS = [(kind, name) for kind in kinds() for name in names(kind)]


@pytest.fixture(scope="module")
def page() -> str:
    """What the site puts onto the pages of recipes and defences."""
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("recipes.md", "defences.md")]
    return "\n".join(map(hooks.on_page_markdown, pages))


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_show_and_the_reference_have_it(kind: Kind, name: str, page: str) -> None:
    thing = names(kind)[name]
    lines = (inspect.getdoc(thing) or "").splitlines()
    assert lines, "no docstring"
    shown = CliRunner().invoke(app, ["show", name, "--json"])
    assert shown.exit_code == 0
    entries = json.loads(shown.stdout)
    assert lines[0] in [entry["doc"].splitlines()[0] for entry in entries]
    assert CliRunner().invoke(app, ["show", name]).exit_code == 0
    _, _, section = page.partition(f"### `{name}` {{ #{kind}-{name} }}")
    assert lines[0] in section or f"[`{name}`](#" in section


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind != "start"])
def test_list_has_it(kind: Kind) -> None:
    listed = CliRunner().invoke(app, ["list", f"{kind}s", "--json"])
    assert listed.exit_code == 0
    assert set(names(kind)) <= {entry["name"] for entry in json.loads(listed.stdout)[f"{kind}s"]}


def test_a_recipe_that_is_one_part_is_shown_once() -> None:
    shown = CliRunner().invoke(app, ["show", "linbp"]).stdout
    assert shown.startswith("recipe and rule linbp(start")
    assert shown.count("gradient at the fork") == 1
