"""Images of two versions of a part never lie in one folder: its code is among what may not change."""

from __future__ import annotations

import importlib.util
import json
import linecache
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_parts import SHIFT, Packages, packages
from tiny_networks import tiny

import linbp
from linbp.attack import AttackConfig, Recipe
from linbp.attack.job.craft_folder import FolderReport, craft_folder
from linbp.attack.job.part_code import code_of_parts
from linbp.data.image_list import ImageRecord
from linbp.data.images import write_png
from linbp.errors import StoreError
from linbp.graph import Plan, Scale, Structure

__all__ = ["packages"]

MODEL = tiny()
HELPER = "def amount():\n    return {}\n"


def written(default: int = 3, amount: int = 1, more: str = "") -> dict[str, str]:
    """A package with a transform in one module and a helper in another."""
    return {
        "my_parts/__init__.py": "from my_parts.shift import Shift\n",
        "my_parts/shift.py": SHIFT.format(name="shift", default=default, helper="my_parts.helper") + more,
        "my_parts/helper.py": HELPER.format(amount),
        "my_parts/unrelated.py": f"x = {amount}\n",
        "my_parts/tests/test_it.py": f"x = {amount}\n",
    }


@pytest.fixture
def images(tmp_path: Path) -> list[ImageRecord]:
    """Two images."""
    draw, records = np.random.default_rng(0), []
    for number in range(2):
        write_png(tmp_path / f"{number}.png", draw.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        records.append(ImageRecord(image_id=str(number), path=tmp_path / f"{number}.png", label=number))
    return records


def craft(images: list[ImageRecord], recipe: str = "shift + mi") -> FolderReport:
    """Craft into one folder, with one image of two deleted before where it was there."""
    folder = images[0].path.parent / "out"
    (folder / "0.png").unlink(missing_ok=True)
    return craft_folder(MODEL, images, folder, AttackConfig.resolve(recipe, steps=2), trust_labels=True)


CHANGES: dict[str, dict[str, Any]] = {
    "code": {"files": written(more="\nBIAS = 3\n")},
    "a helper in another module": {"files": written(amount=2)},
    "a default": {"files": written(default=4)},
    "the version": {"version": "1.1"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_part_is_refused_with_its_name_and_its_package(
    packages: Packages, images: list[ImageRecord], change: str
) -> None:
    packages.install("my_parts", written())
    first = craft(images)
    assert first.manifest["settings"]["code"]["shift"]["distribution"] == "my_parts"
    packages.install("my_parts", **{"files": written(), **CHANGES[change]})
    with pytest.raises(StoreError, match=r"the code of shift \(my_parts 1\.0") as caught:
        craft(images)
    assert "pixels" not in caught.value.message  # one reason, not two
    packages.install("my_parts", written())
    again = craft(images)
    assert (again.made, again.kept) == (1, 1)
    assert again.records == first.records


@pytest.mark.parametrize(
    "files",
    [
        {"my_parts/shift.py": "# a comment\n\n" + SHIFT.format(name="shift", default=3, helper="my_parts.helper")},
        {"my_parts/unrelated.py": "x = 77\n"},
        {"my_parts/tests/test_it.py": "assert True\n"},
        {"other_module.py": "x = 1\n"},
    ],
    ids=["a comment", "a module that is not imported", "its tests", "another package"],
)
def test_what_the_part_does_not_reach_may_change(
    packages: Packages, images: list[ImageRecord], files: dict[str, str]
) -> None:
    packages.install("my_parts", written())
    craft(images)
    packages.install("my_parts", {**written(), **files})
    assert craft(images).kept == 1


def test_only_parts_of_others_are_recorded_and_folders_without_them_go_on(images: list[ImageRecord]) -> None:
    assert "code" not in craft(images, "linbp(start=0) + di(scale=1.5) + mi").manifest["settings"]


def test_a_folder_whose_code_was_not_recorded_goes_on(packages: Packages, images: list[ImageRecord]) -> None:
    packages.install("my_parts", written())
    craft(images)
    path = images[0].path.parent / "out" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["settings"]["code"]
    path.write_text(json.dumps(manifest))
    assert craft(images).kept == 1


RECIPE = '''
from linbp.attack import Momentum
from linbp.registry import register

def heavy(*, decay={}):
    """Momentum."""
    return (Momentum(decay=decay),)

register("recipe", "heavy", heavy)
'''


def test_a_named_recipe_of_a_package_counts_too(packages: Packages, images: list[ImageRecord]) -> None:
    packages.install("my_recipes", {"my_recipes.py": RECIPE.format(0.9)})
    craft(images, "heavy")
    packages.install("my_recipes", {"my_recipes.py": RECIPE.format(0.8)})
    with pytest.raises(StoreError, match=r"the code of heavy"):
        craft(images, "heavy")


def test_a_changed_default_is_refused_also_where_no_code_was_recorded(
    packages: Packages, images: list[ImageRecord]
) -> None:
    packages.install("my_recipes", {"my_recipes.py": RECIPE.format(0.9)})
    craft(images, "heavy")
    path = images[0].path.parent / "out" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["settings"]["code"]
    path.write_text(json.dumps(manifest))
    packages.install("my_recipes", {"my_recipes.py": RECIPE.format(0.8)})
    with pytest.raises(StoreError, match=r"mi\(decay=0\.9\).*mi\(decay=0\.8\)"):
        craft(images, "heavy")


def test_the_rule_of_a_surrogate_counts_too(packages: Packages) -> None:
    packages.install("my_parts", {"my_parts.py": RULE.format(factor=0.5)})
    from linbp.registry import find

    rule = find("half")[1]()
    assert code_of_parts(Recipe.parse("mi"), linbp.Surrogate(MODEL, rule).rules).keys() == {"half"}
    assert code_of_parts(Recipe.parse("half + mi")).keys() == {"half"}


class Unregistered:
    """A rule that a script hands to its surrogate, and no recipe can name."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def plan(self, structure: Structure) -> Plan:
        return Plan(edges={one.index: Scale(self.factor) for one in structure.junctions})


def test_a_rule_that_is_no_part_is_recorded_with_its_attributes(images: list[ImageRecord]) -> None:
    def run(factor: float) -> FolderReport:
        surrogate = linbp.Surrogate(MODEL, Unregistered(factor))
        config = AttackConfig.resolve("mi", steps=2)
        return craft_folder(surrogate, images, images[0].path.parent / "out", config, trust_labels=True)

    settings = run(0.5).manifest["settings"]
    assert settings["surrogate"]["rules"] == ["Unregistered(factor=0.5)"]
    assert settings["code"].keys() == {"Unregistered"}
    with pytest.raises(StoreError, match=r"factor=0\.25"):
        run(0.25)


RULE = '''
from linbp.graph import Plan, Scale
from linbp.registry import part

@part("rule", "half")
class Half:
    """Half the gradient of each branch."""

    def plan(self, structure):
        return Plan(edges={{one.index: Scale({factor}) for one in structure.junctions}})
'''


def test_a_file_that_was_loaded_by_its_path_is_known_by_its_text_and_not_by_its_place(
    packages: Packages, tmp_path: Path
) -> None:
    def loaded(folder: str, amount: int) -> str:
        home = tmp_path / folder
        home.mkdir()
        (home / "mine.py").write_text(SHIFT.format(name="shift", default=3, helper="beside"))
        (home / "beside.py").write_text(HELPER.format(amount))
        spec = importlib.util.spec_from_file_location(f"a_name_for_{folder}", home / "mine.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        sys.path.insert(0, str(home))
        try:
            spec.loader.exec_module(module)
            return str(code_of_parts(Recipe.parse("shift"))["shift"]["code_sha256"])
        finally:
            sys.path.remove(str(home))
            for name in ("beside", spec.name):
                del sys.modules[name]
            packages.forget()

    first = loaded("a", 1)
    assert loaded("b", 1) == first
    assert loaded("c", 2) != first


CELL = '''
STRENGTH = {strength}

def amount():
    return STRENGTH * {factor}

@part("transform", "cell")
class Cell(Transform):
    """Rolls the image."""
    pixels: int = {default}

    def apply(self, images, context, draws, copy):
        return images.roll(self.pixels * amount(), {axis})
'''


def cell(monkeypatch: pytest.MonkeyPatch, *, text: bool, comment: str = "", **values: int) -> str:
    """The hash of a part that was defined in `__main__`, with or without a text that can be read back."""
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    source = CELL.format(**{"strength": 2, "factor": 3, "default": 1, "axis": -1, **values}) + comment
    file = f"<ipython-input-{hash(source)}>"
    if text:
        monkeypatch.setitem(linecache.cache, file, (len(source), None, source.splitlines(keepends=True), file))
    exec("from linbp.attack import Transform\nfrom linbp.registry import part\n", vars(main))
    exec(compile(source, file, "exec"), vars(main))
    return str(code_of_parts(Recipe.parse("cell + mi"))["cell"]["code_sha256"])


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("text", [True, False], ids=["notebook", "no text"])
def test_a_part_of_a_script_or_a_notebook_is_known_by_what_it_reaches(
    monkeypatch: pytest.MonkeyPatch, text: bool
) -> None:
    first = cell(monkeypatch, text=text)
    assert cell(monkeypatch, text=text) == first
    assert cell(monkeypatch, text=text, comment="\n# a comment\nunrelated = 3\n") == first
    for name in ("strength", "factor", "default", "axis"):
        assert cell(monkeypatch, text=text, **{name: 7}) != first, name
