"""The tables that the pages of results show and link, recomputed from the studies' tables of results."""

from __future__ import annotations

from collections import defaultdict
from importlib import import_module as script
from pathlib import Path

import duckdb
import numpy as np
import pytest

pytestmark = [pytest.mark.study, pytest.mark.usefixtures("scripts")]
ROOT = Path(__file__).parents[2]
STUDIES = {"cifar10": ("skips resnet18", "linear vgg19_bn"), "cifar10-wide": ("resnet18", "beside vgg19_bn 0.03")}
"""The studies, and those of their tables that are recomputed with intervals here."""
COMPARED = {"cifar10": "transfer vgg19_bn-early", "cifar10-wide": "resnet18"}
"""A table of comparisons of each study that is recomputed with intervals and p."""


def table(name: str) -> Path:
    path = ROOT / "docs" / "tables" / f"{name}.csv"
    assert path.is_file()
    return path


@pytest.mark.parametrize("name", STUDIES)
def test_rates_and_means_are_those_of_the_rows(name: str) -> None:
    """A second implementation: counted in SQL, without anything of linbp."""
    rows = script("study").read_csv(table(name))
    results = ROOT / "experiments" / "results" / f"{name}.parquet"
    found = duckdb.sql(f"""
        select surrogate, recipe, eps_text, steps, victim, count(*), avg(success::int), any_value(gradients)
        from '{results}' where selected and not white_box and success is not null group by all
    """).fetchall()
    by_attack: dict[tuple[str, ...], dict[str, tuple[int, float, int]]] = defaultdict(dict)
    for surrogate, recipe, eps, steps, victim, images, rate, gradients in found:
        by_attack[surrogate, recipe, eps, str(steps)][victim] = images, rate, gradients
    compared = 0
    for row in rows:
        rates = by_attack[row["surrogate"], row["recipe"], row["eps"], row["steps"]]
        shown = {victim: one for victim, one in rates.items() if victim not in row["without"].split()}
        if any(images != int(row["n"]) for images, _, _ in shown.values()):
            continue  # the table has only those images that all of its attacks were made of
        assert len(shown) >= 4
        for victim, (_, rate, gradients) in shown.items():
            assert float(row[victim]) == pytest.approx(100 * rate, abs=0.0051)
            assert int(row["gradients"]) == gradients
        assert float(row["mean"]) == pytest.approx(100 * np.mean([rate for _, rate, _ in shown.values()]), abs=0.0051)
        compared += 1
    assert compared > 0.8 * len(rows)


@pytest.mark.parametrize(("name", "of"), [(name, of) for name, tables in STUDIES.items() for of in tables])
def test_a_table_is_what_comes_out_of_the_results(name: str, of: str) -> None:
    study = script("study")
    rows = [row for row in study.read_csv(table(name)) if row["table"] == of]
    again = study.rate_rows(study.Study(name), rows)
    assert len(rows) > 1
    assert again == [{head: text for head, text in row.items() if head in again[0]} for row in rows]
    assert not any(text for row in rows for head, text in row.items() if head not in again[0])


@pytest.mark.parametrize("name", COMPARED)
def test_a_table_of_comparisons_is_what_comes_out_of_the_results(name: str) -> None:
    study = script("study")
    rows = [row for row in study.read_csv(table(f"{name}-differences")) if row["table"] == COMPARED[name]]
    assert study.difference_rows(study.Study(name), rows) == rows


def test_an_attack_that_is_not_there_is_named() -> None:
    study = script("study")
    with pytest.raises(KeyError, match=r"no attack .*never"):
        study.Study("cifar10-wide").answers([("resnet18", "never", "0.1", "100")])
