"""One batch of the job: adversarial images of images of one size, with what is recorded of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional

from linbp.attack.api import craft
from linbp.attack.budget import Norm, Rounding
from linbp.attack.pool import Pool
from linbp.attack.prepare import Prepared
from linbp.attack.recipe.recipe import Recipe
from linbp.attack.targets import TargetRule
from linbp.data.image_list import ImageRecord
from linbp.data.images import Pixels, distances, pixel_sha256, to_uint8, to_unit
from linbp.data.preprocessing import Preparation
from linbp.errors import LogitsError, ModelError

__all__ = ["AttackConfig", "Labels", "craft_batch"]

Labels = Literal["given", "predicted"]
"""Where labels come from: the list, or the surrogate's own predictions of the clean images."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """What an adversarial image depends on besides the image and the surrogate.

    Attributes:
        target_rule: which chooses the targets of a targeted attack; None where the list does.
        protocol: the name of the protocol that the settings are those of, or None.
        preparation: what the protocol makes of the photographs before the attack, or None.
        members: how many surrogates there are.
        pool: the hash of the images that are mixed in, or None.
    """

    recipe: Recipe
    eps: float
    steps: int
    step_size: float
    norm: Norm
    seed: int
    rounding: Rounding
    labels: Labels
    targeted: bool
    target_rule: TargetRule | None = None
    protocol: str | None = None
    preparation: Preparation | None = None
    members: int = 1
    pool: str | None = None
    proxies: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the manifest."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        rule, preparation = self.target_rule, self.preparation
        return {
            **values,
            "recipe": str(self.recipe),
            "proxies": list(self.proxies),
            "target_rule": None if rule is None else str(rule),
            "preparation": None if preparation is None else preparation.to_dict(),
        }

    @property
    def all_steps(self) -> int:
        """How many steps each image takes, in all stages."""
        return sum(stage.own_steps(self.steps) for stage in self.recipe.stages)

    @property
    def gradients(self) -> int:
        """How many gradients each image takes."""
        return self.recipe.gradients(self.steps, self.members)


def craft_batch(
    surrogate: Prepared,
    settings: AttackConfig,
    images: Sequence[ImageRecord],
    clean: Pixels,
    pool: Pool | None,
    report: Callable[[int, int], None],
) -> tuple[Pixels, list[dict[str, Any]]]:
    """Adversarial images (N, H, W, 3) of clean images of the same shape, uint8, and a record of each.

    Args:
        surrogate: one or several, prepared for the recipe.
        settings: of the job.
        images: the images' entries in the list.
        clean: their pixels, prepared as the protocol wants them.
        pool: images to mix in.
        report: told how many image steps are done, and how many there are.

    Raises:
        As `craft`.
    """
    dtype, device = surrogate.dtype, surrogate.device
    unit = to_unit(clean, dtype, device)
    ids = [image.image_id for image in images]
    before = _logits(surrogate, unit, ids)
    labels = before.argmax(1)
    if settings.labels == "given":
        labels = torch.tensor([image.label for image in images], device=device)
    targets = None
    if settings.target_rule is not None:
        targets = settings.target_rule.targets(ids, labels, before, settings.seed)
    elif settings.targeted:
        targets = torch.tensor([image.target for image in images], device=device)
    adv = craft(
        surrogate,
        torch.from_numpy(np.ascontiguousarray(clean.transpose(0, 3, 1, 2))),
        labels,
        surrogate.recipe,
        eps=settings.eps,
        steps=settings.steps,
        step_size=None if surrogate.recipe.single_step else settings.step_size,
        norm=settings.norm,
        seed=settings.seed,
        targets=targets,
        ids=ids,
        pool=pool,
        rounding=settings.rounding,
        batch_size=len(images),
        progress=report,
    )
    levels = to_uint8(adv.cpu().double().numpy(), "adv").transpose(0, 2, 3, 1)
    after = _logits(surrogate, to_unit(levels, dtype, device), ids)
    aim = labels if targets is None else targets
    answers = zip(_answers(before, aim), _answers(after, aim), strict=True)
    return levels, [
        _record(
            image,
            clean[row],
            levels[row],
            int(labels[row]),
            None if targets is None else int(targets[row]),
            *answer,
            settings.gradients,
        )
        for row, (image, answer) in enumerate(zip(images, answers, strict=True))
    ]


def _logits(surrogate: Prepared, images: torch.Tensor, ids: list[str]) -> torch.Tensor:
    """The surrogate's logits; images that it has none for are named."""
    try:
        return surrogate.logits(images)
    except LogitsError as fault:
        names = ", ".join(ids[row] for row in fault.rows[:3])
        raise ModelError(
            f"{fault.message.removesuffix('.')} at image {names}.", f"{fault.hint} Or leave the image out."
        ) from fault


def _answers(logits: torch.Tensor, aim: torch.Tensor) -> list[tuple[int, float]]:
    """Prediction of each image, and cross-entropy to the class that the attack leads away from or towards."""
    losses = functional.cross_entropy(logits, aim, reduction="none")
    return list(zip(logits.argmax(1).tolist(), losses.tolist(), strict=True))


def _record(
    image: ImageRecord,
    clean: Pixels,
    adv_image: Pixels,
    label: int,
    target: int | None,
    answer_clean: tuple[int, float],
    answer_adv: tuple[int, float],
    gradients: int,
) -> dict[str, Any]:
    linf, l2 = distances(clean, adv_image, image.image_id)
    return {
        "image_id": image.image_id,
        "label": label,
        "target": target,
        "file": str(image.path.resolve()),
        "clean_sha256": pixel_sha256(clean),
        "sha256": pixel_sha256(adv_image),
        "linf": linf,
        "l2": l2,
        "prediction_clean": answer_clean[0],
        "prediction_adv": answer_adv[0],
        "loss_clean": answer_clean[1],
        "loss_adv": answer_adv[1],
        "gradients": gradients,
    }
