"""Keyed randomness: a draw depends on the seed, the image, the step and the purpose, and on nothing else."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch

__all__ = ["Draws", "generator", "seeded"]


def generator(seed: int, image_id: str, step: int, purpose: str) -> np.random.Generator:
    """The random generator of one image, one step and one purpose.

    Philox (Salmon et al., SC 2011) is a counter-based generator. Its 128-bit key is the SHA-256 of seed, image and
    purpose, cut to 128 bits; the highest word of its 256-bit counter is the step. So different arguments give
    different streams.

    Args:
        seed: any integer.
        image_id: the image's id.
        step: number of the step, from 0.
        purpose: what is drawn, such as `di.size`.
    """
    digest = hashlib.sha256(f"{seed}\0{image_id}\0{purpose}".encode()).digest()
    key = np.frombuffer(digest[:16], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, step]))


@contextlib.contextmanager
def seeded(draw: np.random.Generator, device: torch.device) -> Iterator[None]:
    """Inside, torch's own generators, of the CPU and of `device`, start from a number that is drawn; outside they are
    as before."""
    number = int(draw.integers(2**63))
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        # Not torch.manual_seed, which would seed every accelerator.
        torch.default_generator.manual_seed(number)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(number)
        yield


class Draws:
    """The random draws of a batch of images at one step; each image has generators of its own.

    Args:
        seed: any integer.
        ids: the images' ids, one for each row of the batch.
        step: number of the step, from 0.
        prefix: is put before every purpose.
    """

    def __init__(self, seed: int, ids: Sequence[str], step: int, prefix: str = "") -> None:
        self.seed, self.ids, self.step, self.prefix = seed, tuple(ids), step, prefix

    def at(self, step: int) -> Draws:
        """The same images at another step."""
        return Draws(self.seed, self.ids, step, self.prefix)

    def under(self, name: str) -> Draws:
        """Other draws for the same images and step, such as those of one of several gradients."""
        return Draws(self.seed, self.ids, self.step, f"{self.prefix}{name}/")

    def common(self, purpose: str) -> np.random.Generator:
        """One generator for all images of all batches: it depends only on the seed, the step and the purpose."""
        return generator(self.seed, "", self.step, self.prefix + purpose)

    def generators(self, purpose: str) -> list[np.random.Generator]:
        """One generator for each image."""
        return [generator(self.seed, image_id, self.step, self.prefix + purpose) for image_id in self.ids]

    def uniform(self, purpose: str, like: torch.Tensor, radius: float | torch.Tensor = 1.0) -> torch.Tensor:
        """Uniform numbers in [-radius, radius), with the shape, dtype and device of `like` (N, ...).

        Args:
            purpose: what is drawn.
            like: a tensor with one row for each image.
            radius: one for all images, or a tensor that broadcasts against `like`.
        """
        kind = np.float64 if like.dtype == torch.float64 else np.float32
        shape = tuple(like.shape[1:])
        rows = [torch.from_numpy(draw.random(shape, dtype=kind)) for draw in self.generators(purpose)]
        unit = torch.stack(rows).to(device=like.device, dtype=like.dtype)
        return unit.mul_(2).sub_(1).mul_(radius)
