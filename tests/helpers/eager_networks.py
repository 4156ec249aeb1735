"""A small network of ordinary modules, and the same one with `nn.Identity` where activations are removed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

import linbp
from linbp.data.images import write_png

SIZE, CLASSES = 10, 4


class Swish(nn.Module):
    """SiLU, spelt out."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value * torch.sigmoid(value)


class Eager(nn.Module):
    """Batch norms with and without a momentum, dropout, a residual sum, a gate, and activations of several kinds.

    The activations, in execution order: 0 `first`, 1 `spelt`, 2 `inner` (in the branch), 3 `after` (after the sum),
    4 `gate`, 5 `last`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.first = nn.ReLU(inplace=True)
        self.spelt = Swish()
        self.conv1, self.norm1 = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6, momentum=None)
        self.inner = nn.ReLU(inplace=True)
        self.conv2, self.norm2 = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6, momentum=0.3)
        self.after = nn.ReLU(inplace=True)
        self.squeeze, self.gate = nn.Conv2d(6, 6, 1), nn.Sigmoid()
        self.drop = nn.Dropout(0.4)
        self.hidden, self.last, self.head = nn.Linear(6 * 25, 12), nn.GELU(), nn.Linear(12, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = self.spelt(self.first(self.norm(self.stem(images))))
        value = self.after(self.norm2(self.conv2(self.inner(self.norm1(self.conv1(value))))) + value)
        value = value * self.gate(self.squeeze(value.mean((2, 3), keepdim=True)))
        value = nn.functional.max_pool2d(value, 2).flatten(1)
        logits: torch.Tensor = self.head(self.last(self.hidden(self.drop(value))))
        return logits


ACTIVATIONS = ("first", "spelt", "inner", "after", "gate", "last")


def eager(removed: Iterable[str] = (), dtype: torch.dtype = torch.float64) -> Eager:
    """The network with seeded weights, in evaluation mode, the named activations replaced by the identity."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = Eager().to(dtype)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
    for name in removed:
        setattr(module, name, nn.Identity())
    return module.eval()


def model(dtype: torch.dtype = torch.float64) -> linbp.Model:
    """The network with all its activations, as a model with a mean and a standard deviation."""
    return linbp.Model(eager(dtype=dtype), input_size=(3, SIZE, SIZE), mean=(0.4,) * 3, std=(0.3,) * 3, name="eager")


def images_and_labels(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 images whose class can be learnt: the class is the brightest quarter."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    images = torch.randint(0, 150, (count, 3, SIZE, SIZE), generator=draw)
    half = SIZE // 2
    for image, label in zip(images, labels.tolist(), strict=True):
        down, right = divmod(label, 2)
        image[:, down * half : (down + 1) * half, right * half : (right + 1) * half] += 100
    return images.to(torch.uint8), labels


def write_photos(folder: Path, count: int) -> Path:
    """Such images as PNGs beside a list of them, images.csv; the folder."""
    images, labels = images_and_labels(count)
    lines = ["file,label"]
    for number, (image, label) in enumerate(zip(images.numpy(), labels.tolist(), strict=True)):
        write_png(folder / f"i{number}.png", np.ascontiguousarray(image.transpose(1, 2, 0)))
        lines.append(f"i{number}.png,{label}")
    (folder / "images.csv").write_text("\n".join(lines) + "\n")
    return folder
