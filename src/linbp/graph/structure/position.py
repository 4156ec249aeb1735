"""From a position as users write it (an index, a fraction, a module path) to the first site there."""

from __future__ import annotations

from linbp.errors import RuleError
from linbp.graph.structure.published import published_position
from linbp.graph.structure.structure import Structure
from linbp.graph.structure.suggestions import suggestions

__all__ = ["Position", "first_site"]

Position = int | float | str
"""`7`: the site of that number. `0.5`: the first site of the last half. `layer3.1`, `default`: see `first_site`."""


def first_site(position: Position, structure: Structure, rule: str = "linbp") -> int:
    """The number of the first site at a position.

    A module path means the first site executed at or after the module's first operation, whether the module holds a
    site or not. `default` is the position that was published for the network's architecture.

    Args:
        position: an index from 0, a fraction in [0, 1), a module path, or `default`.
        structure: of the network.
        rule: whose published position `default` is.

    Raises:
        RuleError: there is no such site; the hint says what there is.
    """
    sites, entries = structure.sites, structure.entries
    if not sites:
        raise RuleError(
            "The network has no activation that is known as a site.",
            "LinBP needs activations (ReLU, GELU, SiLU, ...): use a recipe without a backward rule.",
        )
    if isinstance(position, bool) or not isinstance(position, int | float | str):
        raise RuleError(f"{position!r} is not a position.", "Give an index, a fraction in [0, 1) or a module path.")
    if isinstance(position, int):
        if 0 <= position < len(sites):
            return position
        raise RuleError(
            f"There is no site {position}: the network has {len(sites)} sites, 0 to {len(sites) - 1}.",
            "`linbp inspect` lists them.",
        )
    if isinstance(position, float):
        if 0 <= position < 1:
            return int(position * len(sites))
        raise RuleError(f"The fraction {position} is outside [0, 1).", "0.5 starts in the middle of the sites.")
    if position == "auto":
        raise RuleError(
            "start=auto cannot be chosen here: that is done on the images of a job, by networks that it asks.",
            "Give a position; in craft's --recipe, --proxy MODEL chooses one (linbp.choose_start in Python).",
        )
    if position == "default":
        position = published_position(structure, rule).start
    if position not in entries:
        raise RuleError(f"The network runs no module called {position!r}.", suggestions(position, entries))
    at = entries[position]
    for site in sites:
        if structure.ranks[site.node] >= at:
            return site.index
    last = sites[-1]
    raise RuleError(
        f"No site is executed at or after {position!r}.",
        f"The last of the {len(sites)} sites is {last.index} ({last.op} in {last.module_path or 'the root module'}).",
    )
