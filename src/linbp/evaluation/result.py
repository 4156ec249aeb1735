"""One victim's answers to images and their adversarial images."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from linbp.evaluation.records import Record
from linbp.evaluation.statistics import Statistics

if TYPE_CHECKING:
    from linbp.models.queries import Queries

__all__ = ["Evaluation", "Role"]

Role = Literal["victim", "white box", "proxy"]
"""What a network was to the attack: nothing; the surrogate itself; or asked where a rule starts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One victim's answers to images and their adversarial images.

    Attributes:
        victim: the victim's identity: name, SHA-256 of the weights, preprocessing.
        records: one an image.
        statistics: the records in numbers.
        preprocessing: what was done to each image before the victim classified it, in words.
        role: `white box` for the surrogate itself, `proxy` for a network that chose where the rule starts.
        notes: what makes the numbers doubtful or small, in sentences.
        queries: what was asked of a victim that counts it, such as one behind HTTP.
    """

    victim: dict[str, Any]
    records: tuple[Record, ...]
    statistics: Statistics
    preprocessing: str = "its own resizing"
    role: Role = "victim"
    notes: tuple[str, ...] = ()
    queries: Queries | None = None

    @property
    def name(self) -> str:
        """What results call the victim."""
        return str(self.victim["name"])

    def to_dict(self) -> dict[str, Any]:
        """Victim and statistics as plain values, for JSON."""
        return {
            "victim": self.victim,
            "role": self.role,
            "notes": list(self.notes),
            "preprocessing": self.preprocessing,
            "queries": None if self.queries is None else dataclasses.asdict(self.queries),
            **self.statistics.to_dict(),
        }
