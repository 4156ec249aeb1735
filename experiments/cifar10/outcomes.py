"""What the stored lines of `attack.py` say of each job on one surrogate, and how two jobs are compared."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from cifar10.jobs import Job
from linbp.evaluation.statistics import Difference, Interval, bootstrap_mean, paired_test

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
        self.mean = cache(self._mean)

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

    def _mean(self, job: Job) -> Interval:
        """Mean over victims of the share fooled, in per cent, with its 95% interval: images drawn again."""
        return bootstrap_mean(self.shares(job), unit=100)

    def gap(self, one: Job, other: Job) -> Difference:
        """Difference of two means in points, its 95% interval, and p of the paired permutation test."""
        return paired_test(self.shares(one) - self.shares(other), unit=100, flips=FLIPS)


def by_surrogate(
    lines: list[dict[str, Any]], jobs: Sequence[Job], without: tuple[str, ...] = ()
) -> dict[str, Outcomes]:
    """The outcomes of some jobs, those of each surrogate by themselves: an unfinished one shortens no other's table.

    A surrogate on which most of the jobs have not been run yet is left out.
    """
    names = dict.fromkeys(job.surrogate for job in jobs)
    found = {name: Outcomes(lines, [job for job in jobs if job.surrogate == name], without) for name in names}
    return {name: outcomes for name, outcomes in found.items() if len(outcomes.jobs) > len(outcomes.missing)}
