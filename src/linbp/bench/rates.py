"""The success rate of every attack on every victim, from a table of results."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from linbp.evaluation.statistics import Rate, rate

__all__ = ["RateLine", "rates_of"]

NAMES = ["surrogate", "recipe", "eps_text", "victim"]
GROUP = [*NAMES, "gradients", "white_box"]


@dataclasses.dataclass(frozen=True)
class RateLine:
    """How one attack, of so many gradients an image, fared on one victim, over the images that count.

    `white_box`: the victim has the surrogate's weights.
    """

    surrogate: str
    recipe: str
    eps: str
    gradients: int
    victim: str
    white_box: bool
    rate: Rate

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


def rates_of(table: pa.Table) -> list[RateLine]:
    """One line for each attack and victim, in the order of the table."""
    counted = pc.and_(table["selected"], pc.is_valid(table["success"]))
    columns = [table[name].cast(pa.string()) if name in NAMES else table[name] for name in GROUP]
    numbers = [counted.cast(pa.int64()), pc.and_(counted, table["success"].fill_null(False)).cast(pa.int64())]
    grouped = pa.table([*columns, *numbers], names=[*GROUP, "n", "successes"]).group_by(GROUP, use_threads=False)
    found = grouped.aggregate([("n", "sum"), ("successes", "sum")]).to_pylist()
    return [
        RateLine(
            row["surrogate"],
            row["recipe"],
            row["eps_text"],
            row["gradients"],
            row["victim"],
            row["white_box"],
            rate(row["successes_sum"], row["n_sum"]),
        )
        for row in found
    ]
