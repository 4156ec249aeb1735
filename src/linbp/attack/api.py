"""From clean images to adversarial images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from linbp.attack.budget import Norm, Rounding
from linbp.attack.config import AttackConfig
from linbp.attack.ensemble import Attackable
from linbp.attack.first_use import check_first_use
from linbp.attack.inputs import Inputs, as_images, given_labels
from linbp.attack.loop import attack_batch
from linbp.attack.pool import Pool
from linbp.attack.prepare import Prepared, prepare
from linbp.attack.recipe.recipe import Recipe
from linbp.attack.scores import SOME, check_scores
from linbp.attack.unmoved import Unmoved, unmoved_notes
from linbp.errors import LinbpWarning
from linbp.models.plain_mode import ordinary, plain_mode

__all__ = ["craft", "craft_batches"]

Images = TypeVar("Images", torch.Tensor, np.ndarray[Any, Any], Any)


def craft(
    model: Attackable | Prepared,
    images: Images,
    labels: Any,
    recipe: Recipe | str,
    *,
    eps: Any,
    steps: int | None = None,
    step_size: Any = None,
    norm: Norm = "linf",
    seed: int = 0,
    targets: Any = None,
    ids: Sequence[str] | None = None,
    pool: Pool | None = None,
    rounding: Rounding = "inward",
    batch_size: int = 8,
    group_size: int | None = None,
    compiled: bool = False,
    device: str | torch.device | None = None,
    trust_parts: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Images:
    """Make adversarial images on a surrogate.

    Args:
        model: the surrogate, as a model or already captured; or an ensemble of several.
        images: (N, C, H, W), uint8, or floats in [0, 1] on the 8-bit grid (k / 255); a tensor, a numpy array, or a list
            of tensors, arrays or Pillow images of one size.
        labels: (N,) classes, counted from 0; or names of the surrogate's classes; or `predicted`, for its own
            predictions, which an attack on networks of other classes needs.
        recipe: a recipe or its text.
        eps: radius on the scale of [0, 1] (`8/255` as text or a number), one or one for each image.
        steps: number of steps; by default 50, or 1 for a recipe of a single step.
        step_size: on the scale of [0, 1]; by default (`auto`) 1/255, or eps / steps where that is more, and 2.5 eps /
            steps in L2: all steps together reach the radius. A recipe of a single step takes the whole radius.
        norm: `linf` or `l2`.
        seed: of all randomness, together with the images' ids.
        targets: (N,) classes that the adversarial images should get, for a targeted attack.
        ids: names of the images, which their randomness is keyed by; by default their index.
        pool: images that `admix` mixes in.
        rounding: `inward` keeps 8-bit values inside the budget; `nearest` is the paper's released protocol and leaves
            it by up to half a level; `truncate` is TransferAttack's and leaves it by up to a level, downward.
        batch_size: images at a time; the result does not depend on it.
        group_size: of these, how many the surrogate computes at a time in float32 on a CPU: 1, 4, 8, 16 or 32; None: as
            it comes, by default 4. The result does not depend on an image's companions with any of them, but each has
            last bits of its own. 1 is fastest for a single image (`docs/performance.md`).
        compiled: compile the surrogate (`Surrogate`), which takes up to a minute and is worth it for many steps. For
            several calls, `prepare` it once.
        device: where to compute; by default where the model lies.
        trust_parts: do not look at parts of other packages at their first use.
        progress: called with (image steps done, image steps in all).

    Returns:
        The adversarial images, on the 8-bit grid in [0, 1], without a gradient: in the images' shape and the network's
        dtype, an array where the images are one, and else a tensor.

    Warns:
        LinbpWarning: a radius that all steps together do not reach, or images without a gradient or a change.

    Raises:
        ImageError, BudgetError, RecipeError, RuleError, CaptureError, ModelError: with what to do about it.
    """
    with plain_mode():
        given = as_images(ordinary(images))
        config = AttackConfig.resolve(
            recipe,
            eps=eps,
            steps=steps,
            step_size=step_size,
            norm=norm,
            seed=seed,
            rounding=rounding,
            targets=targets is not None,
            pool=pool is not None,
            batch_size=batch_size,
            group_size=group_size,
            compiled=compiled,
            images=len(given),
        )
        prepared = prepare(model, config.recipe, device, config.group_size, config.compiled)
        asked = given_labels(ordinary(labels), given, prepared.ensemble, batch_size)
        inputs = Inputs.check(given, asked, ordinary(targets), ids, prepared.ensemble)
        check_scores(prepared.ensemble, inputs.clean(slice(0, SOME), prepared.ensemble))
        if not trust_parts:
            check_first_use(prepared, config, inputs, pool)
        unmoved = Unmoved()
        adv = craft_batches(prepared, config, inputs, pool, progress, unmoved)
    _warn(config, unmoved)
    return adv.numpy() if isinstance(images, np.ndarray) else adv


def craft_batches(
    prepared: Prepared,
    config: AttackConfig,
    inputs: Inputs,
    pool: Pool | None = None,
    progress: Callable[[int, int], None] | None = None,
    unmoved: Unmoved | None = None,
) -> torch.Tensor:
    """The adversarial images, batch by batch, on the images' device; everything given is trusted.

    `unmoved` counts the images that could not be moved.

    Raises:
        As `attack_batch`; ImageError: an image is not on the 8-bit grid.
    """
    ensemble, images = prepared.ensemble, inputs.images
    done, total = 0, config.recipe.all_steps(config.steps) * len(images)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    adv = [images[:0].to(ensemble.dtype)]
    for begin in range(0, len(images), config.batch_size):
        rows = slice(begin, begin + config.batch_size)
        clean = inputs.clean(rows, ensemble)
        flat: list[str] = []
        found = attack_batch(
            prepared.stages,
            config.of(rows),
            clean,
            inputs.goal(rows, ensemble.device),
            inputs.ids[rows],
            pool=pool,
            on_step=partial(advance, len(clean)),
            on_flat=flat.extend,
        )
        if unmoved is not None:
            unmoved.add(clean, found, len(flat))
        adv.append(found.to(images.device))
    return torch.cat(adv)


def _warn(config: AttackConfig, unmoved: Unmoved) -> None:
    """Tell the caller of `craft` what a folder's manifest would have among its notes."""
    for note in (*config.notes, *unmoved_notes(**vars(unmoved))):
        warnings.warn(note, LinbpWarning, stacklevel=3)
