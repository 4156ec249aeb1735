"""How much of what an adversarial image does is its own image's doing? MobileNet EdgeTPU, 24 photographs.

Every perturbation is also put on another photograph, and random patterns of the same radius are shown: signs drawn for
each pixel, and smooth ones, the signs of a 19 x 19 grid enlarged. What another image's perturbation does as well is no
more than noise of that size and shape.

    python experiments/edgetpu/patterns.py    # writes docs/tables/edgetpu-patterns.csv
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch
from common import photographs as photos
from study import Row, write_csv
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
    images, labels = (part[: photos.PASS] for part in photos.photographs()[1:])
    networks = {name: photos.network(name) for name in photos.VICTIMS}
    surrogate, clean = linbp.Surrogate(networks[NAME]), images.float() / 255
    before = photos.predictions(networks, clean)

    def fooled(change: torch.Tensor, prefix: str = "") -> Row:
        """Per cent of the photographs that a network had right: mean of the victims, and the surrogate."""
        told = photos.predictions(networks, (clean + change).clamp(0, 1))
        wrong = {
            name: (torch.tensor(told[name]) != labels)[torch.tensor(before[name]) == labels].float().mean()
            for name in networks
        }
        own, victims = 100 * float(wrong.pop(NAME)), 100 * float(torch.stack([*wrong.values()]).mean())
        return {f"{prefix}victims": f"{victims:.0f}", f"{prefix}itself": f"{own:.0f}"}

    rows: list[Row] = []
    for levels in (8, 16):
        for text, pattern in random_patterns(clean).items():
            facts = {"eps": f"{levels}/255", "perturbation": text, "levels": f"{levels:.1f}"}
            rows.append(facts | fooled(pattern * levels / 255))
        for recipe in RECIPES:
            steps = None if linbp.Recipe.parse(recipe).single_step else photos.STEPS
            change = photos.craft(surrogate, slice(photos.PASS), recipe, f"{levels}/255", steps=steps) - clean
            size = 255 * float(change.abs().mean())
            facts = {"eps": f"{levels}/255", "perturbation": recipe, "levels": f"{size:.1f}"}
            rows.append(facts | fooled(change) | fooled(change.roll(1, 0), "on another image: "))
            print(rows[-1], flush=True)
    write_csv("edgetpu-patterns", rows)


if __name__ == "__main__":
    main()
