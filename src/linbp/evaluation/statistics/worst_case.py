"""What the strongest of several attacks does, chosen image by image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from linbp.evaluation.statistics.rates import Rate, rate

__all__ = ["worst_case"]


def worst_case(success: npt.ArrayLike, counted: npt.ArrayLike | None = None) -> Rate:
    """The share of one victim's images on which any of a set of attacks succeeded, with Wilson's interval.

    It is at least the largest of the attacks' own rates, and grows with every attack of the set.

    Args:
        success: (attacks, images) whether the attack fooled the victim on the image.
        counted: (images,) whether the victim had the clean image right; default: all are counted.
    """
    wins = np.asarray(success, dtype=bool)
    known = np.ones(wins.shape[1], dtype=bool) if counted is None else np.asarray(counted, dtype=bool)
    return rate(int((wins.any(axis=0) & known).sum()), int(known.sum()))
