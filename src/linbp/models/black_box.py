"""Black-box victims: a service, another framework, a pipeline of the user's own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from linbp.errors import LinbpError, ModelError
from linbp.models.decisions import answers_with, as_scores
from linbp.models.logits import check_logits
from linbp.models.model import Model
from linbp.models.queries import Queries, asked_afresh, queries_left, queries_of

__all__ = ["BlackBox", "Classifier"]


@runtime_checkable
class Classifier(Protocol):
    """What a victim needs: a score for each class of RGB images in [0, 1], and an identity for the records."""

    name: str

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Finite scores (N, classes) of images (N, 3, H, W).

        For a victim only their order within a row counts; a proxy must return logits or logarithms of
        probabilities.
        """
        ...

    def identity(self) -> dict[str, Any]:
        """What results record about the network: values that JSON can hold."""
        ...


class BlackBox:
    """A black-box model: a classifier of the user's own, whose exceptions become errors that name it.

    It gets images k/255 on the CPU, at their own size, and resizes them itself where it needs to. It may have the
    attributes `dtype` (else float32), `input_size` (channels, height, width), which the preprocessing of a protocol may
    need, and `class_names`; and `answers`: `scores` of all classes (the default), `labels` for a model that tells the
    best class alone, or `top-k` for one that tells the scores of a few. Labels are whole numbers (N,), with `classes`,
    how many there are, or `class_names`; of the best few, the other classes' scores are -inf. `preprocessing`, a Model
    without a network, tells what it does to images first. With `abstains` True, a row of equal scores is no answer.

    Args:
        victim: returns a tensor or an array (N, classes); or a function of images that does.
        source: further facts for the results.
        place: says where in the user's code an exception came from.

    Raises:
        ModelError: results cannot record its identity, or it is neither a classifier nor a function.
    """

    differentiable = False

    def __init__(
        self,
        victim: Classifier | Callable[[torch.Tensor], Any],
        *,
        source: Mapping[str, Any] | None = None,
        place: Callable[[Exception], str] | None = None,
    ) -> None:
        self.victim = victim = _classifier(victim)
        self.name, self.source, self._place = str(victim.name), dict(source or {}), place
        self.dtype: torch.dtype = getattr(victim, "dtype", torch.float32)
        self.input_size: tuple[int, int, int] | None = getattr(victim, "input_size", None)
        self.class_names: tuple[str, ...] = tuple(getattr(victim, "class_names", ()))
        inner = getattr(victim, "preprocessing", None)
        self.preprocessing = inner if isinstance(inner, Model) else None
        self.answers = answers_with(victim)
        self.abstains = bool(getattr(victim, "abstains", False))
        count = getattr(victim, "classes", None)
        self.classes = count if isinstance(count, int) else len(self.class_names) or None
        self._identity = self._described()

    def _described(self) -> dict[str, Any]:
        """The identity, fetched at once: after the last prediction it would be too late to fail."""
        try:
            found = dict(self.victim.identity())
            json.dumps(found)
        # The user's code may raise anything.
        except Exception as error:
            raise ModelError(
                f"The identity of {self.name} cannot be recorded: {self._where(error)}{type(error).__name__}: {error}",
                "Let identity() return a dict of strings and numbers.",
            ) from error
        return found

    def _where(self, error: Exception) -> str:
        return "" if self._place is None else f"{self._place(error)}: "

    def to(self, device: str | torch.device) -> BlackBox:
        """Itself: a black-box model decides where it runs."""
        return self

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Its scores (N, classes) of images (N, 3, H, W) in [0, 1], on the CPU; of labels, 1 for the class, else 0.

        Raises:
            ModelError: it fails, or returns something other than one finite row for each image.
        """
        try:
            answer: Any = self.victim.logits(images.detach())
            if isinstance(answer, np.ndarray):
                answer = torch.from_numpy(answer)
        except (LinbpError, MemoryError, torch.OutOfMemoryError):
            raise
        # The user's code may raise anything; what helps is the line.
        except Exception as error:
            raise ModelError(
                f"{self.name} failed on {len(images)} images: {self._where(error)}{type(error).__name__}: {error}",
                "Fix it, then run the same command again.",
            ) from error
        scores = as_scores(answer, self.answers, self.classes, self.name)
        return check_logits(scores, len(images), self.name).detach().cpu()

    def afresh(self) -> contextlib.AbstractContextManager[None]:
        """Inside, it answers nothing from what it has kept, if it keeps answers."""
        return asked_afresh(self.victim)

    @property
    def queries(self) -> Queries | None:
        """What it was asked so far, if it counts."""
        return queries_of(self.victim)

    @property
    def left(self) -> int | None:
        """How many more images it may be asked about; None: any number."""
        return queries_left(self.victim)

    def identity(self) -> dict[str, Any]:
        """What results record: the classifier's own identity, and where it came from."""
        return {**self._identity, "name": self.name, **self.source}


class _Function:
    """A function of images as a classifier, called what it is called."""

    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        self.name, self.logits = str(getattr(function, "__name__", type(function).__name__)), function

    def identity(self) -> dict[str, Any]:
        """Nothing is known of it but its name."""
        return {"name": self.name}


def _classifier(victim: Any) -> Classifier:
    """A victim of the user's own as a classifier.

    Raises:
        ModelError: it is a bare module, whose preprocessing is unknown, or nothing that answers.
    """
    if isinstance(victim, nn.Module) and not isinstance(victim, Classifier):
        raise ModelError(
            f"{type(victim).__name__} is a module, and its preprocessing is not known.",
            "Give linbp.Model(module, input_size=(3, 224, 224), mean=(...), std=(...)).",
        )
    if isinstance(victim, Classifier):
        return victim
    if isinstance(victim, type) or not callable(victim) or hasattr(victim, "logits"):
        lacks = [name for name in ("name", "logits", "identity") if not hasattr(victim, name)]
        raise ModelError(
            f"The victim is {type(victim).__name__}, without {', '.join(lacks) or 'an instance'}.",
            "Give a linbp.Model, the name of one, a function of images (N, 3, H, W), or an object with name, logits "
            "and identity.",
        )
    return _Function(victim)
