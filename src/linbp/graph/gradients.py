"""What a captured network computes: logits, feature maps and gradients, group by group."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import fx, nn
from torch.nn import functional

from linbp.errors import ImageError, ModelError
from linbp.graph.capture.capture import Capture
from linbp.graph.engine.memory import remembered_gradient
from linbp.graph.engine.mixture import Mixture
from linbp.graph.engine.plan import Plan
from linbp.graph.kernels.groups import groups_of
from linbp.graph.kernels.layout import MemoryFormat
from linbp.models.logits import check_logits
from linbp.models.model import Model
from linbp.models.plain_mode import plain_mode

__all__ = ["Gradients"]


class Gradients:
    """A captured network with its rule, as something that is asked; `Surrogate` makes it.

    Attributes:
        model: that was captured.
        classes: number of logits.
        plan: of the rule.
        reads: module paths of the feature maps that come with the logits.
        memory_format: of images and feature maps.
        group_size: images that are computed at a time, where that decides the bits.
    """

    model: Model
    classes: int
    plan: Plan
    reads: tuple[str, ...]
    memory_format: MemoryFormat
    group_size: int
    _capture: Capture
    _ordinary: fx.GraphModule
    """Without the rule."""
    _with_rules: fx.GraphModule
    _network: nn.Module
    """With the rule, and with what it remembers of several backward passes."""
    _mixture: Mixture | None
    _front: fx.GraphModule
    """Up to the feature map that is mixed."""

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        for tensor in self._ordinary.buffers():
            return tensor.device
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that gradients are computed in."""
        return self.model.dtype

    def run(self, images: torch.Tensor, beside: torch.Tensor | None = None) -> torch.Tensor:
        """Logits with a graph for autograd behind them: differentiating them takes the rule's gradient.

        Args:
            images: (N, C, H, W) in [0, 1], any size, on the surrogate's device and in its dtype.
            beside: images whose feature map is mixed in, on a surrogate that is `mixing`.
        """
        return self._in_groups(self._network, images, beside)[0]

    def observe(
        self, images: torch.Tensor, beside: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """What `run` returns, and the feature maps that the surrogate reads, by module path; all with a graph behind.

        Args:
            images: (N, C, H, W) in [0, 1], any size, on the surrogate's device and in its dtype.
            beside: images whose feature map is mixed in, on a surrogate that is `mixing`.
        """
        logits, *values = self._in_groups(self._network, images, beside)
        return logits, dict(zip(self.reads, values, strict=True))

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes), without gradients, of images (N, C, H, W) in [0, 1].

        Raises:
            ModelError: they are not finite.
        """
        with plain_mode(), torch.no_grad():
            images = images.to(device=self.device, dtype=self.dtype)
            (answer,) = self._in_groups(self._ordinary, images)
        return check_logits(answer, len(images), self.model.name)

    def gradient(self, images: torch.Tensor, labels: torch.Tensor | Sequence[int]) -> torch.Tensor:
        """The rule's gradient of each image's own cross-entropy (of their sum, not their mean).

        Args:
            images: (N, C, H, W) in [0, 1].
            labels: (N,), counted from 0.

        Returns:
            Shape of `images`, dtype of the network.

        Raises:
            ImageError: a label is not a class of the network.
            ModelError: a gradient is not finite.
        """
        classes = torch.as_tensor(labels, dtype=torch.int64, device=self.device)
        if classes.shape != (len(images),) or not bool(((classes >= 0) & (classes < self.classes)).all()):
            raise ImageError(
                f"Labels must be {len(images)} numbers from 0 to {self.classes - 1}.", "Labels count from 0."
            )
        with plain_mode():
            start = images.detach().to(device=self.device, dtype=self.dtype).clone().requires_grad_()
            loss = functional.cross_entropy(self.run(start), classes, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, start)
        if not bool(torch.isfinite(gradient).all()):
            raise ModelError(
                f"{self.model.name} has a gradient that is NaN or infinite.",
                "Check its weights and its input range; try it in float64 (module.double()).",
            )
        return gradient

    def feature_gradients(
        self, images: torch.Tensor, value: Callable[[torch.Tensor], torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The rule's gradient, at each feature map that the surrogate reads, of a number that the logits give.

        Args:
            images: (N, C, H, W) in [0, 1], any size, on the surrogate's device and in its dtype.
            value: of each image, (N,), from logits (N, classes).

        Returns:
            By module path, of the feature maps' shapes; zero at a map that the logits do not come from.
        """
        with torch.enable_grad():
            leaf = images.detach().requires_grad_()
            found = [self._with_rules(self._prepared(full)) for _, full in self._groups(leaf)]
            sizes = [count for count, _ in self._groups(leaf)]
            logits = torch.cat([values[0][:count] for values, count in zip(found, sizes, strict=True)])
            answer = logits.detach().requires_grad_()
            (at_logits,) = torch.autograd.grad(value(answer).sum(), answer)
        rows: list[tuple[torch.Tensor, ...]] = []
        for values, count, given in zip(found, sizes, torch.split(at_logits, sizes), strict=True):
            padded = torch.cat([given, given.new_zeros(len(values[0]) - count, given.shape[1])])
            gradients = remembered_gradient(values[:1], values[1:], [padded], self.plan.memories)
            rows.append(tuple(gradient[:count] for gradient in gradients))
        return {path: torch.cat(parts) for path, parts in zip(self.reads, zip(*rows, strict=True), strict=True)}

    def _in_groups(
        self, network: nn.Module, images: torch.Tensor, beside: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """What a network returns, computed group by group."""
        answers: list[tuple[torch.Tensor, ...]] = []
        others = itertools.repeat(None) if beside is None else (full for _, full in self._groups(beside))
        for (count, full), other in zip(self._groups(images), others, strict=False):
            with self._mixed_with(other):
                found = network(self._prepared(full))
            values = found if isinstance(found, tuple) else (found,)
            answers.append(tuple(value[:count] for value in values))
        return answers[0] if len(answers) == 1 else tuple(torch.cat(parts) for parts in zip(*answers, strict=True))

    @property
    def in_groups(self) -> bool:
        """Whether images are computed in groups: elsewhere than in float32 on a CPU, it has no use."""
        return self.dtype == torch.float32 and self.device.type == "cpu"

    def _mixed_with(self, images: torch.Tensor | None) -> contextlib.AbstractContextManager[None]:
        """Inside, the network mixes in the feature map of images, where there are some."""
        if images is None or self._mixture is None:
            return contextlib.nullcontext()
        with torch.no_grad():
            return self._mixture.of(self._front(self._prepared(images)))

    def _groups(self, images: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        return groups_of(images, self.group_size if self.in_groups else None, *self._capture.batches)

    def _prepared(self, images: torch.Tensor) -> torch.Tensor:
        images = self.model.resize(images)
        if self.memory_format == "channels_last":
            return images.contiguous(memory_format=torch.channels_last)
        return images
