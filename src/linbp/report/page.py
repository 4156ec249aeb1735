"""What a page consists of, before it is rendered."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from linbp.report.charts import Chart

__all__ = ["Chapter", "Page"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chapter:
    """A part of the page.

    Attributes:
        ident: of its element; unique on the page.
        title: its heading, and its entry in the contents.
        template: file under `templates`, which is given `chapter`, `report` and what `values` holds.
        values: for the template.
        charts: that it shows, in the template by `chart(...)`.
    """

    ident: str
    title: str
    template: str
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    charts: Sequence[Chart] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """What is on a page: its title, its chapters in their order, and what stands above the title."""

    title: str
    chapters: Sequence[Chapter]
    kicker: str = "linbp report"
