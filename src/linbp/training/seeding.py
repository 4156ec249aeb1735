"""Torch's own generators, started from a number that is keyed like everything random here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch

__all__ = ["seeded"]

SEEDS = 2**63


@contextlib.contextmanager
def seeded(draw: np.random.Generator, device: torch.device) -> Iterator[None]:
    """Inside, torch's generators on the CPU and on `device` start from a number that is drawn; outside they are as
    before."""
    number = int(draw.integers(SEEDS))
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        # Not torch.manual_seed, which would seed every accelerator.
        torch.default_generator.manual_seed(number)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(number)
        yield
