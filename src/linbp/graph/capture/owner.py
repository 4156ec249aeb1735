"""The user's own module, run as the user runs it: logits and gradients that a captured graph must have too."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn.modules._functions import BackwardHookFunction

from linbp.errors import CaptureError, LinbpError
from linbp.graph.capture.folding import difference
from linbp.graph.capture.where import first_line, user_line
from linbp.graph.capture.written_gradients import plain_checkpoints
from linbp.models.logits import check_logits
from linbp.models.model import Model

__all__ = ["COMPANIES", "IMAGES", "Answer", "Owner", "images_of_noise", "slopes"]

IMAGES = 4
COMPANIES = ((0, 1, 2), (1, 3))
"""Which of the images are asked about together: one of them twice, in company of other sizes."""

WITH_ITSELF = (2, 2)
"""A company of one image: in both others the image with the largest value, say, may be the one asked about twice."""

SAME_IMAGE = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Largest relative difference between the logits of one image in two batches: kernels may differ, functions may not."""

FIXED_BATCH = (
    "Export it with a free batch size (dynamic_shapes=({0: Dim.AUTO},)), or write its forward so that the batch size "
    "is not a fixed number: x.shape[0] and not len(x), reshape(x.shape[0], ...), no loop over the images."
)


@dataclass(frozen=True)
class Answer:
    """What a network says of a batch.

    Attributes:
        logits: (N, classes).
        gradients: (N, C, H, W) of the logits' sum with weights, one for each factor on the weights; None where no
            gradient reaches the images.
    """

    logits: torch.Tensor
    gradients: tuple[torch.Tensor, ...] | None


@dataclass
class Owner:
    """The user's module, and what it said.

    Attributes:
        model: in evaluation mode.
        images: what it is asked about (IMAGES, C, H, W).
        answers: one for each company.
        functions: those with a backward pass of their own that its own goes through.
        written: the same in words, with hooks on tensors.
        hooked: whether there are such hooks, which no graph can keep.
        factors: on the gradient at the logits; several where the backward pass may be anything.
        selects: whether the module answers with more than logits.
        overwritten: whether it writes over what its own backward pass needs, or is a program of operations without a
            derivative, so that it has no gradient to compare with; the graph, which has neither, has one.
    """

    model: Model
    images: torch.Tensor
    answers: list[Answer] = field(default_factory=list)
    functions: tuple[type[torch.autograd.Function], ...] = ()
    written: tuple[str, ...] = ()
    hooked: bool = False
    factors: tuple[float, ...] = (1.0,)
    selects: bool = False
    overwritten: bool = False

    @classmethod
    def asked(cls, model: Model) -> Owner:
        """Ask the module about every company.

        Raises:
            CaptureError: it fails, or says something else of one image in another batch.
            ModelError: its answers are no logits.
        """
        owner = cls(model, images_of_noise(model))
        owner.answers.append(owner._ask(COMPANIES[0], watched=True))
        owner.answers += [owner._ask(company) for company in COMPANIES[1:]]
        owner.selects = model.selects
        owner._refuse_moods()
        return owner

    @property
    def classes(self) -> int:
        """How many logits there are."""
        return self.answers[0].logits.shape[1]

    @property
    def blind(self) -> bool:
        """Whether no gradient reaches the images."""
        return self.answers[0].gradients is None and not self.overwritten

    @property
    def moves(self) -> bool:
        """Whether any image has a gradient that is not zero."""
        return any(bool(gradient.any()) for one in self.answers for gradient in one.gradients or ())

    @property
    def unproved(self) -> bool:
        """Whether it has a backward pass of its own that no image shows: every gradient is zero, or not finite."""
        gradients = [gradient.flatten(1) for one in self.answers for gradient in one.gradients or ()]
        shown = any(bool((torch.isfinite(rows).all(1) & rows.any(1)).any()) for rows in gradients)
        return bool(self.written) and not shown and not self.overwritten and not self.blind

    def _ask(self, company: Sequence[int], watched: bool = False) -> Answer:
        leaf = self.images[list(company)].requires_grad_()
        with _watched_hooks() as hooks:
            logits = self._logits(leaf)
        if watched:
            self.functions = tuple(_functions(logits))
            self.hooked = bool(hooks)
            self.written = (*dict.fromkeys([_called(function) for function in self.functions] + hooks),)
            # a backward pass that somebody wrote may clip, say: one gradient does not tell what others become
            self.factors = (1.0, 1e3, 1e-3) if self.written else (1.0,)
        try:
            return Answer(logits.detach(), slopes(logits, leaf, self.factors))
        except RuntimeError as fault:
            without = self.model.program is not None and "derivative for" in str(fault)  # of a decomposed program
            if "inplace operation" not in str(fault) and not without:
                raise CaptureError(
                    f"The backward pass of {self.model.name} fails: {user_line(fault)}{first_line(fault)}",
                    f"It fails without linbp too: differentiate its logits at a batch of shape {self._shape}.",
                ) from fault
            self.overwritten = True
            return Answer(logits.detach(), None)

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        stir()
        try:
            with plain_checkpoints():
                logits: torch.Tensor = self.model(images)
        except (LinbpError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as fault:  # the user's code may raise anything
            raise self._failed(f"fails on {len(images)} images: {user_line(fault)}{first_line(fault)}") from fault
        if isinstance(logits, torch.Tensor) and logits.ndim == 2 and len(logits) != len(images):
            raise self._failed(f"answers {len(images)} images with {len(logits)} rows")
        check_logits(logits, len(images), self.model.name)
        return logits

    @property
    def _shape(self) -> str:
        return f"(n, {', '.join(map(str, self.model.input_size))})"

    def _failed(self, what: str) -> CaptureError:
        """What to say of a module that fails: it may take other batches."""
        what = f"{self.model.name} {what}"
        sizes = [size for size in (1, 2, 4, 5, 6, 8, 16, 32) if self._takes(size)]
        if sizes:
            return CaptureError(f"{what}; it takes batches of {', '.join(map(str, sizes))} only.", FIXED_BATCH)
        return CaptureError(what, f"It fails without linbp too: try it on a batch of shape {self._shape}.")

    def _takes(self, size: int) -> bool:
        images = self.images[:1].expand(size, -1, -1, -1)
        try:
            with torch.no_grad():
                return len(self.model(images.clone())) == size
        except Exception:  # as above
            return False

    def _refuse_moods(self) -> None:
        """Refuse a module that says something else of one image in another batch, or at another time.

        Raises:
            CaptureError: it does.
        """
        first, second = self.answers
        third = self._logits(self.images[list(WITH_ITSELF)].requires_grad_()).detach()
        off = max(difference(second.logits[:1], first.logits[1:2]), difference(third[:1], first.logits[2:3]))
        if off <= SAME_IMAGE.get(self.images.dtype, 5e-2):
            return
        again = self._ask(COMPANIES[0])
        twice = difference(again.logits, first.logits)
        if twice > SAME_IMAGE.get(self.images.dtype, 5e-2):
            raise CaptureError(
                f"{self.model.name} gives other logits when it is asked again about the same batch, by {twice:.1e}.",
                "It draws random numbers in evaluation mode, or keeps state between calls: write its forward as a "
                "pure function of each image.",
            )
        raise CaptureError(
            f"{self.model.name} gives other logits for an image in other company, by {off:.1e}.",
            "It mixes the images of a batch, as a batch norm without running statistics does: write its forward as a "
            "pure function of each image.",
        )


def slopes(logits: torch.Tensor, leaf: torch.Tensor, factors: Sequence[float]) -> tuple[torch.Tensor, ...] | None:
    """Gradients at a leaf of the logits' sum with fixed random weights, times each factor; None where there is none."""
    if not logits.requires_grad:
        return None
    draw = torch.Generator().manual_seed(1)
    weights = torch.randn(logits.shape[1], generator=draw, dtype=torch.float64).to(logits)
    found = []
    for factor in factors:
        keep = factor != factors[-1]
        (one,) = torch.autograd.grad((logits * (weights * factor)).sum(), leaf, retain_graph=keep, allow_unused=True)
        if one is None:
            return None
        found.append(one.detach())
    return tuple(found)


def images_of_noise(model: Model) -> torch.Tensor:
    """Images (IMAGES, C, H, W) of smooth noise on the 8-bit grid, each of another contrast: the same for everybody.

    A network that divides by the batch's maximum, say, says something else of an image in another company then.
    """
    draw = torch.Generator().manual_seed(0)
    pairs = []
    for _ in range(IMAGES // 2):
        coarse = torch.rand(2, model.input_size[0], 8, 8, generator=draw, dtype=torch.float64)
        fine = torch.nn.functional.interpolate(coarse, size=model.input_size[1:], mode="bicubic", align_corners=False)
        grain = torch.rand(fine.shape, generator=draw, dtype=torch.float64)
        pairs.append((0.9 * fine + 0.1 * grain).clamp(0, 1))
    contrasts = torch.linspace(1, 0.7, IMAGES, dtype=torch.float64).view(-1, 1, 1, 1)
    return (torch.cat(pairs) * contrasts * 255).round().div(255).to(device=model.device, dtype=model.dtype)


def stir() -> None:
    """Move every random state on, so that a network that draws numbers does not draw the same ones again."""
    random.random()
    np.random.random()
    torch.rand(())


def _functions(logits: torch.Tensor) -> list[type[torch.autograd.Function]]:
    """The classes of `torch.autograd.Function` behind a result."""
    met: set[Any] = set()
    waiting: list[Any] = [logits.grad_fn]
    found = {}
    while waiting:
        node = waiting.pop()
        if node is None or node in met:
            continue
        met.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            found[type(node)._forward_cls] = True  # type: ignore[attr-defined]
        waiting += [before for before, _ in node.next_functions]
    return list(found)


def _called(function: type[torch.autograd.Function]) -> str:
    return "a module's backward hook" if function is BackwardHookFunction else function.__name__


@contextlib.contextmanager
def _watched_hooks() -> Iterator[list[str]]:
    """The places where hooks are put on tensors inside."""
    found: list[str] = []
    real = torch.Tensor.register_hook

    def register_hook(tensor: torch.Tensor, hook: Any) -> Any:
        found.append(f"a hook on a tensor ({getattr(hook, '__qualname__', type(hook).__name__)})")
        return real(tensor, hook)  # type: ignore[no-untyped-call]

    torch.Tensor.register_hook = register_hook  # type: ignore[method-assign]
    try:
        yield found
    finally:
        torch.Tensor.register_hook = real  # type: ignore[method-assign]
