"""Randomised smoothing: a vote under noise, with abstention."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from linbp.errors import RecipeError
from linbp.models.defences.base import Ask, Defence, Ids
from linbp.randomness import generator
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["Smoothing"]


@part("defence", "smoothing")
class Smoothing(Defence):
    """Randomised smoothing: n noisy copies of each image vote; where the vote is not clear, there is no answer.

        copies x + N(0, sigma^2 I), not cut off; n_A, n_B votes of the first two classes;
        the answer is A if the two-sided binomial test of n_A of n_A + n_B against 1/2 has a p-value of at most alpha

    It is the PREDICT of Cohen, Rosenfeld, Kolter: Certified Adversarial Robustness via Randomized Smoothing, ICML 2019,
    arXiv 1902.02918 (sigma 0.25, 0.5, 1; alpha 0.001), for networks that were trained with noise; others lose accuracy.
    The scores are the votes; a row of zeros is an abstention, which is neither right nor a success of the attack. No
    radius is certified.

    Args:
        sigma: standard deviation of the noise, for images in [0, 1].
        n: how many copies vote.
        alpha: the largest probability of an answer other than the smoothed network's own.
        seed: of the noise.
    """

    abstains: ClassVar[bool] = True
    packages = ("scipy",)

    sigma: float = 0.25
    n: int = 100
    alpha: float = 0.001
    seed: int = 0

    def __post_init__(self) -> None:
        number(self, "sigma", least=1e-4, most=10.0)
        whole(self, "n", least=1)
        number(self, "alpha", least=0.0, most=1.0)
        whole(self, "seed", least=0)
        if 2.0 ** (1 - self.n) > self.alpha:
            raise RecipeError(
                f"smoothing(n={self.n}, alpha={self.alpha:g}) would never answer.",
                "Of n copies that agree, the p-value is 2^(1 - n): give a larger n or alpha.",
            )

    @property
    def copies(self) -> int:
        """How many noisy copies vote."""
        return self.n

    def apply(self, images: torch.Tensor, ids: Ids) -> torch.Tensor:
        """The images with noise."""
        kind = np.float64 if images.dtype == torch.float64 else np.float32
        noise = [
            generator(self.seed, image_id, 0, "defence.smoothing").standard_normal(tuple(images.shape[1:]), dtype=kind)
            for image_id in ids
        ]
        return images + self.sigma * torch.from_numpy(np.stack(noise)).to(images.dtype)

    def answer(self, images: torch.Tensor, ids: Ids, ask: Ask) -> torch.Tensor:
        """The votes for each class; zeros for those whose vote is not clear."""
        votes: torch.Tensor | None = None
        for copy in range(self.n):
            own = tuple(f"{image_id}/{copy}" for image_id in ids)
            scores = ask(self.apply(images, own), own)
            if votes is None:
                votes = torch.zeros(scores.shape, dtype=torch.float64)
            votes[torch.arange(len(votes)), scores.argmax(1).cpu()] += 1
        assert votes is not None
        return votes * clear(votes, self.alpha)[:, None]


def clear(votes: torch.Tensor, alpha: float) -> torch.Tensor:
    """Whether the votes (N, classes) of each image are clear: the test of the first two classes at level alpha."""
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    first, second = votes.topk(2).values.T.tolist()
    values = [binomtest(int(a), int(a + b), 0.5).pvalue for a, b in zip(first, second, strict=True)]
    return torch.tensor(values) <= alpha
