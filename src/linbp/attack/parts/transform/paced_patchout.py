"""ATT's PatchOut: patches that the network relies on least are left out first, and more of them from step to step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional

from linbp.attack.context import Context
from linbp.attack.parts.objective.base import Features
from linbp.attack.parts.transform.base import Transform
from linbp.attack.parts.transform.patchout import patch_mask
from linbp.errors import RecipeError
from linbp.graph import Structure, spatial_size
from linbp.randomness import Draws
from linbp.registry import part, typed_name
from linbp.rules.transformer import blocks_from_the_end
from linbp.validation import number, whole

__all__ = ["PacedPatchOut"]

MAP_RANK = 4
ALMOST = 0.99


@dataclass(frozen=True)
class _Bound(Transform):
    """The transform on one batch.

    Attributes:
        thresholds: of each patch, (N, rows, columns).
        patch: its side in pixels.
    """

    thresholds: torch.Tensor
    patch: int

    keeps_clean: ClassVar[bool] = True

    def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
        """The images, changed in some patches only."""
        clean, kept = context.budget.clean, self.kept(draws, context.steps)
        masks = [patch_mask(one, self.patch, image) for one, image in zip(kept, images, strict=True)]
        return clean + torch.stack(masks) * (images - clean)

    def kept(self, draws: Draws, steps: int) -> torch.Tensor:
        """Which patches count in the step of the draws, (N, rows, columns), of so many steps."""
        most = ALMOST - (ALMOST - self.thresholds) * (draws.step + 1) / steps
        rows = [torch.from_numpy(draw.random(most.shape[1:])) for draw in draws.generators("paced-patchout")]
        return torch.stack(rows).to(most) <= most


@part("transform", "paced-patchout")
class PacedPatchOut(Transform):
    """Self-paced PatchOut: a patch's change counts with a probability that falls to what the patch is worth.

        g = d/dx J(x0 + M (x - x0)),    M = 1 in patch p where U_p <= 0.99 - (0.99 - T_p) (i + 1) / n
        T = scale minmax(r) + base,     r = pooled sum_c h_c dS/dh_c,    S the sum of all logits at x0

    in step i = 0 ... n - 1, with x0 the clean image, h the output of a transformer block, its class token left out, and
    U uniform in [0, 1), drawn for each patch, image and step. r is brought to the image's size (bilinear) and averaged
    over each patch; minmax brings each image's smallest r to 0 and its largest to 1, and is 0 where all are the same.
    The gradient is the surrogate's, with its rule; of several surrogates, T is the mean. Ming et al.: Boosting the
    Transferability of Adversarial Attack on Vision Transformer with Adaptive Token Tuning, NeurIPS 2024 (`att-mifgsm`):
    the last block but one, scale and base 0.4 and 0.4 for a ViT-B, 0.3 and 0.45 for PiT-B, 0.35 and 0.4 for CaiT-S24,
    0.15 and 0.25 for Visformer-S. It takes one gradient before the first step.

    Public codes differ: the authors' r depends on the image before, and on CaiT and Visformer it is h squared;
    TransferAttack's never runs, and torchattack's thresholds are NaN, so that every patch counts.

    Args:
        patch: side of a patch in pixels, at least 1.
        scale: how far apart the thresholds are, at least 0; with `base` at most 1 together.
        base: the smallest threshold, at least 0.
        at: path of the module whose result is h. By default the last transformer block but one.

    Raises:
        RuleError: the network has no attention, or no such feature map.
    """

    patch: int = 16
    scale: float = 0.4
    base: float = 0.4
    at: str | None = None

    keeps_clean: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole(self, "patch", least=1)
        number(self, "scale", least=0, most=1)
        number(self, "base", least=0, most=1)
        if self.scale + self.base > 1:
            raise RecipeError(
                f"{typed_name(self)}: scale and base are {self.scale + self.base:g} together.", "Give 1 at most."
            )

    def feature_maps(self, structure: Structure) -> tuple[str, ...]:
        """The module of `at`, or the last transformer block but one."""
        if self.at is not None:
            return (self.at,)
        ends = [block.mlp for block in blocks_from_the_end(typed_name(self), structure) if block.mlp is not None]
        return (ends[:2][-1].module_path,)

    def gradients_before(self, members: int) -> int:
        """One for each surrogate."""
        return members

    def bind(self, context: Context, asked: Sequence[Features]) -> Transform:
        """The transform with the thresholds of a batch."""
        clean = context.budget.clean
        if min(math.ceil(side / self.patch) for side in clean.shape[-2:]) == 1:
            raise RecipeError(
                f"{typed_name(self)}(patch={self.patch}) leaves out all or nothing: images have {clean.shape[-2]} x "
                f"{clean.shape[-1]} pixels.",
                "Give a smaller patch.",
            )
        relevance = [self._relevance(features, clean) for features in asked]
        thresholds = [self.scale * _between_0_and_1(one) + self.base for one in relevance]
        return _Bound(thresholds=torch.stack(thresholds).mean(0), patch=self.patch)

    def _relevance(self, features: Features, clean: torch.Tensor) -> torch.Tensor:
        """r of each patch, (N, rows, columns)."""
        (gradient,) = features.gradients(clean, lambda logits: logits.sum(1)).values()
        (value,) = features(clean).values()
        tokens = _token_map(value * gradient, *clean.shape[-2:])
        large = functional.interpolate(tokens[:, None], clean.shape[-2:], mode="bilinear", align_corners=False)
        return functional.avg_pool2d(large, self.patch, ceil_mode=True)[:, 0]


def _token_map(values: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Sums over channels, (N, rows, columns).

    Of (N, H, W, channels), (N, channels, H, W), or tokens (N, tokens, channels): these are the largest grid of the
    image's shape, and what stands before it (class and other tokens) is left out.
    """
    if values.ndim == MAP_RANK:
        channels_first = spatial_size(values.shape[1:]) == tuple(values.shape[2:])
        return values.sum(1 if channels_first else -1)
    sums, common = values.sum(-1), math.gcd(height, width)
    times = math.isqrt(sums.shape[1] // (height // common * (width // common)))
    rows, columns = times * height // common, times * width // common
    return sums[:, sums.shape[1] - rows * columns :].reshape(-1, rows, columns)


def _between_0_and_1(values: torch.Tensor) -> torch.Tensor:
    """(values - smallest) / (largest - smallest) of each image; 0 where all are the same."""
    least, most = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
    return (values - least) / torch.where(most > least, most - least, 1)
