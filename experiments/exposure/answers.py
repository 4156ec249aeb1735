"""The answers that both questions are put to, as arrays.

They are kept from runs:

    python experiments/exposure/answers.py imagenet runs/exposure-imagenet runs/exposure-imagenet-long
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from linbp.bench.table import read_results
from linbp.evaluation.statistics import Attack, Outcomes

RESULTS = Path(__file__).parents[1] / "results" / "exposure"
COLUMNS = [
    *("image_id", "file", "label", "victim", "white_box", "selected", "success", "clean_prediction", "adv_prediction"),
    *(field.name for field in dataclasses.fields(Attack)),
]
Pair = tuple[str, str]
"""Surrogate and recipe, by their names in the suite."""
Answers = npt.NDArray[np.int8]
"""(victims, images): 1 for a success, 0 for none, -1 where nothing counts: clean images that a victim has wrong, and
attacks on a victim's own weights."""


class Run:
    """A table of results of `experiments/suites/exposure-*.toml`, whose columns are those of a run or fewer.

    Attributes:
        victims: their names.
        images: their names.
        answers: by surrogate and recipe.
        gradients: an image, by surrogate and recipe.
    """

    def __init__(self, path: Path) -> None:
        outcomes = Outcomes(pq.read_table(path))
        self.victims, self.images = tuple(outcomes.victims), tuple(outcomes.images)
        self.answers: dict[Pair, Answers] = {}
        self.gradients: dict[Pair, int] = {}
        for number, attack in enumerate(outcomes.attacks):
            found = outcomes.answers(number)
            found[outcomes.white_box[number]] = -1
            self.answers[attack.surrogate, attack.recipe] = found
            self.gradients[attack.surrogate, attack.recipe] = attack.gradients

    def rows(self, victims: tuple[str, ...]) -> list[int]:
        """Places of some victims."""
        return [self.victims.index(name) for name in victims]


def mean_rate(answers: Answers) -> float:
    """Mean over victims, in per cent, of the share of counted images; victims without any are left out."""
    counted, won = (answers >= 0).sum(axis=1), (answers == 1).sum(axis=1)
    return 100 * float((won[counted > 0] / counted[counted > 0]).mean())


def worst_case(several: list[Answers]) -> Answers:
    """1 where any of them succeeds, -1 where none counts."""
    return np.max(np.stack(several), axis=0)  # type: ignore[no-any-return]


def main() -> None:
    name, *runs = sys.argv[1:]
    table = pa.concat_tables([read_results(run).select(COLUMNS) for run in runs]).unify_dictionaries()
    RESULTS.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, RESULTS / f"{name}.parquet", compression="zstd")


if __name__ == "__main__":
    main()
