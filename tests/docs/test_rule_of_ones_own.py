"""The rule that CONTRIBUTING shows, installed as another package's: it is a part like any other, with its formula."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_networks import images_and_labels, tiny

import linbp.testing
from linbp import registry
from linbp.graph import Plan, Scale, Structure

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r'```python title="my_rules/damped\.py"\n(.*?)```', re.DOTALL)
ENTRY_POINT = re.compile(r'```toml\n(\[project\.entry-points\."linbp\.parts"\].*?)```', re.DOTALL)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the path with the package and its metadata, as pip installs them."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    source, entry = BLOCK.search(page), ENTRY_POINT.search(page)
    assert source is not None
    assert entry is not None
    folder = tmp_path_factory.mktemp("site-packages")
    (folder / "my_rules").mkdir()
    (folder / "my_rules" / "__init__.py").write_text("", encoding="utf-8")
    (folder / "my_rules" / "damped.py").write_text(source[1], encoding="utf-8")
    metadata = folder / "my_rules-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my_rules\nVersion: 1.0\n", encoding="utf-8")
    name, module = re.findall(r'(\w+) = "([\w.]+)"', entry[1])[0]
    (metadata / "entry_points.txt").write_text(f"[linbp.parts]\n{name} = {module}\n", encoding="utf-8")
    return folder


def test_it_is_found_by_its_entry_point(package: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import linbp.attack; from linbp.attack import Recipe;"
        "recipe = Recipe.parse('damped(start=0, cap=2) + mi'); print(type(recipe.stages[0].rules[0]).__module__)"
    )
    found = subprocess.run([sys.executable, "-c", code, str(package)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "my_rules.damped"


def test_it_follows_the_style_of_the_house(package: Path) -> None:
    rules = ["check", "--config", str(ROOT / "pyproject.toml"), str(package / "my_rules" / "damped.py")]
    done = subprocess.run([sys.executable, "-m", "ruff", *rules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_it_computes_its_formula(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package))
    monkeypatch.setitem(registry._registry, "rule", dict(registry._registry["rule"]))  # others see no new rule
    from my_rules.damped import Capped, Damped

    surrogate = linbp.Surrogate(tiny())
    images, labels = images_and_labels(3)
    unit = images.double() / 255

    def gradient(rule: object) -> torch.Tensor:
        return surrogate.with_rule(rule).gradient(unit, labels)  # type: ignore[arg-type]

    assert torch.allclose(gradient(Damped(start=0, cap=1e9)), gradient(linbp.LinBP(start=0, rebalance=None)))

    class SkipsAlone:
        def plan(self, structure: Structure) -> Plan:
            linear = linbp.LinBP(start=0, rebalance=None).plan(structure)
            return linear + Plan(edges={junction.index: Scale(0.0) for junction in structure.junctions})

    assert torch.allclose(gradient(Damped(start=0, cap=0)), gradient(SkipsAlone()))

    class Branch:
        def rule_gradient(self, gradient: torch.Tensor) -> torch.Tensor:
            return 3 * gradient

        def ordinary_norm(self, gradient: torch.Tensor) -> torch.Tensor:
            return torch.tensor([1.0, 30.0, 0.0])

    given = torch.eye(3)
    linbp.testing.check_part("damped(start=0, cap=0.5)")
    expected = torch.tensor([2.0, 3.0, 0.0])[:, None] * given  # capped at twice the norm, free, nothing to compare with
    assert torch.allclose(Capped(2.0)(given, Branch()), expected)  # type: ignore[arg-type]
