"""Several surrogates that are attacked together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch

from linbp.errors import ModelError, RecipeError
from linbp.graph import Rule, Surrogate
from linbp.graph.recent import recent_surrogate
from linbp.models.device import usable_device
from linbp.models.model import Model
from linbp.registry.grammar import write

__all__ = ["Attackable", "Ensemble", "Fuse", "as_ensemble", "fused", "identity_of", "models_of", "same_device"]

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

    surrogates: tuple[Surrogate, ...]
    fuse: Fuse

    def __init__(self, members: Sequence[Model | Surrogate], fuse: Fuse = "logits") -> None:
        if fuse not in get_args(Fuse):
            raise RecipeError(f"fuse is {fuse!r}.", f"Use one of: {', '.join(get_args(Fuse))}.")
        surrogates = tuple(map(_captured, members))
        if len(surrogates) < 2:
            raise ModelError("An ensemble has at least two surrogates.", "Use a single surrogate as it is.")
        for what in ("classes", "dtype", "device"):
            found = [getattr(surrogate, what) for surrogate in surrogates]
            if len(set(found)) > 1:
                listed = ", ".join(f"{s.model.name}: {value}" for s, value in zip(surrogates, found, strict=True))
                raise ModelError(
                    f"The surrogates of an ensemble differ in {what} ({listed}).",
                    "Use networks for the same classes, in the same dtype and on the same device.",
                )
        self.surrogates, self.fuse = surrogates, fuse

    @classmethod
    def _made(cls, surrogates: Sequence[Surrogate], fuse: Fuse) -> Ensemble:
        """An ensemble that need not be checked; inside, one surrogate is one as well."""
        ensemble = object.__new__(cls)
        ensemble.surrogates, ensemble.fuse = tuple(surrogates), fuse
        return ensemble

    @property
    def classes(self) -> int:
        """How many classes they know."""
        return self.surrogates[0].classes

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that they compute in."""
        return self.surrogates[0].dtype

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return self.surrogates[0].device

    @property
    def name(self) -> str:
        """What messages call them."""
        return " and ".join(surrogate.model.name for surrogate in self.surrogates)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Fused logits (N, classes), without gradients, of images (N, C, H, W) in [0, 1].

        Raises:
            ModelError: they are not finite.
        """
        return fused([surrogate.logits(images) for surrogate in self.surrogates], self.fuse)

    def identity(self) -> dict[str, Any]:
        """What results record: of one surrogate its own facts, of several the fuse and each one's facts."""
        members = [(surrogate.model, surrogate.rules) for surrogate in self.surrogates]
        found = identity_of(members, self.fuse, [surrogate.computing() for surrogate in self.surrogates])
        unchecked = [surrogate.model.name for surrogate in self.surrogates if not surrogate.checked]
        return {**found, "unchecked": unchecked} if unchecked else found

    def to(self, device: str | torch.device) -> Ensemble:
        """The same ensemble on another device."""
        return Ensemble._made([surrogate.to(device) for surrogate in self.surrogates], self.fuse)

    def grouped(self, group_size: int) -> Ensemble:
        """The same ensemble, each network with so many images computed at a time (`Surrogate`).

        Raises:
            RecipeError: the number may not be chosen, or would have no effect on a network's device or in its dtype.
        """
        for surrogate in self.surrogates:
            if not surrogate.in_groups:
                raise RecipeError(
                    f"group_size={group_size} would have no effect on {surrogate.model.name} ({surrogate.dtype}, "
                    f"{surrogate.device}): images are computed in groups in float32 on a CPU only.",
                    "Leave it out.",
                )
        return Ensemble._made([surrogate.grouped(group_size) for surrogate in self.surrogates], self.fuse)

    def compiled(self) -> Ensemble:
        """The same ensemble, each network's passes compiled (`Surrogate`).

        Raises:
            RecipeError: weights of a network take turns.
        """
        return Ensemble._made([surrogate.compiled() for surrogate in self.surrogates], self.fuse)


Attackable = Model | Surrogate | Ensemble
"""What may be attacked: one network, captured or not, or several."""


def as_ensemble(
    model: Attackable,
    device: str | torch.device | None = None,
    group_size: int | None = None,
    compiled: bool = False,
) -> Ensemble:
    """The one kind of surrogate that attacks work with: an ensemble of one or more, captured, on a device.

    Args:
        model: what a user gives.
        device: where it shall compute; None: where it lies.
        group_size: images that it shall compute at a time; None: as it comes.
        compiled: whether it shall be compiled; otherwise it stays as it comes.

    Raises:
        RecipeError: the group size may not be chosen, or would have no effect; it cannot be compiled.
        ModelError, CaptureError: it gives no gradients, or cannot be captured, or there is no such device here.
    """
    ensemble = model if isinstance(model, Ensemble) else Ensemble._made([_captured(model)], "losses")
    if device is not None and not same_device(usable_device(device), ensemble.device):
        ensemble = ensemble.to(device)
    ensemble = ensemble if group_size is None else ensemble.grouped(group_size)
    return ensemble.compiled() if compiled else ensemble


def models_of(model: Attackable) -> tuple[Model, ...]:
    """The networks of what a user gives, before any of them is captured."""
    members = model.surrogates if isinstance(model, Ensemble) else (model,)
    return tuple(one.model if isinstance(one, Surrogate) else one for one in members)


def identity_of(
    members: Sequence[tuple[Model, Sequence[Rule]]], fuse: Fuse, computing: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """What results record about surrogates, which need not be captured: each one's facts and rules, and the fuse.

    Args:
        members: networks and their rules.
        fuse: what is averaged.
        computing: how each computes (`computing_facts`).
    """
    found = []
    for (model, rules), how in zip(members, computing, strict=True):
        facts = {key: value for key, value in model.identity().items() if key != "spec"} | how
        found.append({**facts, "rules": [write(rule) for rule in rules]} if rules else facts)
    return found[0] if len(found) == 1 else {"fuse": fuse, "members": found}


def same_device(named: str | torch.device, device: torch.device) -> bool:
    """Whether a device's name, such as cuda, means a device, such as cuda:0."""
    wanted = torch.device(named)
    return wanted.type == device.type and wanted.index in (None, device.index)


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


def _captured(model: Model | Surrogate) -> Surrogate:
    return model if isinstance(model, Surrogate) else recent_surrogate(model)
