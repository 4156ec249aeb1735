"""Several surrogates that are attacked together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch

from linbp.attack.recipe.grammar import write
from linbp.errors import ModelError, RecipeError
from linbp.graph import Surrogate
from linbp.models.model import Model

__all__ = ["Ensemble", "Fuse"]

Fuse = Literal["logits", "probabilities", "losses"]
"""What is averaged: the logits, the probabilities (softmax), or the objectives' values."""


class Ensemble:
    """Several surrogates that are attacked together; each has its own input size and may have its own rule.

        logits:        objective(mean_k z_k)
        probabilities: objective(log mean_k softmax z_k)
        losses:        mean_k objective(z_k)

    Liu et al.: Delving into Transferable Adversarial Examples and Black-box Attacks, ICLR 2017, arXiv 1611.02770
    (probabilities); Dong et al., CVPR 2018, arXiv 1710.06081 (logits, and the comparison of the three).

    Args:
        members: at least two models or surrogates with the same classes. A rule of the recipe goes to those that have
            none of their own.
        fuse: what is averaged.

    Raises:
        ModelError: fewer than two members, or members with different numbers of classes, dtypes or devices.
    """

    def __init__(self, members: Sequence[Model | Surrogate], fuse: Fuse = "logits") -> None:
        if fuse not in get_args(Fuse):
            raise RecipeError(f"fuse is {fuse!r}.", f"Use one of: {', '.join(get_args(Fuse))}.")
        self.surrogates = tuple(one if isinstance(one, Surrogate) else Surrogate(one) for one in members)
        self.fuse: Fuse = fuse
        if len(self.surrogates) < 2:
            raise ModelError("An ensemble has at least two surrogates.", "Use a single surrogate as it is.")
        for what in ("classes", "dtype", "device"):
            found = [getattr(surrogate, what) for surrogate in self.surrogates]
            if len(set(found)) > 1:
                listed = ", ".join(f"{s.model.name}: {value}" for s, value in zip(self.surrogates, found, strict=True))
                raise ModelError(
                    f"The surrogates of an ensemble differ in {what} ({listed}).",
                    "Use networks for the same classes, in the same dtype and on the same device.",
                )

    def to(self, device: str | torch.device) -> Ensemble:
        """The same ensemble on another device."""
        return Ensemble([surrogate.to(device) for surrogate in self.surrogates], self.fuse)


def fused(logits: Sequence[torch.Tensor], fuse: Fuse) -> torch.Tensor:
    """The logits of an ensemble: what its prediction is, and what `logits` and `probabilities` put into the objective.

    Args:
        logits: of each member, (N, classes).
        fuse: what is averaged; with `losses` the logits.
    """
    if len(logits) == 1:
        return logits[0]
    if fuse == "probabilities":
        every = torch.stack([one.log_softmax(1) for one in logits])
        return every.logsumexp(0) - torch.log(torch.tensor(len(logits), dtype=every.dtype, device=every.device))
    return torch.stack(list(logits)).mean(0)


def identity(surrogates: Sequence[Surrogate], fuse: Fuse) -> dict[str, Any]:
    """What results record of one surrogate, or of an ensemble."""
    members = []
    for surrogate in surrogates:
        facts = {key: value for key, value in surrogate.model.identity().items() if key != "spec"}
        rules = [write(rule) for rule in surrogate.rules]
        members.append({**facts, "rules": rules} if rules else facts)
    return members[0] if len(members) == 1 else {"fuse": fuse, "members": members}
