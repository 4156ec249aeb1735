"""The page of captured architectures counts what its table holds, and a few architectures are captured as it says."""

from __future__ import annotations

import csv
import importlib
from collections import Counter
from pathlib import Path

import pytest
import timm
import torchvision

ROOT = Path(__file__).parents[2]
SMALL = (("timm", "test_vit"), ("timm", "convnext_atto"), ("torchvision", "squeezenet1_1"))


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (ROOT / "docs" / "tables" / "coverage.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def tables_of_the_page() -> list[list[list[str]]]:
    """The cells of each table of the page, without its head."""
    found: list[list[list[str]]] = [[]]
    for line in (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split(" | ")])
        elif found[-1]:
            found.append([])
    return [table[2:] for table in found if table]


def test_the_page_counts_its_table(rows: list[dict[str, str]]) -> None:
    totals, families = tables_of_the_page()
    everything = Counter(row["library"] for row in rows)
    captured = Counter(row["library"] for row in rows if row["outcome"] == "captured")
    tried = Counter(row["library"] for row in rows if row["outcome"] != "not tried")
    equal = Counter(row["library"] for row in rows if row["gradients"] == "equal")
    ruled = Counter(row["library"] for row in rows if row["linbp"] == "yes")
    assert [cells[0].split()[0] for cells in totals] == list(everything)
    for cells in totals:
        library = cells[0].split()[0]
        numbers = [everything[library], tried[library], captured[library], equal[library], ruled[library]]
        assert [int(cells[place]) for place in (1, 2, 3, 5, 6)] == numbers
        assert float(cells[4].rstrip("%")) == pytest.approx(100 * numbers[2] / max(1, numbers[1]), abs=0.051)
    by_family = Counter((row["library"], row["family"], row["outcome"]) for row in rows)
    assert len(families) == len({(library, family) for library, family, _ in by_family})
    for library, family, number, of_them, taken, same, *_ in families:
        of_it = [row for row in rows if (row["library"], row["family"]) == (library, family)]
        assert (int(number), int(taken)) == (len(of_it), by_family[library, family, "captured"])
        assert int(of_them) == len(of_it) - by_family[library, family, "not tried"]
        assert int(same) == sum(row["gradients"] == "equal" for row in of_it)


def test_the_table_has_every_architecture_once(rows: list[dict[str, str]]) -> None:
    names = Counter((row["library"], row["name"]) for row in rows)
    assert max(names.values()) == 1
    known = {"timm": timm.list_models(), "torchvision": torchvision.models.list_models(module=torchvision.models)}
    for library, module in (("timm", timm), ("torchvision", torchvision)):
        listed = {name for where, name in names if where == library}
        versions = {row["versions"].rpartition(" ")[2] for row in rows if row["library"] == library}
        if versions == {module.__version__.partition("+")[0]}:  # another version has other architectures
            assert listed == set(known[library])
    tried = [row for row in rows if row["outcome"] != "not tried"]
    assert all(bool(row["reason"]) == (row["outcome"] != "captured") for row in tried)
    for library, least in (("timm", 0.97), ("torchvision", 1.0)):
        outcomes = [row["outcome"] for row in tried if row["library"] == library]
        assert outcomes.count("captured") >= least * len(outcomes)


@pytest.mark.parametrize(("library", "name"), SMALL)
def test_an_architecture_is_captured_as_its_row_says(
    library: str, name: str, rows: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    coverage = importlib.import_module("capture_coverage")
    (architecture,) = (one for one in coverage.architectures(library) if one.name == name)
    found = coverage.tried(architecture, None)
    row = next(row for row in rows if (row["library"], row["name"]) == (library, name))
    facts = ("outcome", "gradients", "sites", "blocks", "pools", "attentions", "linbp", "side", "parameters")
    assert {fact: str(found[fact]) for fact in facts} == {fact: row[fact] for fact in facts}
    assert found["gradients"] == "equal"
