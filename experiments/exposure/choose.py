"""The attacks of a suite, chosen on pilot victims and pilot images, and what the choice does to the others."""

from __future__ import annotations

from answers import Answers, Pair, Run, mean_rate

SIZE, GRADIENTS = 5, 20


def halves(run: Run) -> tuple[slice, slice]:
    """The pilot images and the others."""
    half = len(run.outcomes.images) // 2
    return slice(half), slice(half, None)


def greedy(run: Run) -> list[Pair]:
    """The pairs that add most to the exposure of the pilot, one after the other, of those that a suite can have."""
    left = [pair for pair in run.of_cost(GRADIENTS) if pair[0] in run.data["surrogates"]]
    taken: list[Pair] = []
    for _ in range(SIZE):
        found = {pair: mean_rate(run.answers(*taken, pair, victims="pilot", images=halves(run)[0])) for pair in left}
        taken.append(max(left, key=found.__getitem__))
        left.remove(taken[-1])
    return taken


def compared(run: Run) -> tuple[Answers, Answers, Pair]:
    """On the other victims and images: the suite, and the best single attack of the pilot at the same total cost."""
    chosen = greedy(run)
    (long,) = run.of_cost(SIZE * GRADIENTS)
    if (long[0], long[1].removesuffix("-long")) != chosen[0]:
        raise KeyError(f"the attack of {SIZE * GRADIENTS} gradients is {long}, and the pilot's best is {chosen[0]}")
    five, one = (run.answers(*pairs, victims="others", images=halves(run)[1]) for pairs in (chosen, [long]))
    return five, one, long
