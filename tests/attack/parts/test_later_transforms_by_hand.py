"""SSA, BSR, SIA, OPS, DEM, shifts and PatchOut against slow second implementations, one image at a time.

They share nothing with the package but the draws, whose keys are part of what is promised.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from attack_by_hand import SEED, networks
from sampled_by_hand import between_pixels, turned_by_hand
from tiny_networks import SIZE, images_and_labels
from torch.nn import functional

import linbp
from linbp.attack import Recipe
from linbp.errors import LinbpError, RecipeError
from linbp.randomness import generator

COUNT, EPS, STEP = 2, 8 / 255, 1.5 / 255
Draw = Callable[[str], np.random.Generator]
"""The generator of a purpose, for one image and step."""
Copy = Callable[[torch.Tensor, torch.Tensor, Draw], torch.Tensor]
"""One copy (3, SIZE, SIZE) of an image and its clean image."""


def cosines(side: int) -> np.ndarray:
    """The orthonormal DCT-II, entry by entry."""
    result = np.zeros((side, side))
    for frequency in range(side):
        for place in range(side):
            scale = math.sqrt((1 if frequency == 0 else 2) / side)
            result[frequency, place] = scale * math.cos(math.pi * (2 * place + 1) * frequency / (2 * side))
    return result


def spectrum(image: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    down, across = (torch.from_numpy(cosines(side)) for side in image.shape[1:])
    return torch.einsum("ki,ckl,lj->cij", down, change(torch.einsum("ki,cij,lj->ckl", down, image, across)), across)


def ssa(number: int, rho: float, sigma: float, through: bool) -> Copy:
    def copy(image: torch.Tensor, clean: torch.Tensor, draw: Draw) -> torch.Tensor:
        random = draw(f"ssa {number}")
        noise = torch.from_numpy(random.standard_normal((3, SIZE, SIZE))) * sigma * EPS
        mask = torch.from_numpy(random.uniform(1 - rho, 1 + rho, (3, SIZE, SIZE)))
        changed = spectrum(image + noise, lambda values: values * mask)
        return changed if through else image - image.detach() + changed.detach()

    return copy


def parts(length: int, count: int, random: np.random.Generator) -> list[int]:
    weights = random.uniform(1, 2, count)
    lengths = [round(length * weight / weights.sum()) for weight in weights]
    lengths[int(np.argmax(lengths))] += length - sum(lengths)
    return lengths


def bsr(number: int, blocks: int, angle: float) -> Copy:
    def copy(image: torch.Tensor, clean: torch.Tensor, draw: Draw) -> torch.Tensor:
        random = draw(f"bsr {number}")
        rows_first = bool(random.integers(2))
        picture = image if rows_first else image.transpose(1, 2)  # columns first: the same on its side
        ends = np.cumsum([0, *parts(SIZE, blocks, random)])
        order = random.permutation(blocks)
        angles = random.uniform(-angle, angle, blocks)
        result = []
        for new, old in enumerate(order):
            strip = picture[:, ends[old] : ends[old + 1]]
            turned = turned_by_hand(strip, float(angles[new] if rows_first else -angles[new]))
            cuts = np.cumsum([0, *parts(SIZE, blocks, random)])
            result.append(torch.cat([turned[:, :, cuts[at] : cuts[at + 1]] for at in random.permutation(blocks)], 2))
        whole = torch.cat(result, 1)
        return whole if rows_first else whole.transpose(1, 2)

    return copy


def sia(number: int, blocks: int, operations: int) -> Copy:
    def change(block: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
        chosen = int(random.integers(operations))
        height, width = block.shape[1:]
        rows, columns = torch.arange(height), torch.arange(width)
        if chosen == 0:
            return block[:, (rows - int(random.integers(height))) % height]
        if chosen == 1:
            return block[:, :, (columns - int(random.integers(width))) % width]
        if chosen == 5:
            return block * random.random()
        if chosen == 6:
            return (block + torch.from_numpy(random.uniform(-16 / 255, 16 / 255, block.shape))).clamp(0, 1)
        if chosen == 7:
            return stretched(stretched(block, int(0.8 * height) + 1, int(0.8 * width) + 1), height, width).clamp(0, 1)
        if chosen == 8:
            low = (rows < height - int(0.4 * height))[:, None] & (columns < width - int(0.4 * width))
            return spectrum(block, lambda values: values * low)
        if chosen == 9:
            return block * torch.from_numpy((random.random(3) < 0.9) / 0.9)[:, None, None]
        block = block[:, height - 1 - rows] if chosen in (2, 4) else block
        return block[:, :, width - 1 - columns] if chosen in (3, 4) else block

    def copy(image: torch.Tensor, clean: torch.Tensor, draw: Draw) -> torch.Tensor:
        random = draw(f"sia {number}")
        cuts = []
        for _ in range(2):
            inner = random.choice(np.arange(1, SIZE), size=blocks - 1, replace=False)
            cuts.append([0, *sorted(inner.tolist()), SIZE])
        result = torch.empty_like(image)
        for top, bottom in zip(cuts[0], cuts[0][1:], strict=False):
            for left, right in zip(cuts[1], cuts[1][1:], strict=False):
                result[:, top:bottom, left:right] = change(image[:, top:bottom, left:right], random)
        return result

    return copy


def stretched(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Bilinear, edges repeated, pixels' middles where they are in proportion."""
    rows = ((torch.arange(height).double() + 0.5) * image.shape[1] / height - 0.5).clamp(0, image.shape[1] - 1)
    columns = ((torch.arange(width).double() + 0.5) * image.shape[2] / width - 0.5).clamp(0, image.shape[2] - 1)
    return between_pixels(image, rows[:, None].expand(height, width), columns[None].expand(height, width))


def enlarged(image: torch.Tensor, scale: float, random: np.random.Generator) -> torch.Tensor:
    """Diverse inputs with probability 1, bilinear."""
    largest = int(SIZE * scale)
    if largest <= SIZE:
        return image
    side = int(random.integers(SIZE, largest))
    top, left = int(random.integers(0, largest - side + 1)), int(random.integers(0, largest - side + 1))
    canvas = torch.zeros(3, largest, largest, dtype=image.dtype)
    canvas[:, top : top + side, left : left + side] = image if side == SIZE else stretched(image, side, side)
    return stretched(canvas, SIZE, SIZE)


def nearest(image: torch.Tensor, degrees: int) -> torch.Tensor:
    """Turned, each pixel from the one whose middle is nearest."""
    result, middle, angle = torch.zeros_like(image), (SIZE - 1) / 2, math.radians(degrees)
    for row in range(SIZE):
        for column in range(SIZE):
            u, v = column - middle, row - middle
            x, y = u * math.cos(angle) - v * math.sin(angle), u * math.sin(angle) + v * math.cos(angle)
            # Between two middles the last digit decides, so the way there and back is torch's.
            x, y = (((at * 2 / SIZE + 1) * SIZE - 1) / 2 for at in (x, y))
            if 0 <= round(x) < SIZE and 0 <= round(y) < SIZE:
                result[:, row, column] = image[:, round(y), round(x)]
    return result


def ops(noise: int, operator: int) -> Copy:
    angles, scales = [5, -5, 15, -15, 45, -45, 90, -90, 180], [1.1 + 0.2 * at for at in range(10)]

    def change(image: torch.Tensor, number: int, random: np.random.Generator) -> torch.Tensor:
        if number in (1, 2):
            return image.flip(number)
        if number in (3, 4):
            return image.roll(int(random.integers(SIZE)), number - 2)
        if 5 <= number < 14:
            return nearest(image, angles[number - 5])
        if 14 <= number < 21:
            return image / (number - 12)
        return image if number == 0 else enlarged(image, round(scales[number - 21], 1), random)

    def copy(image: torch.Tensor, clean: torch.Tensor, draw: Draw) -> torch.Tensor:
        radius = 2 * float(draw(f"ops radius {noise}").choice([0.25, 0.5, 0.75, 1.0, 1.25, 1.5]))
        image = image + torch.from_numpy(2 * draw(f"ops noise {noise}").random((3, SIZE, SIZE)) - 1) * radius * EPS
        random = draw(f"ops operator {operator}")
        for number in random.integers(31, size=int(random.choice([2, 3, 4]))):
            image = change(image, int(number), random)
        return image

    return copy


def dem(number: int, scale: float) -> Copy:
    return lambda image, clean, draw: enlarged(image, scale, draw(f"dem {number}"))


def moved(down: float, across: float) -> Copy:
    """By shares of half the side."""

    def copy(image: torch.Tensor, clean: torch.Tensor, draw: Draw) -> torch.Tensor:
        rows = (torch.arange(SIZE).double() + down * SIZE / 2)[:, None].expand(SIZE, SIZE)
        columns = (torch.arange(SIZE).double() + across * SIZE / 2)[None].expand(SIZE, SIZE)
        return between_pixels(image, rows, columns)

    return copy


def patchout(patch: int, kept: int) -> Copy:
    def copy(image: torch.Tensor, clean: torch.Tensor, draw: Draw) -> torch.Tensor:
        across = -(-SIZE // patch)
        chosen = set(draw("patchout").choice(across**2, size=kept, replace=False).tolist())
        mask = torch.zeros(SIZE, SIZE)
        for row in range(SIZE):
            for column in range(SIZE):
                mask[row, column] = row // patch * across + column // patch in chosen
        return clean + mask * (image - clean)

    return copy


ROWS: list[tuple[str, list[Copy], bool]] = [
    ("ssa(copies=2)", [ssa(0, 0.5, 1, through=False), ssa(1, 0.5, 1, through=False)], False),
    ("ssa(copies=1, rho=0.8, sigma=0.3, through=true)", [ssa(0, 0.8, 0.3, through=True)], False),
    ("bsr(copies=3)", [bsr(number, 3, 24) for number in range(3)], False),
    ("bsr(copies=2, blocks=2, angle=90)", [bsr(number, 2, 90) for number in range(2)], False),
    ("sia(copies=6)", [sia(number, 3, 10) for number in range(6)], False),
    ("sia(copies=2, blocks=2, operations=seven)", [sia(number, 2, 7) for number in range(2)], False),
    ("ops(operators=8, noises=2)", [ops(noise, operator) for noise in range(2) for operator in range(8)], False),
    ("dem", [dem(at, scale / 299) for at, scale in enumerate((340, 380, 420, 460, 500))], True),
    ("dem(scales=[1.5, 2])", [dem(0, 1.5), dem(1, 2)], True),
    ("shift-grid(shifts=3)", [moved(down, across) for down in (-0.3, 0, 0.3) for across in (-0.3, 0, 0.3)], False),
    ("shift-grid(shifts=2, reach=0.37)", [moved(d, a) for d in (-0.37, 0.37) for a in (-0.37, 0.37)], False),
    ("patchout(patch=5, share=0.5)", [patchout(5, 4)], False),
]


@pytest.fixture(scope="module")
def surrogate() -> linbp.Surrogate:
    return linbp.Surrogate(linbp.Model(networks()[0], input_size=(3, SIZE, SIZE), mean=(0.5,) * 3, std=(0.25,) * 3))


@pytest.mark.parametrize(("text", "copies", "averaged"), ROWS, ids=[row[0] for row in ROWS])
def test_two_steps(surrogate: linbp.Surrogate, text: str, copies: list[Copy], averaged: bool) -> None:
    images, labels = images_and_labels(COUNT)
    net = networks()[0]
    asked = text.replace("dem(", "dem(interpolation=bilinear, ") if text != "dem" else "dem(interpolation=bilinear)"
    options: dict[str, Any] = {"eps": EPS, "steps": 2, "step_size": STEP, "seed": SEED}
    found = linbp.craft(surrogate, images, labels, asked, **options)
    for row in range(COUNT):
        clean = current = images[row].double() / 255
        for step in range(2):
            value = current.clone().requires_grad_()

            def draw(purpose: str, row: int = row, step: int = step) -> np.random.Generator:
                return generator(SEED, str(row), step, purpose)

            logits = torch.cat([net((copy(value, clean, draw)[None] - 0.5) / 0.25) for copy in copies])
            logits = logits.mean(0, keepdim=True) if averaged else logits
            loss = functional.cross_entropy(logits, labels[row : row + 1].expand(len(logits)))
            (gradient,) = torch.autograd.grad(loss, value)
            current = (current + STEP * gradient.sign()).clamp(clean - EPS, clean + EPS).clamp(0, 1)
        assert torch.equal((found[row] * 255).round(), (current * 255).round())


@pytest.mark.parametrize(
    "text",
    [
        "ssa(copies=0)",
        "ssa(rho=0, sigma=0)",
        "ssa(through=yes)",
        "bsr(blocks=1, angle=0)",
        "sia(operations=eight)",
        "ops(noises=0)",
        "dem(scales=[])",
        "dem(scales=[1])",
        "dem(scales=1.5)",
        "shift-grid(shifts=1)",
        "shift-grid(reach=0)",
        "patchout(share=1)",
    ],
)
def test_values_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        Recipe.parse(text)


@pytest.mark.parametrize("text", ["dem(scales=[1.05])", "patchout", "patchout(patch=6, share=0.9)"])
def test_what_would_do_nothing_on_small_images_is_refused(surrogate: linbp.Surrogate, text: str) -> None:
    images, labels = images_and_labels(COUNT)
    with pytest.raises(LinbpError, match="would have no effect"):
        linbp.craft(surrogate, images, labels, text, eps=EPS, steps=2)
