"""Whether a captured graph is what the user's module is: logits and gradients side by side."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import fx

from linbp.errors import CaptureError
from linbp.graph.capture.folding import difference, widened
from linbp.graph.capture.owner import COMPANIES, FIXED_BATCH, IMAGES, Answer, Owner, slopes
from linbp.graph.capture.where import first_line

__all__ = ["GradientFault", "agrees", "check_gradients", "check_logits_of"]

SAME_LOGITS = {torch.float64: 1e-9, torch.float32: 1e-3}
"""Largest relative difference between the graph's logits and the module's: kernels may differ, functions may not."""

SAME_GRADIENT = {torch.float64: 1e-7, torch.float32: 1e-3}
"""As above, between gradients, image by image."""

FROM_THE_CACHE = {torch.float64: 1e-9, torch.float32: 1e-5}
"""As above, for a stored program, which is made anew where it is further away: both run the same operations."""

HALF = 5e-2
"""As above, with half precision."""

DATA_DEPENDENT = (
    "Its forward probably branches on values, keeps state between calls, reads something outside the network or mixes "
    "the images of a batch: write it as a pure function of each image."
)
COMPANY = (*range(IMAGES), 0)
"""The images that the graph is asked about: one more than the module was ever asked at once."""


class GradientFault(CaptureError):
    """The graph has the module's logits, and another gradient."""


def answer(network: fx.GraphModule, owner: Owner, most: int) -> Answer:
    """What the graph says of the owner's images, of which it takes so many at once.

    Raises:
        CaptureError: it fails on such a batch, or returns no logits.
    """
    if most < IMAGES:
        raise CaptureError(f"{owner.model.name} takes batches of at most {most}.", FIXED_BATCH)
    company = list(COMPANY[:most])
    name, leaf = owner.model.name, owner.images[company].clone().requires_grad_()
    try:
        logits = network(leaf)
    except (RuntimeError, ValueError, IndexError) as fault:
        raise CaptureError(f"{name} takes some batch sizes only: {first_line(fault)}", FIXED_BATCH) from fault
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or logits.shape[1] != owner.classes:
        raise CaptureError(f"The graph of {name} returns something else than the module does.", DATA_DEPENDENT)
    if len(logits) != len(company):
        raise CaptureError(
            f"The batch size is written into {name}: it answers {len(company)} images with {len(logits)} rows.",
            FIXED_BATCH,
        )
    return Answer(logits.detach(), slopes(logits, leaf, owner.factors))


def agrees(network: fx.GraphModule, owner: Owner, most: int) -> bool:
    """Whether a program from the cache is still the module's, to the last digits but one."""
    try:
        found = answer(network, owner, most)
    except CaptureError:
        return False
    bound = FROM_THE_CACHE.get(owner.images.dtype, HALF)
    return _logits_off(found, owner) <= bound and _gradients_off(found, owner) <= 100 * bound


def check_logits_of(network: fx.GraphModule, owner: Owner, most: int) -> Answer:
    """Compare the logits, and return what the graph said.

    Raises:
        CaptureError: they differ.
    """
    found = answer(network, owner, most)
    worst = _logits_off(found, owner)
    if not worst <= SAME_LOGITS.get(owner.images.dtype, HALF):
        if (
            owner.images.dtype == torch.float32
            and _in_float64(network, owner, _logits_off) <= SAME_LOGITS[torch.float32]
        ):
            raise CaptureError(
                f"The float32 logits of {owner.model.name} are mostly rounding: graph and module agree in float64, and "
                f"differ by {worst:.1e} in float32.",
                "Use it in float64 (module.double()). Activations that explode do this, as in some untrained networks.",
            )
        raise CaptureError(
            f"The logits of the graph of {owner.model.name} differ from the module's by {worst:.1e}.", DATA_DEPENDENT
        )
    return found


def check_gradients(network: fx.GraphModule, owner: Owner, found: Answer) -> None:
    """Compare the gradients, in float64 where float32 leaves a doubt: a ReLU near zero may fall on either side.

    Raises:
        GradientFault: they differ.
    """
    dtype = owner.images.dtype
    worst = _gradients_off(found, owner)
    if worst <= SAME_GRADIENT.get(dtype, HALF) or (
        dtype == torch.float32
        and worst < 1
        and _in_float64(network, owner, _gradients_off) <= SAME_GRADIENT[torch.float32]
    ):
        return
    what = f"The gradient of the graph of {owner.model.name} differs from the module's by {worst:.1%}."
    if any(node.target is torch.ops.aten.instance_norm.default for node in network.graph.nodes):
        raise GradientFault(
            f"{what} torch's backward pass of InstanceNorm is wrong for gradients of some memory layouts.",
            "Put GroupNorm(channels, channels), which computes the same, in its place.",
        )
    why = f" Its backward pass is of its own making: {', '.join(owner.written)}." if owner.written else ""
    raise GradientFault(
        f"{what}{why}",
        "Write what changes the gradient as a torch.autograd.Function, or with detach(), or take the hook off "
        "(handle.remove()); as a victim linbp takes the network as it is.",
    )


def _logits_off(found: Answer, owner: Owner) -> float:
    return max(
        difference(found.logits[list(company)], said.logits)
        for company, said in zip(COMPANIES, owner.answers, strict=True)
    )


def _gradients_off(found: Answer, owner: Owner) -> float:
    """The largest relative difference between the gradients at an image; infinite where only one has any."""
    worst = 0.0
    if owner.overwritten:
        return worst
    for company, said in zip(COMPANIES, owner.answers, strict=True):
        if (found.gradients is None) != (said.gradients is None):
            return float("inf") if found.gradients is None else max(map(_size, found.gradients))
        for ours, theirs in zip(found.gradients or (), said.gradients or (), strict=True):
            worst = max(worst, _images_off(ours[list(company)], theirs))
    return worst


def _size(gradient: torch.Tensor) -> float:
    return float(gradient.double().norm())


def _images_off(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The difference at the worst image; a gradient far smaller than the other images' is noise.

    Where the module's own is not finite there is nothing to compare; where only the graph's is not, it is infinite.
    """
    finite = torch.isfinite(theirs).flatten(1).all(1)
    if not bool(torch.isfinite(ours[finite]).all()):
        return float("inf")
    ours, theirs = ours[finite], theirs[finite]
    if not len(theirs):
        return 0.0
    off = (ours.double() - theirs.double()).flatten(1).norm(dim=1)
    sizes = theirs.double().flatten(1).norm(dim=1)
    scale = sizes.clamp(min=1e-3 * float(sizes.max()))
    return float(torch.where(off > 0, off / scale, 0.0).max())


def _in_float64(network: fx.GraphModule, owner: Owner, off: Callable[[Answer, Owner], float]) -> float:
    """A difference between graph and module in float64; infinite where it cannot be had."""
    try:
        wide = Owner.asked(copy.deepcopy(owner.model).double())
        return off(answer(widened(network), wide, IMAGES), wide)
    except Exception:  # not every network can be copied, or takes float64: the doubt stays
        return float("inf")
