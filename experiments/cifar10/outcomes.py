"""What the stored lines of `cifar10.py` say of each job on one surrogate, and how two jobs are compared."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from cifar10_jobs import Job
from scipy.stats import permutation_test

REDRAWN = 2000
FLIPS = 9_999


class Outcomes:
    """What a list of jobs on one surrogate did to the images of those pieces that all of them have been run on.

    Args:
        lines: of the results file.
        jobs: those that are to be looked at together; ones without any line are in `missing`.
        without: networks that do not count as victims here.
    """

    def __init__(self, lines: list[dict[str, Any]], jobs: Sequence[Job], without: tuple[str, ...] = ()) -> None:
        selection = next(line["selection"] for line in lines if "selection" in line)
        self.clean_loss: dict[str, float] = selection["loss"]
        labels, piece_of = np.array(selection["labels"]), {}
        found: dict[Job, dict[int, dict[str, Any]]] = {}
        for line in lines:
            if "piece" in line:
                job = Job.of(line)
                found.setdefault(job, {})[line["piece"]] = line
                piece_of[line["piece"]] = len(line["predictions"]["itself"])
        self.jobs = [job for job in dict.fromkeys(jobs) if job in found]
        self.missing = [job for job in dict.fromkeys(jobs) if job not in found]
        pieces = sorted(set.intersection(*(set(found[job]) for job in self.jobs))) if self.jobs else []
        size = max(piece_of.values(), default=0)
        self.n = sum(piece_of[piece] for piece in pieces)
        self.line = {job: found[job][pieces[0]] for job in self.jobs} if pieces else {}
        self.jobs = self.jobs if pieces else []
        sizes = [piece_of[piece] for piece in pieces]
        self.loss = {
            job: {
                name: float(np.average([found[job][piece]["loss"][name] for piece in pieces], weights=sizes))
                for name in found[job][pieces[0]]["loss"]
            }
            for job in self.jobs
        }
        self.levels = {
            job: float(np.average([found[job][piece].get("levels", np.nan) for piece in pieces], weights=sizes))
            for job in self.jobs
        }
        """How far a pixel moved on average; NaN for lines that do not say."""
        self.wrong: dict[Job, dict[str, np.ndarray]] = {}
        for job in self.jobs:
            self.wrong[job] = {}
            for name in found[job][pieces[0]]["predictions"]:
                parts = []
                for piece in pieces:
                    classes = np.array([int(digit) for digit in found[job][piece]["predictions"][name]])
                    parts.append(classes != labels[piece * size : piece * size + len(classes)])
                self.wrong[job][name] = np.concatenate(parts)
        self.without = without

    def victims(self, surrogate: str) -> list[str]:
        """All networks but the surrogate; a variant of a network is not shown to the network either."""
        own = surrogate.partition("-")[0]
        names = next(iter(self.wrong.values()), {})
        return [name for name in names if name not in (own, "itself", *self.without)]

    def rise(self, job: Job) -> float:
        """How much the victims' mean cross-entropy rose, in nats; mean over victims."""
        names = self.victims(job.surrogate)
        return float(np.mean([self.loss[job][name] - self.clean_loss[name] for name in names]))

    def shares(self, job: Job) -> np.ndarray:
        """For each image, the share of the victims that its adversarial image fools."""
        return np.mean([self.wrong[job][name] for name in self.victims(job.surrogate)], axis=0)

    def mean(self, job: Job) -> float:
        """Mean over victims of the share fooled, in per cent."""
        return 100 * float(self.shares(job).mean())

    def interval(self, job: Job) -> tuple[float, float]:
        """Its 95% interval: images drawn again."""
        return _redrawn(self.shares(job).tobytes(), self.n)

    def gap(self, one: Job, other: Job) -> tuple[float, float, float, float]:
        """Difference of the means in per cent, its 95% interval, and p of the paired permutation test of the mean."""
        gaps = self.shares(one) - self.shares(other)
        low, high = _redrawn(gaps.tobytes(), self.n)
        found = permutation_test(
            (gaps,), np.mean, permutation_type="samples", n_resamples=FLIPS, vectorized=True, batch=2000, rng=0
        )
        return 100 * float(gaps.mean()), low, high, float(found.pvalue)


def by_surrogate(
    lines: list[dict[str, Any]], jobs: Sequence[Job], without: tuple[str, ...] = ()
) -> dict[str, Outcomes]:
    """The outcomes of some jobs, those of each surrogate by themselves: an unfinished one shortens no other's table.

    A surrogate on which most of the jobs have not been run yet is left out.
    """
    names = dict.fromkeys(job.surrogate for job in jobs)
    found = {name: Outcomes(lines, [job for job in jobs if job.surrogate == name], without) for name in names}
    return {name: outcomes for name, outcomes in found.items() if len(outcomes.jobs) > len(outcomes.missing)}


@cache
def _redrawn(values: bytes, n: int) -> tuple[float, float]:
    numbers = np.frombuffer(values)
    times = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), REDRAWN)
    low, high = np.percentile(100 * times @ numbers / n, [2.5, 97.5])
    return float(low), float(high)
