"""Writes which attacks the tables at equal cost hold, and which they compare, from all that a run measured.

There is a table for each surrogate and budget of gradients, the best attack first. Each attack is compared with the
best one of the other kind, with LinBP or without, and with DI + MI; the first comparison is that of both kinds' best.

    cp runs/equal-cost-cifar10/results.parquet experiments/results/equal-cost-cifar10.parquet
    python experiments/equal_cost.py equal-cost-cifar10
    python experiments/pages.py
"""

from __future__ import annotations

import sys

from study import Row, Study, difference_rows, rate_rows, write_csv

BUDGETS = (20, 100, 400)
BASE = "di-mi"
COUNTED = "2:300"
"""The first two photographs are among those on which parameters were chosen."""
FRESH = (
    "24:39 40:67 68:70 71:79 80:82 83:85 86:87 88:107 108:138 139:148 149:155 156:158 159:160 161:173 174:175 176:193 "
    "194:220 221:228 229:230 231:232 233:247 248:280 281:300"
)
"""Of all 300, those that are not among the first 24, on which parameters were chosen, nor among those of the pairs."""


def attacks(study: Study) -> list[Row]:
    """Every attack's row of a table of rates, with what is computed; the best one of a table comes first."""
    asked = []
    for key in study.attacks:
        gradients = study.answers([key])[key].gradients
        budget = next(one for one in BUDGETS if one >= gradients)
        row = {"table": f"{key[0]} {budget}", **dict(zip(("surrogate", "recipe", "eps", "steps"), key, strict=True))}
        counted = {"images": FRESH if "fresh" in study.name else COUNTED}
        asked.append(row if "cifar10" in study.name else {**row, **counted})
    rows = sorted(rate_rows(study, asked), key=lambda row: (-float(row["mean"]), row["recipe"]))
    return sorted(rows, key=lambda row: (row["surrogate"], int(row["table"].rpartition(" ")[2])))


def comparisons(rates: list[Row]) -> list[Row]:
    """The rows of the tables of comparisons, without what is computed."""
    found = []
    for table in dict.fromkeys(row["table"] for row in rates):
        rows = [row for row in rates if row["table"] == table]
        best = {kind: next(row for row in rows if ("linbp" in row["recipe"]) == kind) for kind in (True, False)}
        base = next(row for row in rows if row["recipe"] == BASE)
        rest = [row for row in rows if row not in best.values()]
        found += [_pair(row, best["linbp" not in row["recipe"]], table) for row in (best[True], *rest)]
        found += [_pair(row, base, f"{table}, {BASE}") for row in rows if row is not base]
    return found


def _pair(row: Row, other: Row, table: str) -> Row:
    names = ("surrogate", "recipe", "eps", "steps", "images")
    against = {"against_surrogate": "surrogate", "against": "recipe", "against_steps": "steps"}
    mine = {name: row[name] for name in names if name in row}
    return {"table": table, **mine, **{name: other[of] for name, of in against.items()}}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        study = Study(name)
        rates = attacks(study)
        write_csv(name, rates)
        write_csv(f"{name}-differences", difference_rows(study, comparisons(rates)))
