"""What a network predicts for 8-bit images, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from linbp.data.images import Pixels
from linbp.data.numbering import order_of
from linbp.data.predictions import ABSTAINED
from linbp.errors import LabelsError
from linbp.evaluation.answers import answers_of
from linbp.models import BlackBox, Classifier, Model, OnnxModel, load_model
from linbp.models.refined import refuse_turns
from linbp.models.scores import Preprocess

__all__ = ["check_classes", "check_victim_not_shifted", "load_victim", "name_of", "predict"]


def name_of(victim: Any) -> str:
    """What results call a victim that was given as an object."""
    return str(getattr(victim, "name", None) or getattr(victim, "__name__", None) or type(victim).__name__)


def load_victim(
    victim: Classifier | Callable[[torch.Tensor], Any] | str, device: str | torch.device | None = None
) -> Classifier:
    """The victim itself, one that is no network of linbp's as a `BlackBox`; or the network of that name, on `device`.

    Raises:
        ModelError: no such network.
    """
    if not isinstance(victim, str):
        return victim if isinstance(victim, Model | OnnxModel | BlackBox) else BlackBox(victim)
    model = load_model(victim)
    refuse_turns(model)
    return model if device is None else model.to(device)


def predict(
    model: Classifier,
    batches: Iterable[Pixels],
    on_batch: Callable[[int], None] | None = None,
    preprocess: Preprocess | None = None,
) -> tuple[npt.NDArray[np.int64], int]:
    """Predicted classes of all images of `batches`, each of levels (N, H, W, 3), and the number of classes.

    Args and errors: as for `answers_of`.
    """
    found = answers_of(model, batches, on_batch, preprocess)
    return found.predictions, found.classes


def check_classes(name: str, classes: int, ids: Sequence[str], labels: Sequence[int], what: str = "label") -> None:
    """Refuse a network that has no class for one of the labels.

    Raises:
        LabelsError: a label lies outside the network's classes.
    """
    for image_id, label in zip(ids, labels, strict=True):
        if not 0 <= label < classes:
            raise LabelsError(
                f"{name} has {classes} classes (0 to {classes - 1}), but image {image_id!r} has {what} {label}.",
                "Evaluate on networks with the same classes as the labels; labels count from 0.",
            )


def check_victim_not_shifted(name: str, labels: Sequence[int], predictions: Sequence[int], classes: int) -> None:
    """Refuse a network that seems to number its classes otherwise than the labels, as with one for the background.

    Args:
        name: of the network.
        labels: of the clean images.
        predictions: of the clean images.
        classes: how many the network has.

    Raises:
        LabelsError: its predictions are the labels' neighbours, or the labels in another order; see `order_of`.
    """
    given = [pair for pair in zip(labels, predictions, strict=True) if pair[1] != ABSTAINED]
    order = order_of([label for label, _ in given], [found for _, found in given], classes)
    if order is None:
        return
    counts = f"of {len(labels)} clean images it predicts {order.explained} {order.name} and {order.equal} as label."
    trust = "if its predictions are only bad, --trust-labels (trust_labels=True)."
    if order.by == 0:
        raise LabelsError(
            f"The classes of {name} and the labels seem to be in different orders: {counts}",
            f"{order.mend} I{trust[1:]}",
        )
    from_1 = "If the labels count from 1: craft again with --first-label 1 (first_label=1) into a new folder. Else give"
    raise LabelsError(
        f"The classes of {name} and the labels seem to be shifted: {counts}",
        f"{from_1 if order.by < 0 else 'Give'} a network whose classes are numbered like the labels, from 0, "
        f"without one for the background; {trust}",
    )
