"""What authors call."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from linbp.attack.ensemble import Attackable
from linbp.attack.pool import Pool
from linbp.errors import LinbpError, nearest_name
from linbp.graph import Rule, Surrogate
from linbp.registry import is_part
from linbp.registry.grammar import build, parse_stages
from linbp.testing.checks import CHECKS
from linbp.testing.networks import small_surrogate
from linbp.testing.rule_checks import RULE_CHECKS
from linbp.testing.trial import Trial

__all__ = ["PartError", "check_part", "check_rule"]


class PartError(AssertionError):
    """A part or a rule breaks a promise; `check` is the name of the check that found it."""

    def __init__(self, what: str, check: str, why: str) -> None:
        super().__init__(f"{what} fails the check {check!r}: {why}.")
        self.check = check


def check_part(
    part: Any,
    *,
    beside: str = "",
    model: Attackable | None = None,
    images: torch.Tensor | None = None,
    labels: torch.Tensor | None = None,
    pool: Pool | None = None,
    steps: int | None = None,
    skip: Collection[str] = (),
) -> None:
    """Check that a part keeps what linbp promises of every attack: it takes a second on a small network in float64.

    | check | a part that fails it |
    |---|---|
    | `text` | is not read back from its own text, or has no docstring |
    | `pickle` | cannot go to a worker |
    | `shape` | is a transform that changes shape, dtype or device |
    | `gradient` | lets no gradient through, or one that is not finite |
    | `finite` | divides by a norm that is 0, or overflows |
    | `budget` | leaves the ball or the 8-bit grid, or changes no image |
    | `random state` | uses torch's, numpy's or Python's own generator |
    | `repeatability` | makes another image each time |
    | `batch` | makes another image of one where others are beside it |
    | `float32` | works in float64 only |
    | `caller` | changes the caller's images, weights or settings |
    | `effect` | changes nothing |
    | `cost` | takes another number of gradients than it says |

    Args:
        part: an instance, a class (its defaults), or the text of one part, such as `shift(pixels=2)`.
        beside: further parts of the recipe, as text, for a part that does nothing alone.
        model: the surrogate; by default a small network with residual blocks, a max-pool and attention.
        images: (N, C, H, W) in uint8, at least three, with `labels`; by default four of the small network's.
        labels: (N,).
        pool: images to mix in.
        steps: of the attack; by default four, or as many as the part needs.
        skip: names of checks that are left out; say why beside it.

    Raises:
        PartError: the first check that fails, with the reason.
        ValueError: `skip` names no check.
    """
    _known(skip, CHECKS)
    made = _instance(part)
    if made.kind == "rule":
        check_rule(
            made, model=None if model is None else _surrogate(model), skip=[one for one in skip if one in RULE_CHECKS]
        )
    trial = Trial.of(made, beside=beside, model=model, images=images, labels=labels, pool=pool, steps=steps)
    for name, check in CHECKS.items():
        if name not in skip:
            _run(str(trial.recipe), name, lambda check=check: check(trial))


def check_rule(rule: Rule | str, *, model: Surrogate | None = None, skip: Collection[str] = ()) -> None:
    """Check a backward rule on a network: the forward pass is untouched, and gradients are finite and each image's own.

    A rule that is registered goes through `check_part` as well, which calls this.

    | check | a rule that fails it |
    |---|---|
    | `plan` | plans otherwise when it is asked again |
    | `forward` | changes the logits |
    | `gradient` | gives a gradient that is zero everywhere or not finite |
    | `batch` | gives another gradient to an image where others are beside it |
    | `finite` | gives NaN where the gradient is zero, tiny or huge |
    | `effect` | gives the ordinary gradient |

    Args:
        rule: the rule, or its text.
        model: a captured network that it fits; by default a small one with residual blocks, a max-pool and attention.
        skip: names of checks that are left out.

    Raises:
        PartError: the first check that fails, with the reason.
        ValueError: `skip` names no check.
    """
    _known(skip, RULE_CHECKS)
    made = _instance(rule) if isinstance(rule, str | type) else rule
    surrogate = small_surrogate() if model is None else model
    for name, check in RULE_CHECKS.items():
        if name not in skip:
            _run(repr(made), name, lambda check=check: check(made, surrogate))


def _known(skip: Collection[str], checks: Collection[str]) -> None:
    unknown = [name for name in skip if name not in {*CHECKS, *checks}]
    if unknown:
        raise ValueError(f"There is no check {unknown[0]!r}. {nearest_name(unknown[0], checks)}")


def _run(what: str, name: str, check: Any) -> None:
    try:
        check()
    except AssertionError as fault:
        raise PartError(what, name, str(fault)) from fault
    except LinbpError as fault:
        raise PartError(what, name, f"it is refused: {fault.message} {fault.hint}".rstrip(". ")) from fault
    except Exception as fault:
        raise PartError(what, name, f"{type(fault).__name__}: {fault}".rstrip(". ")) from fault


def _instance(part: Any) -> Any:
    """The part that a class, a text or an instance means."""
    if isinstance(part, str):
        made = [build(term) for stage in parse_stages(part) for term in stage]
        parts = [one for some in made for one in (some if isinstance(some, tuple) else (some,))]
    else:
        parts = [part() if isinstance(part, type) else part]
    if len(parts) != 1 or not is_part(parts[0]):
        raise TypeError(f"{part!r} is not one part: give an instance, its class or its text, such as 'di(scale=1.2)'")
    return parts[0]


def _surrogate(model: Attackable) -> Surrogate | None:
    return model if isinstance(model, Surrogate) else None
