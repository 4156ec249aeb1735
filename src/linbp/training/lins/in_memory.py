"""LinS on images in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from linbp.graph import Position
from linbp.models import Model
from linbp.rules.sites import Which
from linbp.training.fine_tuning.samples import Tensors, split
from linbp.training.fine_tuning.tuning import Tuning
from linbp.training.lins.linearization import Linearization
from linbp.training.loop import TrainingProgress

__all__ = ["Linearized", "linearize"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linearized:
    """What `linearize` made.

    Attributes:
        model: the tuned network without the activations; a surrogate, or a victim.
        removed: numbers of the sites that were removed, as in the network that was given.
        accuracy: `before`, `removed`, `recalibrated` (where batch norms were) and `tuned` (after any step); in each
            `validation` and `training` (at most 2,000 images of it) with `right`, `n`, `accuracy` and `loss` (mean
            cross-entropy; None where logits were not finite).
        history: for each epoch its number, mean loss, accuracy while training, and accuracy on the validation images.
        notes: what a user should know, in words.
    """

    model: Model
    removed: tuple[int, ...]
    accuracy: dict[str, Any]
    history: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


def linearize(
    model: Model,
    start: Position,
    images: Any,
    labels: Any,
    *,
    validation: float | tuple[Any, Any] = 0.1,
    sites: Which | tuple[int, ...] | None = None,
    tuning: Tuning | None = None,
    ids: Sequence[str] | None = None,
    device: str | torch.device | None = None,
    trust_labels: bool = False,
    progress: TrainingProgress | None = None,
) -> Linearized:
    """LinS: remove activations from a position on in the forward pass, and fine-tune what is left.

        x -> W_n ... W_(k+1) s(W_k x)    instead of    x -> W_n s(W_(n-1) ... s(W_k x)),

    then trained by cross-entropy on labelled images. Guo, Li, Chen: Backpropagating Linearly Improves Transferability
    of Adversarial Examples, NeurIPS 2020, arXiv 2012.03528. The removed activations are those that `LinBP(start)`
    would linearise, in open branches too. The model, its flags and the random state stay as they are.

    Args:
        model: any differentiable model in float32 or float64; all of it is trained, whatever `requires_grad` says.
        start: a site's index, a fraction of the sites, or a module path.
        images: (N, C, H, W), uint8 or floats in [0, 1]; other sizes than the model's are resized whole.
        labels: (N,) classes, counted from 0.
        validation: a share of the images that is held out, or (images, labels) of other ones.
        sites: which sites from `start` on: by default all but gates and activations after a sum; `inside`, `outside`,
            `all`, or numbers (see `LinBP`).
        tuning: settings of the fine-tuning.
        ids: (N,) names, what randomness is keyed by; by default the index.
        device: where to compute; by default where the model is. The result is where the model is.
        trust_labels: do not suspect labels of counting from 1.
        progress: told about every stage.

    Raises:
        RuleError: the position matches nothing, or no site is reached.
        ImageError: images or labels that do not fit.
        ModelError: the network cannot be tuned, or the loss left the range of floats.
        CaptureError: the network cannot be captured.
    """
    tuning, every = tuning or Tuning(), Tensors(images, labels, ids)
    if isinstance(validation, tuple):
        training, kept_apart = every, Tensors(*validation)
    else:
        training, kept_apart = split(every, validation, tuning.seed)
    job = Linearization(
        model,
        start,
        training,
        kept_apart,
        sites=sites,
        tuning=tuning,
        device=device,
        trust_labels=trust_labels,
        progress=progress,
    )
    job.begin()
    job.loop.run()
    made = job.finish()
    return Linearized(
        model=made,
        removed=job.removed,
        accuracy=job.accuracy,
        history=tuple(job.loop.history),
        notes=tuple(job.notes),
    )
