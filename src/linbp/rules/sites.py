"""Which sites a rule acts on: from a position on, by kind or by number."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from linbp.errors import RecipeError, RuleError
from linbp.graph import Position, Structure, first_site, published_position
from linbp.registry import typed_name
from linbp.validation import one_of

__all__ = ["SelectedSites", "Which", "check_sites", "select_sites"]

Which = Literal["inside", "outside", "all"]

KINDS: dict[Which | None, tuple[str, ...]] = {
    None: ("plain", "in a branch"),
    "inside": ("in a branch",),
    "outside": ("plain",),
    "all": ("plain", "in a branch", "after a sum"),
}


@dataclass(frozen=True, kw_only=True)
class SelectedSites:
    """The sites that a rule acts on.

    Attributes:
        indices: their numbers.
        start: the position that they start from, as the user wrote it or as it was published.
        notes: where a published position comes from.
    """

    indices: frozenset[int]
    start: Position
    notes: tuple[str, ...]


def check_sites(part: Any) -> None:
    """Check a rule's parameter `sites`, a list of numbers or a word, for use in `__post_init__`.

    Raises:
        RecipeError: it is neither.
    """
    if not isinstance(part.sites, list | tuple):
        one_of(part, "sites", ("inside", "outside", "all", None))
        return
    object.__setattr__(part, "sites", tuple(part.sites))
    if not part.sites or not all(type(index) is int for index in part.sites):
        raise RecipeError(
            f"{typed_name(part)}(sites={list(part.sites)}) names no sites.",
            "Give their numbers, such as sites=[3, 5].",
        )


def select_sites(
    rule: str, start: Position | None, which: Which | tuple[int, ...] | None, structure: Structure
) -> SelectedSites:
    """The sites that a rule acts on: this is how `linbp(start=..., sites=...)` is read, for rules of any package.

    Args:
        rule: its name in the grammar, for errors and published positions.
        start: a site's index, a fraction of the sites in [0, 1), a module path, or `default`, the position that was
            published for this rule and architecture; None means `default`.
        which: sites by kind (None: all but gates and those after a sum; `inside` branches; `outside` of them; `all` but
            gates) or by number.
        structure: of the network.

    Raises:
        RuleError: the position matches nothing, no site is left, or a number is out of range.
    """
    start = "default" if start is None else start
    first = first_site(start, structure, rule)
    notes: tuple[str, ...] = ()
    if start == "default":
        found = published_position(structure, rule)
        notes = (f"{rule}: start=default is {found.start} ({found.network}: {found.source})",)
    if isinstance(which, tuple):
        outside = [index for index in which if not first <= index < len(structure.sites)]
        if outside:
            raise RuleError(
                f"There is no site {outside[0]} from {start!r} on: there are {first} to {len(structure.sites) - 1}.",
                "`linbp inspect` lists the sites.",
            )
        return SelectedSites(indices=frozenset(which), start=start, notes=notes)
    reached = structure.sites[first:]
    indices = frozenset(site.index for site in reached if site.kind in KINDS[which])
    if not indices:
        kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(site.kind for site in reached).items())
        raise RuleError(
            f"{rule} reaches no site: from {start!r} (site {first}) on there are only {kinds}.",
            "Start earlier, or choose other sites (sites=all).",
        )
    return SelectedSites(indices=indices, start=start, notes=notes)
