"""Two attacks, or two versions of a victim: runs or folders of adversarial images, paired by image."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from linbp.bench.results_at import results_at
from linbp.data.files import MANIFEST
from linbp.errors import ModelError, nearest_name
from linbp.evaluation.statistics import Outcomes, Pair, compare_tables
from linbp.jobs.progress import ProgressCallback

if TYPE_CHECKING:
    from linbp.bench.cached_predictions import CachedPredictions

__all__ = ["Compared", "compare"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared:
    """Two sides and what pairs them.

    Attributes:
        first, second: what was compared, as given.
        pairs: attacks and victims, and at the end means over victims.
        images: how many images they have in common.
    """

    first: str
    second: str
    pairs: tuple[Pair, ...]
    images: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "first": self.first,
            "second": self.second,
            "images": self.images,
            "pairs": [dataclasses.asdict(pair) for pair in self.pairs],
        }


def compare(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    victims: Sequence[str] = (),
    second_victims: Sequence[str] = (),
    data: str | os.PathLike[str] | None = None,
    batch_size: int = 32,
    device: str | None = None,
    threads: int = 4,
    progress: ProgressCallback | None = None,
) -> Compared:
    """How the second differs from the first, image by image.

    Args:
        first, second: a run's folder or URL, its table of results, or a folder that `craft` made.
        victims: networks that are asked about folders of adversarial images; of runs, which of their victims count.
        second_victims: those of the second where they are others, such as a new version of a network; default: the
            same.
        data: the clean images of folders, if they were moved.
        batch_size: images at a time.
        device: where networks run.
        threads: that decode images.
        progress: called as every stage goes on.

    Raises:
        StoreError: there is nothing to compare at a place, or the two have no images, victims or attacks in common.
        ModelError: a folder without a victim, or a victim that cannot be loaded or that a run does not have.
    """
    ask = _Ask(data, batch_size, device, threads, progress)
    sides = [
        ask.outcomes(os.fspath(first), victims),
        ask.outcomes(os.fspath(second), second_victims or victims),
    ]
    pairs = compare_tables(*sides)
    images = len(set(sides[0].images) & set(sides[1].images))
    return Compared(first=os.fspath(first), second=os.fspath(second), pairs=pairs, images=images)


class _Ask:
    """Reads runs, and asks victims about folders; a victim is loaded once, and asked once about a clean image."""

    def __init__(
        self,
        data: str | os.PathLike[str] | None,
        batch_size: int,
        device: str | None,
        threads: int,
        progress: ProgressCallback | None,
    ) -> None:
        self._options: dict[str, Any] = {
            "data": data,
            "batch_size": batch_size,
            "threads": threads,
            "progress": progress,
        }
        self._device = device
        self._loaded: dict[str, CachedPredictions] = {}

    def outcomes(self, place: str, victims: Sequence[str]) -> Outcomes:
        """What stands at a place, in arrays."""
        if (Path(place) / MANIFEST).is_file():
            return self._of_folder(place, victims)
        _, table = results_at(place)
        if victims:
            known = table["victim"].unique().to_pylist()
            for name in victims:
                if name not in known:
                    raise ModelError(f"{place} has no victim {name!r}.", nearest_name(name, known))
            table = table.filter(pc.is_in(table["victim"].cast(pa.string()), pa.array(list(victims))))
        return Outcomes(table)

    def _of_folder(self, place: str, victims: Sequence[str]) -> Outcomes:
        from linbp.evaluation import evaluate_folder
        from linbp.evaluation.outcome_table import outcome_table

        if not victims:
            raise ModelError(
                f"{place} is a folder of adversarial images: nothing is known of any victim.",
                "Name the networks that shall be asked: --victim MODEL.",
            )
        networks = [self._network(name) for name in victims]
        found = Outcomes(outcome_table(evaluate_folder(place, networks, **self._options)))
        for network in networks:
            network.reuse = True  # the first folder's images were asked about, and asked again, as always
        return found

    def _network(self, name: str) -> CachedPredictions:
        from linbp.bench.cached_predictions import CachedPredictions
        from linbp.evaluation.predict import load_victim

        if name not in self._loaded:
            self._loaded[name] = CachedPredictions(load_victim(name, self._device), reuse=False)
        return self._loaded[name]
