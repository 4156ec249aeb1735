"""LinBP on a ResNet as its authors' code has it: the blocks' forward pass again by hand, and a backward pass that walks
the linear blocks one by one, twice each. Used by `peers.py`; nothing here comes from linbp.

Guo, Li, Chen: Backpropagating Linearly Improves Transferability of Adversarial Examples, NeurIPS 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torchvision
from torch import nn
from torch.nn import functional

__all__ = ["ReleasedLinBP"]

Tensor = torch.Tensor


@dataclass
class Block:
    """What the backward pass needs of a linear block: where it begins, and values before and after its activations."""

    branch_in: Tensor
    skip: Tensor
    before: tuple[Tensor, Tensor]
    after: tuple[Tensor, Tensor]
    branch: Tensor
    total: Tensor


class ReleasedLinBP:
    """I-FGSM whose gradient passes the bottlenecks from one on linearly.

    Args:
        resnet: of bottlenecks, with frozen parameters.
        mean, std: (1, 3, 1, 1), of its input.
        first: of the linear bottlenecks, counted from 0 over all stages; ResNet-50's `layer3.1` is 8.
        eps, step_size: on the scale of [0, 1].
        steps: how many.
    """

    def __init__(
        self,
        resnet: torchvision.models.ResNet,
        mean: Tensor,
        std: Tensor,
        *,
        first: int,
        eps: float,
        steps: int,
        step_size: float,
    ) -> None:
        self.resnet, self.mean, self.std, self.first = resnet, mean, std, first
        self.eps, self.steps, self.step_size = eps, steps, step_size
        self.blocks = [*resnet.layer1, *resnet.layer2, *resnet.layer3, *resnet.layer4]

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        adv = images
        for _ in range(self.steps):
            adv = adv + self.step_size * self.gradient(adv, labels).sign()
            adv = torch.minimum(torch.maximum(adv, images - self.eps), images + self.eps).clamp(0, 1)
        return adv

    def gradient(self, images: Tensor, labels: Tensor) -> Tensor:
        """LinBP's gradient of the sum of the images' cross-entropies."""
        leaf = images.detach().requires_grad_()
        net = self.resnet
        value = net.maxpool(net.relu(net.bn1(net.conv1((leaf - self.mean) / self.std))))
        linear: list[Block] = []
        for number, block in enumerate(self.blocks):
            if number < self.first:
                value = block(value)
                continue
            linear.append(_forward(block, value))
            value = functional.relu(linear[-1].total)
        loss = functional.cross_entropy(net.fc(net.avgpool(value).flatten(1)), labels, reduction="sum")
        (at_sum,) = torch.autograd.grad(loss, linear[-1].total, retain_graph=True)
        for place in range(len(linear) - 1, -1, -1):
            one = linear[place]
            (ordinary,) = torch.autograd.grad(one.branch, one.after[1], at_sum, retain_graph=True)
            ordinary = ordinary * (one.after[1] > 0)
            (ordinary,) = torch.autograd.grad(one.before[1], one.after[0], ordinary, retain_graph=True)
            ordinary = ordinary * (one.after[0] > 0)
            (ordinary,) = torch.autograd.grad(one.before[0], one.branch_in, ordinary, retain_graph=True)
            (straight,) = torch.autograd.grad(one.branch, one.branch_in, at_sum, retain_graph=True)
            ratio = _norm(ordinary) / _norm(straight)
            ends, gradients = (one.skip, one.branch_in), (at_sum, ratio * straight)
            below = linear[place - 1].total if place else leaf
            (at_sum,) = torch.autograd.grad(ends, below, gradients, retain_graph=bool(place))
        return at_sum


def _forward(block: nn.Module, value: Tensor) -> Block:
    """A bottleneck up to its sum, with activations that the gradient does not see."""
    branch_in = value + 0
    first = block.bn1(block.conv1(branch_in)) + 0
    first_after = _linear_relu(first)
    second = block.bn2(block.conv2(first_after)) + 0
    second_after = _linear_relu(second)
    branch = block.bn3(block.conv3(second_after)) + 0
    skip = value + 0 if block.downsample is None else block.downsample(value) + 0
    return Block(branch_in, skip, (first, second), (first_after, second_after), branch, skip + branch)


def _linear_relu(value: Tensor) -> Tensor:
    return value + functional.relu(-value).detach()


def _norm(gradient: Tensor) -> Tensor:
    """Of each image's part, shaped to multiply it."""
    return gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
