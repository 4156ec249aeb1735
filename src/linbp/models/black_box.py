"""Victims that only answer: a service, another framework, a pipeline of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from linbp.errors import LinbpError, ModelError
from linbp.models.model import check_logits

__all__ = ["BlackBox", "Classifier"]


@runtime_checkable
class Classifier(Protocol):
    """What a victim must be able to do: answer RGB images in [0, 1] with a score for each class, and say what it is."""

    name: str

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Finite scores (N, classes) of images (N, 3, H, W); only their order within a row counts."""
        ...

    def identity(self) -> dict[str, Any]:
        """What results record of the network."""
        ...


class BlackBox:
    """A classifier of the user's own as a victim, whose faults become errors that name it.

    It gets 8-bit images as floats k/255, of the size they have, on the CPU: whatever is behind it resizes for itself.

    Args:
        victim: answers with a tensor or an array (N, classes).
        source: further facts for the results.
        place: says where in the user's code an exception came from.
    """

    differentiable = False
    class_names: tuple[str, ...] = ()

    def __init__(
        self, victim: Classifier, *, source: Mapping[str, Any] | None = None, place: Callable[[Exception], str]
    ) -> None:
        self.victim, self.name, self.source, self._place = victim, str(victim.name), dict(source or {}), place
        self.input_size: tuple[int, int, int] | None = getattr(victim, "input_size", None)

    def to(self, device: str | torch.device) -> BlackBox:
        """The same: where it runs is its own affair."""
        return self

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Its scores (N, classes) of images (N, 3, H, W) in [0, 1], on the CPU.

        Raises:
            ModelError: it fails, or answers with something other than one finite row for each image.
        """
        try:
            answer: Any = self.victim.logits(images.detach().to(device="cpu", dtype=torch.float32))
            if isinstance(answer, np.ndarray):
                answer = torch.from_numpy(answer)
        except LinbpError:
            raise
        # The user's code may raise anything; what helps is where it did.
        except Exception as error:
            raise ModelError(
                f"{self.name} failed on {len(images)} images: {self._place(error)}: {type(error).__name__}: {error}",
                "Mend what is behind it, then ask again.",
            ) from error
        return check_logits(answer, len(images), self.name).cpu()

    def identity(self) -> dict[str, Any]:
        """What results record: what the classifier says of itself, and where it came from."""
        return {**self.victim.identity(), "name": self.name, **self.source}
