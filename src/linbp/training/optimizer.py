"""A step of SGD with momentum or of AdamW: gradient, clipping, weight decay and update in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import nn

__all__ = ["MOMENTUM", "Optimizer", "OptimizerName"]

OptimizerName = Literal["sgd", "adamw"]
MOMENTUM = 0.9


class Optimizer:
    """One of the two optimizers over some parameters.

    Args:
        name: `sgd` (momentum 0.9) or `adamw`.
        parameters: to train.
        nesterov: whether SGD's momentum is Nesterov's.
        weight_decay: of every parameter, as torch's optimizer of that name has it.
        decoupled_decay: a step multiplies every weight of rank above 1 by 1 - rate x decoupled_decay, and momentum does
            not notice.
        clip: largest L2 norm of the gradient of all parameters together; None: as it comes.
    """

    def __init__(
        self,
        name: OptimizerName,
        parameters: Iterable[nn.Parameter],
        *,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decoupled_decay: float = 0.0,
        clip: float | None = None,
    ) -> None:
        self.parameters, self.decoupled_decay, self.clip = list(parameters), decoupled_decay, clip
        self._decayed: list[torch.Tensor] = []
        if decoupled_decay:
            self._decayed += [parameter for parameter in self.parameters if parameter.ndim > 1]
        self._optimizer: torch.optim.Optimizer
        if name == "sgd":
            self._optimizer = torch.optim.SGD(
                self.parameters, momentum=MOMENTUM, nesterov=nesterov, weight_decay=weight_decay, foreach=True
            )
        else:
            self._optimizer = torch.optim.AdamW(self.parameters, weight_decay=weight_decay, foreach=True)

    def step(self, loss: torch.Tensor, rate: float, backward: Callable[[], None] | None = None) -> None:
        """Differentiate a loss, or leave that to `backward`, and take one step at a learning rate.

        Nothing here waits for the device.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        if backward is None:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        if self._decayed:
            with torch.no_grad():
                torch._foreach_mul_(self._decayed, 1 - rate * self.decoupled_decay)
        self._optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's memory."""
        return self._optimizer.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a memory."""
        self._optimizer.load_state_dict(dict(state))
