"""Parts of other packages: those that break are named and leave the others alone, and a name has one meaning."""

from __future__ import annotations

import warnings
from typing import Any

import numpy
import pytest
from foreign_parts import SHIFT, Packages, packages

from linbp import registry
from linbp.attack import Recipe
from linbp.errors import LinbpWarning, RecipeError
from linbp.registry import distribution_of, find, names, part, register

__all__ = ["packages"]

AMOUNT = "def amount():\n    return 1\n"


def shift(name: str = "shift", home: str = "helper_of_a") -> dict[str, str]:
    """The files of a module with a transform, and of the module beside it."""
    return {f"{home}.py": AMOUNT, f"my_{home[-1]}.py": SHIFT.format(name=name, default=3, helper=home)}


def told() -> list[str]:
    """The warnings of loading the parts of all packages."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        names("transform")
    return [str(one.message) for one in caught if issubclass(one.category, LinbpWarning)]


def test_a_part_of_a_package_is_found_with_its_distribution(
    packages: Packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.install("my_a", shift(), version="2.5")
    assert told() == []
    assert Recipe.parse("shift(pixels=2) + mi").stages[0].transforms[0].pixels == 2  # type: ignore[attr-defined]
    assert distribution_of("my_a") == ("my_a", "2.5")
    assert distribution_of("__main__") is None
    monkeypatch.setattr(registry, "packages_distributions", lambda: {"numpy": ["numpy"]})  # reads all metadata
    assert distribution_of("numpy.linalg") == ("numpy", numpy.__version__)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("import nowhere_to_be_found", "nowhere_to_be_found"),
        ("def (", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("raise RuntimeError('first line\\nsecond line')", "first line"),
        ("x = 1", "registers no part"),
        ("print('loading')", "registers no part"),
    ],
)
def test_a_package_that_cannot_be_imported_is_named_in_one_line(
    packages: Packages, capsys: pytest.CaptureFixture[str], broken: str, reason: str
) -> None:
    packages.install("broken_one", {"broken_one.py": broken}, version="0.3")
    packages.install("my_a", shift())
    (line,) = told()
    assert "broken_one 0.3" in line
    assert reason in line
    assert "\n" not in line
    assert find("shift")[0] == "transform"
    assert capsys.readouterr().out == ""
    assert told() == []  # said once
    with pytest.raises(RecipeError) as caught:
        find("part-of-the-broken-one")
    assert "broken_one 0.3" in caught.value.hint


def test_an_entry_point_without_its_module_or_attribute_is_named(packages: Packages) -> None:
    packages.install("gone", {"gone.py": AMOUNT}, entry="gone.away")
    packages.install("half", {"half.py": AMOUNT}, entry="half:Missing")
    lines = told()
    assert [name in line for name, line in zip(("gone 1.0", "half 1.0"), sorted(lines), strict=True)] == [True, True]


def test_a_name_of_two_packages_is_refused_where_it_is_used(packages: Packages) -> None:
    packages.install("my_a", {**shift(), "other.py": ""})
    packages.install("my_b", shift(home="helper_of_b"))
    (line,) = told()
    for use in (lambda: find("shift"), lambda: Recipe.parse("shift + mi")):
        with pytest.raises(RecipeError) as caught:
            use()
        for home in ("my_a 1.0", "my_b 1.0", "my_a.Shift", "my_b.Shift"):
            assert home in caught.value.message
            assert home in line
    assert Recipe.parse("mi") == Recipe.parse("mifgsm")  # whatever else there is works


@pytest.mark.parametrize("name", ["mi", "di", "linbp", "ifgsm"])
def test_a_package_cannot_take_a_name_of_linbp(packages: Packages, name: str) -> None:
    """Neither of its own kind (a transform, `di`) nor of another, which would come first."""
    before = find(name)
    packages.install("my_a", shift(name))
    (line,) = told()
    assert "my_a 1.0" in line
    assert find(name) == before
    Recipe.parse(name)


def test_the_other_parts_of_a_module_with_a_taken_name_work(packages: Packages) -> None:
    files = shift()
    files["my_a.py"] = SHIFT.format(name="mi", default=1, helper="helper_of_a") + SHIFT.format(
        name="slide", default=1, helper="helper_of_a"
    ).replace("Shift", "Slide")
    packages.install("my_a", files)
    assert len(told()) == 1
    assert find("slide")[0] == "transform"


def define(name: str, size: int, cell: str = "Cell") -> Any:
    """A part as a cell of a notebook defines it."""
    body = {"__annotations__": {"size": int}, "size": size, "__module__": "__main__", "__qualname__": cell}
    return part("transform", name)(type(cell, (), body))


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("transfrom", "fine", "transform"),
        ("transform", "two words", "letters"),
        ("transform", "größer", "ASCII"),
        ("transform", "", "letters"),
        ("transform", "3d", "letter"),
    ],
)
@pytest.mark.usefixtures("packages")
def test_a_wrong_kind_or_name_is_refused(kind: Any, name: str, reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        part(kind, name)(type("Fine", (), {"__module__": "__main__"}))


@pytest.mark.usefixtures("packages")
def test_a_function_is_no_part_and_a_class_needs_its_base() -> None:
    def halve(images: Any) -> Any:
        return images / 2

    with pytest.raises(RecipeError, match=r"halve is no class"):
        part("transform", "halve")(halve)  # type: ignore[arg-type]
    for kind, needs in (("transform", "Transform"), ("objective", "Objective"), ("rule", "plan"), ("start", "first")):
        part(kind, "bare")(type("Bare", (), {"__module__": "__main__", "__qualname__": kind}))  # type: ignore[arg-type]
        with pytest.raises(RecipeError, match=rf"The {kind} bare of __main__\.{kind} .*{needs}"):
            Recipe.parse("bare")
        del registry._registry[kind]["bare"]  # type: ignore[index]


def test_a_cell_of_a_notebook_may_be_run_again_and_another_class_is_refused(packages: Packages) -> None:
    define("cell", 1)
    again = define("cell", 2)
    assert find("cell") == ("transform", again)
    with pytest.raises(RecipeError, match=r"__main__\.Cell.*__main__\.Another"):
        define("cell", 3, "Another")
    with pytest.raises(RecipeError, match=r"linbp\.attack.*__main__\.Another"):
        define("mi", 3, "Another")
    with pytest.raises(RecipeError, match=r"linbp\.attack"):
        register("recipe", "mifgsm", lambda: ())
    packages.install("my_a", shift("cell"))
    define("cell", 1)
    told()
    with pytest.raises(RecipeError, match="my_a"):
        find("cell")
