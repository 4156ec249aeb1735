"""One batch of the job: images of one size in, adversarial images and a record of each out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from linbp.attack.config import AttackConfig
from linbp.attack.ensemble import Ensemble
from linbp.attack.job.labels import goal_of
from linbp.attack.loop import attack_batch
from linbp.attack.pool import Pool
from linbp.attack.prepare import Prepared
from linbp.data.image_list import ImageRecord
from linbp.data.images import Pixels, distances, pixel_sha256, to_uint8, to_unit
from linbp.errors import LogitsError, ModelError

__all__ = ["craft_batch"]


def craft_batch(
    prepared: Prepared,
    config: AttackConfig,
    images: Sequence[ImageRecord],
    clean: Pixels,
    pool: Pool | None,
    on_step: Callable[[], None],
) -> tuple[Pixels, list[dict[str, Any]]]:
    """Make the adversarial images of one batch, (N, H, W, 3) in uint8, and a record of each.

    Args:
        prepared: the recipe on its surrogates.
        config: of the job.
        images: the images' entries in the list.
        clean: their pixels, prepared as the protocol wants them.
        pool: images to mix in.
        on_step: called after each step.

    Raises:
        ModelError: logits or gradients are not finite.
        RecipeError, ImageError: as `attack_batch`, or the target rule has no target to give.
    """
    ensemble, ids = prepared.ensemble, [image.image_id for image in images]
    unit = to_unit(clean, ensemble.dtype, ensemble.device)
    before = _logits(ensemble, unit, ids)
    goal = goal_of(config, images, before)
    flat: set[str] = set()
    adv = attack_batch(prepared.stages, config, unit, goal, ids, pool=pool, on_step=on_step, on_flat=flat.update)
    levels = to_uint8(adv.permute(0, 2, 3, 1).cpu().double().numpy(), "adversarial images")
    after = _logits(ensemble, to_unit(levels, ensemble.dtype, ensemble.device), ids)
    classes = goal.labels if goal.targets is None else goal.targets
    answers = zip(_answers(before, classes), _answers(after, classes), strict=True)
    gradients = config.recipe.gradients(config.steps, len(ensemble.surrogates))
    return levels, [
        _record(
            image,
            clean[row],
            levels[row],
            int(goal.labels[row]),
            None if goal.targets is None else int(goal.targets[row]),
            *answer,
            gradients,
            image.image_id in flat,
        )
        for row, (image, answer) in enumerate(zip(images, answers, strict=True))
    ]


def _logits(ensemble: Ensemble, images: torch.Tensor, ids: list[str]) -> torch.Tensor:
    """The surrogate's logits; images that it has none for are named."""
    try:
        return ensemble.logits(images)
    except LogitsError as fault:
        names = ", ".join(ids[row] for row in fault.rows[:3])
        raise ModelError(
            f"{fault.message.removesuffix('.')} at image {names}.", f"{fault.hint} Or leave the image out."
        ) from fault


def _answers(logits: torch.Tensor, classes: torch.Tensor) -> list[tuple[int, float]]:
    """Prediction of each image, and cross-entropy to the class that the attack leads away from or towards."""
    losses = functional.cross_entropy(logits, classes, reduction="none")
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
    flat: bool,
) -> dict[str, Any]:
    linf, l2 = distances(clean, adv_image, image.image_id)
    return {
        "image_id": image.image_id,
        "label": label,
        "class_name": image.class_name,
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
        "zero_gradient": flat,
    }
