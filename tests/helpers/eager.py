"""A slow second implementation: one image at a time, in numpy and through the eager module with forward hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tiny_networks import CLASSES, Residual, images_and_labels, tiny
from torch import nn

import linbp

MEAN, STD = 0.5, 0.25
COUNT, EPS, STEP = 3, 8 / 255, 1.5 / 255
Array = np.ndarray[Any, Any]


@dataclass
class Look:
    """What a module shows at one image (3, H, W)."""

    image: Array
    logits: Array
    features: dict[str, Array]


def _run(net: nn.Module, image: Array, paths: Iterable[str]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    start = torch.from_numpy(image[None].copy()).requires_grad_()
    results: dict[str, torch.Tensor] = {"image": start}
    handles = []
    for path, child in net.named_modules():
        if path in paths:

            def hook(_: nn.Module, __: object, result: torch.Tensor, path: str = path) -> None:
                results[path] = result

            handles.append(child.register_forward_hook(hook))
    results["logits"] = net((start - MEAN) / STD)
    for handle in handles:
        handle.remove()
    return start, results


def look(net: nn.Module, image: Array, paths: Iterable[str] = ()) -> Look:
    """Logits (classes,) and the results of modules at an image."""
    _, results = _run(net, image, paths)
    values = {name: value.detach()[0].numpy() for name, value in results.items()}
    return Look(values.pop("image"), values.pop("logits"), values)


def pull_back(net: nn.Module, image: Array, gradients: dict[str, Array]) -> Array:
    """The gradient at the image of gradients at modules' results, at `logits` and at the `image` itself."""
    start, results = _run(net, image, gradients)
    total = np.zeros_like(image)
    for name, gradient in gradients.items():
        at = torch.from_numpy(np.ascontiguousarray(gradient))[None]
        if name == "image":
            total = total + gradient
        else:
            (found,) = torch.autograd.grad(results[name], start, at, retain_graph=True)
            total = total + found[0].numpy()
    return total


def softmax(logits: Array) -> Array:
    power = np.exp(logits - logits.max())
    return power / power.sum()


def one(index: int, count: int) -> Array:
    return np.eye(count)[index]


def cross_entropy_gradient(logits: Array, label: int, target: int | None) -> Array:
    """Of -log p_label, or of log p_target."""
    if target is None:
        return softmax(logits) - one(label, len(logits))
    return one(target, len(logits)) - softmax(logits)


def cross_entropy(logits: Array, label: int) -> float:
    return float(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[label])


def climb(
    clean: Array,
    gradient: Callable[[Array], Array],
    *,
    steps: int,
    step_size: float,
    eps: float,
    momentum: float | None = None,
    first: Array | None = None,
) -> list[Array]:
    """Every point of an attack on one image by signs, the first one and the last one among them."""
    points = [clean if first is None else np.clip(first, 0, 1)]
    total = np.zeros_like(clean)
    for _ in range(steps):
        found = gradient(points[-1])
        if momentum is not None:
            total = momentum * total + found / np.abs(found).sum()
            found = total
        moved = points[-1] + step_size * np.sign(found)
        points.append(np.clip(np.clip(moved, clean - eps, clean + eps), 0, 1))
    return points


def linbp_gradient(net: Residual, image: Array, label: int) -> Array:
    """LinBP's gradient of the cross-entropy on the tiny residual network, both blocks linear, block by block."""
    with torch.no_grad():
        stem = net.stem((torch.from_numpy(image[None].copy()) - MEAN) / STD)
        value = torch.relu(stem)
        seen = []
        for block in net.blocks:
            inner = block.bn1(block.conv1(value))
            after = block.bn2(block.conv2(torch.relu(inner))) + value
            seen.append((block, inner > 0, after > 0, value.shape))
            value = torch.relu(after)
        logits = net.head(value.flatten(1))
    upstream = torch.from_numpy(cross_entropy_gradient(logits[0].numpy(), label, None))[None]
    gradient = (upstream @ net.head.weight.detach()).view(value.shape)
    for block, inner, after, shape in reversed(seen):
        gradient = gradient * after
        through = _transposed(lambda at, block=block: block.bn2(block.conv2(at)), shape, gradient)
        linear = _transposed(lambda at, block=block: block.bn1(block.conv1(at)), shape, through)
        masked = _transposed(lambda at, block=block: block.bn1(block.conv1(at)), shape, through * inner)
        gradient = gradient + linear * masked.norm() / linear.norm()
    image_shape = (1, *image.shape)
    return _transposed(lambda at: net.stem(at / STD), image_shape, gradient * (stem > 0))[0].numpy()


def _transposed(
    affine: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, ...], gradient: torch.Tensor
) -> torch.Tensor:
    """An affine map's transpose; where it is taken does not matter."""
    at = torch.zeros(shape, dtype=gradient.dtype, requires_grad=True)
    return torch.autograd.grad(affine(at), at, gradient)[0]


@dataclass
class Setting:
    """A network, its capture, and images with labels and targets."""

    net: Residual
    surrogate: linbp.Surrogate
    clean: Array
    labels: list[int]
    targets: list[int]


def make_setting() -> Setting:
    """The tiny residual network, its capture, and what to attack."""
    model = tiny()
    images, labels = images_and_labels(COUNT)
    clean = images.numpy().astype(np.float64) / 255
    net = model.module.eval()
    assert isinstance(net, Residual)
    return Setting(net, linbp.Surrogate(model), clean, labels.tolist(), ((labels + 3) % CLASSES).tolist())


def craft(setting: Setting, text: str, steps: int, targeted: bool = False) -> Array:
    """The library's adversarial images (N, 3, H, W), in levels."""
    adv = linbp.craft(
        setting.surrogate,
        torch.from_numpy(setting.clean),
        torch.tensor(setting.labels),
        text,
        eps=EPS,
        steps=steps,
        step_size=STEP,
        seed=9,
        targets=torch.tensor(setting.targets) if targeted else None,
    )
    return np.rint(adv.numpy() * 255)
