"""Writes what the pages of results show: the tables between their marks, and the pictures.

Everything comes from the CSVs under `docs/tables`, and those from the studies' tables of results; `pages.toml` says
what is shown where.

    python experiments/pages.py              # tables and pictures
    python experiments/pages.py --compute    # computes the CSVs first (some minutes)
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import charts
from study import FLIPS, TABLES, Row, Study, difference_rows, rate_rows, read_csv, write_csv

from linbp.bench.suite import tomllib
from linbp.data.files import write_atomically
from linbp.evaluation.statistics import SATURATED, Interval

DOCS = TABLES.parent
SHOWN: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
"""What is shown where."""
SIGNIFICANT = 0.05
NUMBERS = {"features.23": 7, "layer3.0": 9}
"""The sites that positions of the paper's kind are."""


def rows_of(study: str, **keys: str) -> list[Row]:
    """The rows of a table of rates with these texts in the columns of these names."""
    return [row for row in read_csv(study) if all(row[name] == text for name, text in keys.items())]


def row_of(study: str, **keys: str) -> Row:
    """The one row of them."""
    found = rows_of(study, **keys)
    if len(found) != 1:
        raise KeyError(f"docs/tables/{study}.csv has {len(found)} rows with {keys}")
    return found[0]


def small(found: Any, form: str, to: str = "-", mark: str = "", unit: float = 1) -> str:
    """A figure (`value`, `low`, `high`, in a unit), a mark, and the interval in small print; nothing where none is."""
    if found.value is None:
        return ""
    value, low, high = (format(unit * one, form) for one in (found.value, found.low, found.high))
    return f"{value}{mark} <small>{low}{to}{high}</small>"


def bold(text: str) -> str:
    """The same with its figure in bold."""
    figure, space, rest = text.partition(" ")
    return f"**{figure}**{space}{rest}"


def interval(row: Row, name: str) -> Interval:
    """A figure of a CSV and its interval."""
    return Interval(value=float(row[name]), low=float(row[f"{name}_low"]), high=float(row[f"{name}_high"]))


def cell(row: Row, name: str, digits: int) -> str:
    """A rate in per cent with its interval; a dagger marks one that does not tell attacks apart."""
    if not row.get(name):
        return ""
    found = interval(row, name)
    return small(found, f".{digits}f", mark="†" if found.value > 100 * SATURATED and name != "mean" else "")


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """A table; the first columns stand on the left, the others on the right."""
    rules = ["---" if column < left else "---:" for column in range(len(heads))]
    return ["| " + " | ".join(heads) + " |", "|" + "|".join(rules) + "|", *("| " + " | ".join(r) + " |" for r in rows)]


def victims(about: Mapping[str, Any]) -> list[str]:
    """A row for each attack, with its mean and every victim."""
    rows = [row_of(about["study"], **row["attack"]) for row in about["rows"]]
    names = [name for name in about["victims"] if any(row.get(name) for row in rows)]
    heads = [*about["heads"], "gradients", "mean", *(about["victims"][name] for name in names)]
    body = [
        [*said["label"], row["gradients"], bold(cell(row, "mean", 1))] + [cell(row, name, 0) for name in names]
        for said, row in zip(about["rows"], rows, strict=True)
    ]
    return markdown(heads, body, left=len(about["heads"]))


def means(about: Mapping[str, Any]) -> list[str]:
    """Means over victims: the cells of a row differ in what its columns say of the attack; some may have none."""
    body = []
    for row in about["rows"]:
        cells = []
        for column in about["columns"]:
            keys = {**about.get("attack", {}), **row.get("attack", {}), **column["attack"]}
            keys = {name: text.format(**row.get("fill", {}), **column.get("fill", {})) for name, text in keys.items()}
            study = keys.pop("study", about.get("study", ""))
            cells.append(cell(row_of(study, **keys), "mean", 1) if rows_of(study, **keys) else "")
        if not any(cells):
            raise KeyError(f"docs/tables has no attack for the row {row['label']}")
        body.append([*row["label"], *cells])
    return markdown([*about["heads"], *(column["label"] for column in about["columns"])], body, len(about["heads"]))


def short(recipe: str) -> str:
    """A recipe without the place that every surrogate has its own of."""
    text = re.sub(r"\(at=[\w.]+\)|start=(?:features|layer)[\w.]+", "", recipe)
    return text.replace("()", "").replace("(, ", "(")


def differences(about: Mapping[str, Any]) -> list[str]:
    """A row for each pair of recipes at a radius, a column for each surrogate; bold where p is below 0.05."""
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for column in about["columns"]:
        for row in rows_of(f"{about['study']}-differences", **column["attack"]):
            pair = [row["recipe"], row["against"]]
            if row["eps"] in about["eps"] and pair in about.get("pairs", [pair]):
                text = small(interval(row, "difference"), "+.1f", " to ")
                cells = rows.setdefault((row["eps"], short(row["recipe"]), short(row["against"])), {})
                cells[column["label"]] = bold(text) if float(row["p"]) < SIGNIFICANT else text
    labels = [column["label"] for column in about["columns"]]
    body = [
        [eps, f"`{one}`", f"`{other}`", *(cells.get(label, "") for label in labels)]
        for (eps, one, other), cells in rows.items()
    ]
    return markdown(["eps", "recipe", "against", *labels], body, left=3)


def point(row: Row) -> dict[str, float]:
    """A mean and its interval, as a mark of a picture."""
    found = interval(row, "mean")
    return {"mean": found.value, "low": found.low, "high": found.high}


def dots(about: Mapping[str, Any]) -> Any:
    """A picture with a row for each attack."""
    panels = []
    for panel in about["panels"]:
        rows = [
            {"label": label, "kind": KINDS["linbp" in recipe]}
            | point(row_of(about["study"], **panel["attack"], recipe=recipe))
            for label, recipe in panel["recipes"].items()
        ]
        panels.append((panel["title"], sorted(rows, key=lambda row: -row["mean"])))
    return charts.dots(panels, about.get("low", 0))


def lines(about: Mapping[str, Any]) -> Any:
    """A picture with curves: a series has the rows that its pattern fits, whose group is the number on the axis."""
    panels = []
    for panel in about["panels"]:
        rows = []
        for row in rows_of(about["study"], **panel["attack"]):
            for kind, pattern in panel["series"].items():
                if found := re.fullmatch(pattern, f"{row['surrogate']} | {row['recipe']} | {row['steps']}"):
                    rows.append({"x": int(NUMBERS.get(found[1], found[1])), "kind": kind} | point(row))
        panels.append((panel["title"], rows))
    return charts.lines(
        panels, about["axis"], domain=(0, about.get("top", 100)), logarithmic=about.get("logarithmic", False)
    )


def contest(about: Mapping[str, Any]) -> list[str]:
    """The first comparison of each table: its best attack with LinBP against its best one without."""
    body = []
    for label, (study, table) in about["tables"].items():
        row = next(row for row in read_csv(f"{study}-differences") if row["table"] == table)
        pair = [(row[name], row[f"{prefix}steps"]) for name, prefix in (("recipe", ""), ("against", "against_"))]
        sides = [row_of(study, table=table, recipe=recipe, steps=steps) for recipe, steps in pair]
        told = small(interval(row, "difference"), "+.1f", " to ")
        shown = [text for side in sides for text in (f"`{side['recipe']}`", cell(side, "mean", 1))]
        body.append([label, row["n"], *shown, bold(told) if float(row["p"]) < SIGNIFICANT else told])
    return markdown([about["head"], "images", "best with LinBP", "mean", "best without", "mean", "difference"], body, 1)


def ranking(about: Mapping[str, Any]) -> list[str]:
    """Every recipe of some tables with its means, in the order of the table that `by` names."""
    rows: dict[str, dict[str, str]] = {}
    for label, (study, table) in sorted(about["tables"].items(), key=lambda one: one[0] != about["by"]):
        for row in rows_of(study, table=table):
            rows.setdefault(row["recipe"], {})[label] = cell(row, "mean", 1)
    body = [[f"`{recipe}`", *(cells.get(label, "") for label in about["tables"])] for recipe, cells in rows.items()]
    return markdown(["recipe", *about["tables"]], body)


def curves(about: Mapping[str, Any]) -> Any:
    """A picture with a plot for each surrogate: the ten attacks with the highest means of all, at each budget."""
    panels = []
    for panel in about["panels"]:
        rows = [row for name in panel["studies"] for row in read_csv(name) if row["surrogate"] == panel["surrogate"]]
        best = [*dict.fromkeys(row["recipe"] for row in sorted(rows, key=lambda row: -float(row["mean"])))][:10]
        shown = [
            {"x": int(row["gradients"]) * 1.03 ** (place - 4.5), "kind": recipe}  # side by side
            | {"family": KINDS["linbp" in recipe]}
            | point(row)
            for place, recipe in enumerate(best)
            for row in rows
            if row["recipe"] == recipe
        ]
        panels.append((panel["title"], shown))
    return charts.curves(panels, about["axis"], about["ticks"])


KINDS = ("without LinBP", "with LinBP")
TABLE_KINDS = {"victims": victims, "means": means, "differences": differences, "contest": contest, "ranking": ranking}
PICTURE_KINDS = {"dots": dots, "lines": lines, "curves": curves}


def between(page: str, name: str, text: Sequence[str]) -> str:
    """A page whose lines between `<!-- NAME: begin -->` and `<!-- NAME: end -->` are these, indented as the first."""
    found = re.search(
        rf"^( *)<!-- {name}: begin -->\n(?:.*?\n)? *<!-- {name}: end -->$", page, re.DOTALL | re.MULTILINE
    )
    if not found:
        raise KeyError(f"the page has no marks called {name}")
    lines = [f"<!-- {name}: begin -->", "", *text, "", f"<!-- {name}: end -->"]
    block = "\n".join(found[1] + line if line else "" for line in lines)
    return page[: found.start()] + block + page[found.end() :]


def written(name: str, page: str) -> str:
    """A page, whose file has this name, with its tables as they are to be."""
    for kind, make in TABLE_KINDS.items():
        for about in SHOWN[kind]:
            if about["page"] == name:
                page = between(page, about["name"], make(about))
    return page


def write_page(name: str, tables: Mapping[str, Sequence[str]]) -> None:
    """Write tables between their marks on a page."""
    page = (DOCS / name).read_text(encoding="utf-8")
    for mark, table in tables.items():
        page = between(page, mark, table)
    write_atomically(DOCS / name, page.encode())


def compute() -> None:
    """Compute the CSVs from the tables of results, their rows being what they are."""
    for study in map(Study, FLIPS):
        for name, make in ((study.name, rate_rows), (f"{study.name}-differences", difference_rows)):
            write_csv(name, make(study, read_csv(name)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compute", action="store_true", help="compute the CSVs first")
    if parser.parse_args().compute:
        compute()
    for name in sorted({about["page"] for kind in TABLE_KINDS for about in SHOWN[kind]}):
        place = DOCS / name
        write_atomically(place, written(name, place.read_text(encoding="utf-8")).encode())
    for kind, make in PICTURE_KINDS.items():
        for about in SHOWN[kind]:
            charts.save(make(about), DOCS / "images" / about["picture"])


if __name__ == "__main__":
    main()
