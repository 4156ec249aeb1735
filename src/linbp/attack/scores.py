"""Surrogates must answer with logits: the gradients of anything else lead nowhere, and nobody would see it."""

from __future__ import annotations

from weakref import WeakSet

import torch

from linbp.attack.ensemble import Ensemble
from linbp.errors import ModelError
from linbp.graph import Surrogate
from linbp.models.logits import are_probabilities

__all__ = ["SOME", "check_scores"]

SOME = 4
"""How many images a surrogate is asked about."""

_known: WeakSet[Surrogate] = WeakSet()
"""Surrogates that have answered with logits: they are not asked again."""

SQUASHED = ("softmax", "sigmoid", "hardsigmoid")
"""Operations behind which logits are lost."""


def check_scores(ensemble: Ensemble, images: torch.Tensor) -> None:
    """Refuse surrogates that end in a softmax or a sigmoid, or whose scores are probabilities.

    A cross-entropy takes the logarithm of a softmax; of probabilities it takes one more, whose gradient is small and
    lies elsewhere. Logarithms of probabilities are fine: their softmax is that of the logits.

    Args:
        ensemble: of one or more surrogates.
        images: a few clean ones, (N, C, H, W) in [0, 1].

    Raises:
        ModelError: a surrogate answers with probabilities.
    """
    for surrogate in ensemble.surrogates:
        if surrogate in _known:
            continue
        last = surrogate.last_operation
        kind = last if last in SQUASHED else ""
        if not kind and not (len(images) and are_probabilities(surrogate.logits(images))):
            if len(images):
                _known.add(surrogate)
            continue
        raise ModelError(
            f"{surrogate.model.name} answers with probabilities{f' (it ends in a {kind})' if kind else ''}, not with "
            "logits: the gradient of its cross-entropy would be another one.",
            "Take the softmax or sigmoid off; or return log_softmax, or torch.log of the probabilities.",
        )
