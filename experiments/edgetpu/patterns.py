"""How much of what an adversarial image does is its own image's doing? MobileNet EdgeTPU, 24 photographs.

Every perturbation is also put on another photograph, and random patterns of the same radius are shown: signs drawn for
each pixel, and smooth ones, the signs of a 19 x 19 grid enlarged. What another image's perturbation does as well is no
more than noise of that size and shape.

    python experiments/edgetpu/patterns.py    # a few minutes; prints a table
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch
from common import photographs as photos
from common.pages import table
from torch.nn import functional

import linbp

NAME = "mobilenet_edgetpu"
RECIPES = ("fgsm", "ifgsm", "mdi2fgsm", "linbp(start=0)", "linbp(start=20)", "linbp(start=0, sites=outside)")
GRID = 19


def random_patterns(images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Patterns of the images' shape whose entries are -1 and 1."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.randn(len(images), 3, GRID, GRID, generator=draw)
    return {
        "a random sign for each pixel": (torch.randint(0, 2, images.shape, generator=draw) * 2 - 1).float(),
        "smooth random signs": functional.interpolate(coarse, size=images.shape[-2:], mode="bicubic").sign(),
    }


def main() -> None:
    _, images, labels = photos.photographs()
    images, labels = images[: photos.PASS], labels[: photos.PASS]
    networks = photos.victims_on("cpu", False)
    surrogate = linbp.Surrogate(photos.network(NAME))
    clean = images.float() / 255
    right = {name: torch.tensor(found) == labels for name, found in photos.predictions(networks, clean).items()}

    def fooled(changed: torch.Tensor) -> dict[str, float]:
        found = photos.predictions(networks, changed)
        return {name: 100 * float((torch.tensor(found[name]) != labels)[right[name]].float().mean()) for name in found}

    def cells(found: dict[str, Any]) -> list[str]:
        others = [share for name, share in found.items() if name != NAME]
        return [f"{sum(others) / len(others):.0f}", f"{found[NAME]:.0f}"]

    rows = []
    for levels in (8, 16):
        for text, pattern in random_patterns(clean).items():
            found = fooled((clean + pattern * levels / 255).clamp(0, 1))
            rows.append([f"{levels}/255", text, f"{levels:.1f}", *cells(found), "", ""])
        for recipe in RECIPES:
            steps = None if linbp.Recipe.parse(recipe).single_step else photos.STEPS
            adv = photos.craft(surrogate, slice(photos.PASS), recipe, f"{levels}/255", steps=steps)
            change = adv - clean
            size = 255 * float(change.abs().mean())
            another = fooled((clean + change.roll(1, 0)).clamp(0, 1))
            rows.append([f"{levels}/255", f"`{recipe}`", f"{size:.1f}", *cells(fooled(adv)), *cells(another)])
            print(rows[-1], flush=True)
    pairs = sum(int(known.sum()) for name, known in right.items() if name != NAME)
    heads = ["eps", "perturbation", "mean size, levels", "victims fooled, %", "itself"]
    heads += ["on another image: victims", "itself"]
    print(f"{len(images)} photographs, seven victims, {pairs} pairs that are right when clean:\n")
    print("\n".join(table(heads, rows, left=(0, 1))))


if __name__ == "__main__":
    main()
