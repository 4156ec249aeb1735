"""The answers that both questions are put to, as arrays.

They are kept from runs:

    python experiments/exposure/answers.py imagenet runs/exposure-imagenet runs/exposure-imagenet-long
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from study import Found

from linbp.bench.suite import tomllib
from linbp.bench.table import read_results
from linbp.evaluation.statistics import Attack, Outcomes

RESULTS = Path(__file__).parents[1] / "results" / "exposure"
DATA: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("data.toml").read_text(encoding="utf-8"))
NAMES: dict[str, str] = DATA.pop("names")
"""What tables call networks."""
COLUMNS = [
    *("image_id", "file", "label", "victim", "white_box", "selected", "success", "clean_prediction", "adv_prediction"),
    *(field.name for field in dataclasses.fields(Attack)),
]
Pair = tuple[str, str]
"""Surrogate and recipe, by their names in the suite."""


class Run:
    """A table of results of `experiments/suites/exposure-*.toml`, whose columns are those of a run or fewer.

    Attributes:
        data: what `data.toml` says of the images and networks.
        outcomes: the table.
        attacks: by surrogate and recipe, their numbers in it.
    """

    def __init__(self, name: str) -> None:
        self.data = DATA[name]
        self.outcomes = Outcomes(pq.read_table(RESULTS / f"{name}.parquet"))
        self.attacks = {(one.surrogate, one.recipe): n for n, one in enumerate(self.outcomes.attacks)}

    def answers(self, *pairs: Pair, victims: str = "", images: slice = slice(None)) -> Found:
        """Of several attacks together, of all victims, `pilot` or `others`; a victim's own weights do not count."""
        several = []
        for number in (self.attacks[pair] for pair in pairs):
            several.append(self.outcomes.answers(number))
            several[-1][self.outcomes.white_box[number]] = -1
        rows = [self.outcomes.victims.index(name) for name in self.data[victims]] if victims else slice(None)
        return np.max(several, axis=0)[rows][:, images]  # type: ignore[no-any-return]

    def of_cost(self, gradients: int) -> list[Pair]:
        """The attacks that take so many gradients an image."""
        return [pair for pair, number in self.attacks.items() if self.outcomes.attacks[number].gradients == gradients]


def mean_rate(answers: Found) -> float:
    """Mean over victims, in per cent, of the share of counted images; victims without any are left out."""
    counted, won = (answers >= 0).sum(axis=1), (answers == 1).sum(axis=1)
    return 100 * float((won[counted > 0] / counted[counted > 0]).mean())


def main() -> None:
    name, *runs = sys.argv[1:]
    table = pa.concat_tables([read_results(run).select(COLUMNS) for run in runs]).unify_dictionaries()
    pq.write_table(table, RESULTS / f"{name}.parquet", compression="zstd")


if __name__ == "__main__":
    main()
