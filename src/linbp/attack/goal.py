"""What an attack wants of each image: away from its label, or to its target."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Goal"]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """The classes that an attack works on.

    Attributes:
        labels: (N,), the images' classes.
        targets: (N,), the classes that the adversarial images should have, or None for an untargeted attack.
    """

    labels: torch.Tensor
    targets: torch.Tensor | None = None
