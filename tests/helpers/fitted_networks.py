"""Images of four kinds, and small networks that tell them apart: for tests that need victims who know classes.

Each kind is a pattern of coloured squares with noise on it. A network is random convolutions with a linear head that
ridge regression fits in closed form, so that it takes milliseconds and is the same everywhere up to rounding.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import linbp

KINDS, SIZE = 4, 16
NAMES = ("red", "green", "blue", "grey")


def patterned(count: int, seed: int = 0, noise: float = 22.0) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 images (count, 3, 16, 16) and their kinds."""
    draw = np.random.default_rng(seed)
    patterns = np.random.default_rng(1234).integers(112, 144, (KINDS, 3, 4, 4)).repeat(4, 2).repeat(4, 3)
    labels = np.arange(count) % KINDS
    images = patterns[labels] + draw.normal(0, noise, (count, 3, SIZE, SIZE))
    return torch.from_numpy(images.round().clip(0, 255).astype(np.uint8)), torch.from_numpy(labels)


class Fitted(nn.Module):
    """Two convolutions with ReLU, pooled to 4 x 4, and a linear head."""

    def __init__(self, width: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.first, self.second = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
            self.relu, self.pool = nn.ReLU(), nn.AvgPool2d(4)
            self.head = nn.Linear(16 * width, KINDS)
        self.double().requires_grad_(False)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self.pool(self.relu(self.second(self.relu(self.first(images))))).flatten(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images))


@cache
def _module(seed: int, width: int) -> Fitted:
    module = Fitted(width, seed)
    images, labels = patterned(200, seed=1000 + seed)
    found = torch.cat([module.features(images.double() / 255 - 0.5), torch.ones(200, 1, dtype=torch.float64)], 1)
    wanted = nn.functional.one_hot(labels, KINDS).double() * 20
    solved = torch.linalg.solve(found.T @ found + 20 * torch.eye(found.shape[1], dtype=torch.float64), found.T @ wanted)
    with torch.no_grad():
        module.head.weight.copy_(solved[:-1].T)
        module.head.bias.copy_(solved[-1])
    return module


def fitted(seed: int = 0, width: int = 8) -> linbp.Model:
    """A network that knows the kinds; other seeds are other networks."""
    model = linbp.Model(_module(seed, width), input_size=(3, SIZE, SIZE), mean=0.5, std=1.0, name=f"fitted{seed}")
    model.class_names = NAMES
    return model


def save_onnx(path: Path, seed: int = 1) -> None:
    """One of the networks as an ONNX file in float32, which gets normalised images."""
    from onnx import TensorProto, helper, numpy_helper, save

    state = {name: tensor.float().numpy() for name, tensor in _module(seed, 8).state_dict().items()}
    nodes = [
        helper.make_node("Conv", ["image", "first.weight", "first.bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second.weight", "second.bias"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("AveragePool", ["d"], ["e"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "head.weight", "head.bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "fitted",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", KINDS])],
        [numpy_helper.from_array(value, name) for name, value in state.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def write_folders(folder: Path, count: int = 24) -> None:
    """PNGs in one sub-folder for each kind."""
    images, labels = patterned(count)
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        Image.fromarray(pixels).save(folder / str(label) / f"{number:03}.png")


def write_patterned(folder: Path, count: int = 24, shift: int = 0, seed: int = 0) -> Path:
    """PNGs and a list of them; the CSV. With a shift, labels are other kinds than the images show."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = patterned(count, seed)
    with (folder / "images.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "file", "label"])
        for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy())).save(folder / f"{number:03}.png")
            writer.writerow([f"i{number:03}", f"{number:03}.png", (label + shift) % KINDS])
    return folder / "images.csv"


NETWORKS = f"""
import os
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from fitted_networks import fitted


def first():
    return fitted(0)


def second():
    return fitted(1)


def third():
    return fitted(2)


class Stops:
    \"\"\"A service that answers so many images and no more.\"\"\"

    name, dtype = "service", fitted(1).dtype

    def __init__(self, left):
        self.left = left

    def identity(self):
        return {{"name": self.name}}

    def logits(self, images):
        self.left -= len(images)
        if self.left < 0:
            raise ConnectionError("the service is gone")
        return fitted(1).logits(images)


def stops():
    return Stops(int(os.environ["STOPS_AFTER"]))
"""


def write_networks(folder: Path) -> Path:
    """A Python file with the functions first, second, third and stops, for `file:...`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nets.py").write_text(NETWORKS)
    return folder / "nets.py"
