"""Which sites a rule acts on: from a position on, by kind or by number."""

from __future__ import annotations

from typing import Any, Literal

from linbp.errors import RecipeError, RuleError
from linbp.graph import Position, Site, Structure, first_site, published_position
from linbp.registry import grammar_name
from linbp.validation import one_of

__all__ = ["Which", "begin", "check_sites", "choose", "meant"]

Which = Literal["inside", "outside", "all"]

ALLOWED: dict[Which | None, tuple[str, ...]] = {
    None: ("plain", "in a branch"),
    "inside": ("in a branch",),
    "outside": ("plain",),
    "all": ("plain", "in a branch", "after a sum"),
}


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
            f"{grammar_name(part)}(sites={list(part.sites)}) names no sites.",
            "Give their numbers, such as sites=[3, 5].",
        )


def meant(start: Position | None) -> Position:
    """The position that a rule's `start` means: the published one where none is given."""
    return "default" if start is None else start


def begin(rule: str, start: Position, structure: Structure) -> tuple[int, tuple[str, ...]]:
    """The first site that a rule's `start` means, and what the user should know of how it was found.

    Raises:
        RuleError: no site is meant.
    """
    first = first_site(start, structure, rule)
    if start != "default":
        return first, ()
    found = published_position(structure, rule)
    return first, (f"{rule}: start=default is {found.start} ({found.network}: {found.source})",)


def choose(
    rule: str, which: Which | tuple[int, ...] | None, start: Position, first: int, structure: Structure
) -> set[int]:
    """The numbers of the sites that a rule acts on.

    Args:
        rule: its name, for errors.
        which: sites by kind (None: all but gates and those after a sum) or by number.
        start: what the user wrote, for errors.
        first: the number of the site that it means.
        structure: of the network.

    Raises:
        RuleError: there are none, or a number is out of range.
    """
    if isinstance(which, tuple):
        outside = [index for index in which if not first <= index < len(structure.sites)]
        if outside:
            raise RuleError(
                f"There is no site {outside[0]} from {start!r} on: there are {first} to {len(structure.sites) - 1}.",
                "`linbp inspect` lists the sites.",
            )
        return set(which)
    chosen = {site.index for site in structure.sites[first:] if site.kind in ALLOWED[which]}
    if not chosen:
        raise RuleError(
            f"{rule} reaches no site: from {start!r} (site {first}) on there are only "
            f"{_kinds(structure.sites[first:])}.",
            "Start earlier, or choose other sites (sites=all).",
        )
    return chosen


def _kinds(sites: tuple[Site, ...]) -> str:
    return ", ".join(f"{sum(s.kind == kind for s in sites)} {kind}" for kind in dict.fromkeys(s.kind for s in sites))
