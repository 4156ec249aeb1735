"""A short look at parts of other packages before they are used: linbp promises what it cannot see in their code."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from linbp.attack.config import AttackConfig
from linbp.attack.context import Goal
from linbp.attack.inputs import Inputs
from linbp.attack.loop import attack_batch
from linbp.attack.pool import Pool
from linbp.attack.prepare import Prepared
from linbp.errors import LinbpError, RecipeError
from linbp.registry import home, is_foreign

__all__ = ["check_first_use", "foreign_parts", "kept_random_state", "random_state", "same_state", "unchecked_note"]

STEPS = 2
SHARE = 0.1
"""On a GPU, how many of an image's values may differ: the last digits there depend on the companions of a batch."""

_seen: set[tuple[Any, ...]] = set()
"""Recipes with such parts that were looked at in this process."""


def foreign_parts(prepared: Prepared) -> tuple[type, ...]:
    """The classes of the parts and rules that are not linbp's own."""
    rules = [rule for surrogate in prepared.ensemble.surrogates for rule in surrogate.rules]
    parts = [part for stage in prepared.recipe.stages for part in stage.parts]
    return tuple(dict.fromkeys(type(one) for one in (*rules, *parts) if is_foreign(type(one))))


def unchecked_note(prepared: Prepared) -> list[str]:
    """What results say where these parts were not looked at."""
    found = foreign_parts(prepared)
    return [f"not checked at their first use (--trust-parts): {', '.join(map(home, found))}"] if found else []


def check_first_use(prepared: Prepared, config: AttackConfig, inputs: Inputs, pool: Pool | None) -> None:
    """Refuse parts of other packages that make another image of one than of the same beside another, or each time.

    Once per process and recipe, on the first image: two steps alone, beside another image, and again. The whole of what
    a part has to obey is checked by `linbp.testing`, which its author calls.

    Args:
        prepared: the recipe on its surrogates.
        config: of the attack.
        inputs: at least the first image.
        pool: images to mix in.

    Raises:
        RecipeError: there is such a part, or one that fails, changes its images, or touches global random states.
    """
    found = foreign_parts(prepared)
    key = (found, str(prepared.recipe), prepared.ensemble.device)
    if not found or key in _seen or not len(inputs.images):
        return
    first, (image_id, *_) = slice(0, 1), inputs.ids
    clean, goal = inputs.clean(first, prepared.ensemble), inputs.goal(first, prepared.ensemble.device)
    short = config.of(first).shortened(STEPS)
    names = ", ".join(map(home, found))
    beside = torch.cat([(1 - clean).flip(-1), clean])

    def run(images: torch.Tensor, ids: Sequence[str]) -> torch.Tensor:
        classes = [None if one is None else one.expand(len(images)) for one in (goal.labels, goal.targets)]
        goals = Goal(labels=classes[0], targets=classes[1])  # type: ignore[arg-type]
        return attack_batch(prepared.stages, short, images.clone(), goals, ids, pool=pool)

    before = random_state()
    with kept_random_state(), _blamed(names):
        alone = run(clean, [image_id])
        together = run(beside, [f"beside {image_id}", image_id])[1:]
        again = run(clean, [image_id])
        touched = not same_state(before, random_state())
    for what, other in (("makes another image each time", again), ("depends on the other images of a batch", together)):
        if not _agree(alone, other):
            raise RecipeError(
                f"Of the parts {names} one {what}, so no result of theirs can be made again.",
                "Its randomness comes from `draws`, and sums and norms are taken image by image; "
                "linbp.testing.check_part(...) finds where. --trust-parts (trust_parts=True) goes on all the same.",
            )
    if touched:
        raise RecipeError(
            f"Of the parts {names} one draws from or seeds a global random generator (torch, numpy or random).",
            "Draw from `draws`, which knows the seed and the image; linbp.testing.check_part(...) checks that. "
            "--trust-parts (trust_parts=True) goes on all the same.",
        )
    _seen.add(key)


def _agree(first: torch.Tensor, second: torch.Tensor) -> bool:
    differing = float((first != second).double().mean())
    return differing <= (0 if first.device.type == "cpu" else SHARE)


@contextlib.contextmanager
def _blamed(names: str) -> Iterator[None]:
    """Errors of other packages' code in words of ours."""
    try:
        yield
    except LinbpError:
        raise
    except Exception as fault:
        reason = next(iter(str(fault).splitlines()), "")
        raise RecipeError(
            f"Of the parts {names} one failed with {type(fault).__name__}: {reason}",
            "linbp.testing.check_part(...) shows where; --debug prints the traceback.",
        ) from fault


State = tuple[Any, ...]


def random_state() -> State:
    """The states of the global random generators: torch's on the CPU, numpy's and Python's."""
    return torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()


def same_state(first: State, second: State) -> bool:
    """Whether two of them are the same."""
    numpy = [(one["state"]["key"].tobytes(), one["state"]["pos"]) for one in (first[1], second[1])]
    return torch.equal(first[0], second[0]) and numpy[0] == numpy[1] and first[2] == second[2]


@contextlib.contextmanager
def kept_random_state() -> Iterator[None]:
    """What happens inside changes no global random generator."""
    torch_state, numpy_state, python_state = random_state()
    restore: list[tuple[Callable[[Any], Any], Any]] = [
        (torch.set_rng_state, torch_state),
        (np.random.set_state, numpy_state),
        (random.setstate, python_state),
    ]
    try:
        yield
    finally:
        for put, state in restore:
            put(state)
