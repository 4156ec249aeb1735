"""Which jobs of the CIFAR-10 experiments are compared with a paired test."""

from __future__ import annotations

from dataclasses import replace

from cifar10.jobs import (
    ATTACKED,
    BASIC,
    HALVES,
    LEAPS,
    LINEARISED,
    OTHERWISE,
    RADII,
    RADIUS,
    RESIDUAL,
    SINGLE,
    SKIPPED,
    SOURCE,
    WAYS,
    Job,
    from_site,
    linbp,
    rivals,
    skips,
)

Pair = tuple[Job, Job]


def better_than_rivals() -> list[Pair]:
    """The paper's claim: LinBP's mean lies above those of the others."""
    pairs = []
    for surrogate, radii in ATTACKED.items():
        for eps in radii:
            own = Job(surrogate, linbp(surrogate), eps, 100)
            pairs += [(own, Job(surrogate, recipe, eps, 100)) for recipe in rivals(surrogate)]
            both = Job(surrogate, f"{linbp(surrogate)} + di(scale=8/7) + mi", eps, 100)
            pairs.append((both, Job(surrogate, "mdi2fgsm", eps, 100)))
    return pairs


def at_the_radius() -> list[Pair]:
    """The paper's claim again, between adversarial images that all go as far as they may."""
    own = [pair for pair in better_than_rivals() if pair[0].surrogate in (SOURCE, BASIC) and pair[0].eps == RADIUS]
    return [(replace(one, filled=True), replace(other, filled=True)) for one, other in own]


def ratio_and_gamma() -> list[Pair]:
    """What the ratio buys, and what gamma does, at each depth."""
    pairs = []
    for surrogate, depths in RESIDUAL.items():
        for start in depths:
            ways = {name: Job(surrogate, from_site(surrogate, start, how), RADIUS, 50) for name, how in WAYS.items()}
            pairs += [(ways["branch"], Job(surrogate, "ifgsm", RADIUS, 50))]
            pairs += [(ways["branch"], ways[name]) for name in WAYS if name != "branch"]
    return pairs


def kinds_of_skips() -> list[Pair]:
    """SGM beside either kind of skip against I-FGSM, both and LinBP, and with smooth projections against without."""
    pairs = []
    for surrogate in SKIPPED:
        of = {(job.recipe, job.spread): job for job in skips() if job.surrogate == surrogate}
        both, plain = of["sgm(gamma=0.2)", False], of["ifgsm", False]
        identity, projection = (of[f"sgm(gamma=0.2, skips={kind})", False] for kind in ("identity", "projection"))
        pairs += [(both, plain), (identity, plain), (projection, plain), (identity, both)]
        half = of["sgm(gamma=0.5, skips=identity)", False]
        pairs += [(half, plain), (half, of["sgm(gamma=0.5)", False]), (of[linbp(surrogate), False], half)]
        pairs += [(of[recipe, True], of[recipe, False]) for recipe, smooth in of if smooth]
        spread = of["sgm(gamma=0.2)", True]
        pairs += [
            (spread, identity),
            *((spread, of[name, True]) for name in ("sgm(gamma=0.2, skips=identity)", "ifgsm")),
        ]
    return pairs


def single_steps() -> list[Pair]:
    """LinBP against FGSM, in a single step and in leaps to and fro."""
    pairs = []
    for surrogate, sites in SINGLE.items():
        for eps in RADII:
            for site in sites:
                own = Job(surrogate, f"{from_site(surrogate, site)} + fgsm", eps, 1)
                pairs.append((own, Job(surrogate, "fgsm", eps, 1)))
            for steps in LEAPS:
                own = Job(surrogate, linbp(surrogate), eps, steps, leaps=True)
                pairs.append((own, replace(own, recipe="ifgsm")))
    return pairs


def linear_forms() -> list[Pair]:
    """LinBP against LinS at the same site, LinBP on LinS's network against either alone, and LinS by its labels."""
    pairs = []
    for surrogate, sites in LINEARISED.items():
        for site in sites:
            tuned = Job(surrogate, "ifgsm", RADIUS, 50, removed=site)
            pairs.append((Job(surrogate, from_site(surrogate, site), RADIUS, 50), tuned))
            if HALVES[site] < site:
                half = from_site(surrogate, HALVES[site])
                both = Job(surrogate, half, RADIUS, 50, removed=site)
                pairs += [(both, tuned), (both, Job(surrogate, half, RADIUS, 50))]
            smoothing, otherwise = OTHERWISE[surrogate]
            if site in otherwise:
                pairs.append((tuned, replace(tuned, smoothing=smoothing)))
    return pairs


COMPARED = {
    "transfer": better_than_rivals,
    "distance": at_the_radius,
    "rebalancing": ratio_and_gamma,
    "skips": kinds_of_skips,
    "gradients": single_steps,
    "linear": linear_forms,
}
"""Which jobs of a part are compared with a paired test."""
