"""What linbp promises of every backward rule, one check each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from linbp.graph import Rule, Surrogate
from linbp.testing.networks import images_and_labels

__all__ = ["RULE_CHECKS"]


def plan(rule: Rule, surrogate: Surrogate) -> None:
    """Asked again about the same network, the rule acts at the same places."""
    first, second = (sorted(map(str, rule.plan(surrogate.structure).nodes(surrogate.structure))) for _ in range(2))
    assert first == second, "asked twice about one network, it acts at other places"


def forward(rule: Rule, surrogate: Surrogate) -> None:
    """The logits are the network's."""
    images = _images(surrogate)
    ruled, plain = surrogate.with_rule(rule).run(images), surrogate.run(images)
    assert torch.allclose(ruled, plain, rtol=1e-6, atol=1e-9), "the logits are others than the network's"


def gradient(rule: Rule, surrogate: Surrogate) -> None:
    """Every image has a gradient that is finite and not zero."""
    found = _gradient(surrogate.with_rule(rule), _images(surrogate))
    assert torch.isfinite(found).all(), "a gradient is NaN or infinite"
    assert (found.abs().amax((1, 2, 3)) > 0).all(), "the gradient of an image is zero"


def batch(rule: Rule, surrogate: Surrogate) -> None:
    """An image's gradient does not depend on the others of its batch."""
    ruled, images = surrogate.with_rule(rule), _images(surrogate)
    whole = _gradient(ruled, images)
    for rows in ([2], [2, 0], [3, 2, 1, 0]):
        found = _gradient(ruled, images, rows)
        assert torch.allclose(found, whole[rows], rtol=1e-9, atol=1e-12 * float(whole.abs().max())), (
            f"in a batch of {len(rows)} an image has another gradient than in one of {len(whole)}: are norms taken "
            "image by image?"
        )


def finite(rule: Rule, surrogate: Surrogate) -> None:
    """Nothing becomes NaN where the gradient that comes in is zero, tiny or huge."""
    ruled, images = surrogate.with_rule(rule), _images(surrogate)
    for factor in (0.0, 1e-30, 1e30):
        found = _gradient(ruled, images, factor=factor)
        assert torch.isfinite(found).all(), f"NaN or infinite where the incoming gradient is times {factor:g}"


def effect(rule: Rule, surrogate: Surrogate) -> None:
    """The gradient is another one than the ordinary one."""
    images = _images(surrogate)
    ruled, plain = _gradient(surrogate.with_rule(rule), images), _gradient(surrogate, images)
    assert not torch.allclose(ruled, plain, rtol=1e-9), "the gradient is the ordinary one"


def _images(surrogate: Surrogate) -> torch.Tensor:
    height, width = surrogate.model.input_size[1:]
    images = images_and_labels()[0].to(device=surrogate.device, dtype=surrogate.dtype) / 255
    return functional.interpolate(images, size=(height, width), mode="nearest")


def _gradient(
    surrogate: Surrogate, images: torch.Tensor, rows: list[int] | None = None, factor: float = 1.0
) -> torch.Tensor:
    """The gradient of each image's cross-entropy, times a factor at the logits."""
    chosen = list(range(len(images))) if rows is None else rows
    leaf = images[chosen].clone().requires_grad_()
    logits = surrogate.run(leaf)
    labels = images_and_labels()[1][chosen].to(leaf.device) % logits.shape[1]
    loss = functional.cross_entropy(logits, labels, reduction="sum")
    (found,) = torch.autograd.grad(loss * factor, leaf)
    return found


RULE_CHECKS: dict[str, Callable[[Rule, Surrogate], None]] = {
    "plan": plan,
    "forward": forward,
    "gradient": gradient,
    "batch": batch,
    "finite": finite,
    "effect": effect,
}
"""Every check of a rule by its name."""
