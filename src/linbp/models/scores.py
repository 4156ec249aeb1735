"""Scores of 8-bit images, whichever way a network fails."""

from __future__ import annotations

from collections.abc import Callable

import torch

from linbp.data.images import Pixels, to_unit
from linbp.errors import LinbpError, ModelError
from linbp.models.black_box import Classifier

__all__ = ["Preprocess", "scores_of"]

Preprocess = Callable[[torch.Tensor], torch.Tensor]
"""What is done to images (N, 3, H, W) in [0, 1] before a network gets them."""


def scores_of(model: Classifier, pixels: Pixels, preprocess: Preprocess | None = None) -> torch.Tensor:
    """Scores (N, classes), on the CPU, of levels (N, H, W, 3).

    Args:
        model: the network.
        pixels: images of one size.
        preprocess: what is done to the images (N, 3, H, W) in [0, 1] before the network gets them.

    Raises:
        ModelError: the network answers with something other than finite logits.
    """
    images = to_unit(pixels, getattr(model, "dtype", torch.float32))
    if preprocess is not None:
        images = preprocess(images)
    try:
        return model.logits(images).detach().cpu()
    except (LinbpError, MemoryError, torch.OutOfMemoryError):
        raise
    # A network of the user's may raise anything; without its name nobody would know which of the victims it was.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ModelError(
            f"{model.name} failed on {len(images)} images of {tuple(images.shape[1:])}: "
            f"{type(error).__name__}: {reason}",
            "Check that it takes images of this size, on this device; --debug shows where it failed.",
        ) from error
