"""Whether I-FGSM fails on a network itself, as where label smoothing made its loss flat around correct images.

Attacks each network on test images that it and the victims get right, and counts whom the twins fool: the network
itself and the victims. A network that its own gradient does not fool is no fair surrogate for a comparison: whatever
changes the gradient then seems to transfer better.

    python experiments/cifar10_smoothing.py --data cifar10 --surrogate demo:cifar10/vgg19_bn \\
        --surrogate cifar10:zoo-smooth/vgg19_bn/vgg19_bn.safetensors
"""

from __future__ import annotations

import argparse
from fractions import Fraction

import numpy as np
import torch

import linbp
from linbp.evaluation import rate
from linbp.zoo import load_cifar10

VICTIMS = ("demo:cifar10/resnet18", "demo:cifar10/wrn16_8", "demo:cifar10/plain")
RECIPES = ("ifgsm", "linbp(start=features.23)", "di(scale=8/7) + mi", "linbp(start=features.23) + di(scale=8/7) + mi")


def answers(model: linbp.Model, images: np.ndarray) -> np.ndarray:
    """Predicted classes of images of levels 0 to 255."""
    with torch.no_grad():
        parts = [model.logits(torch.from_numpy(part).float() / 255).argmax(1) for part in np.array_split(images, 16)]
    return torch.cat(parts).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="CIFAR-10's folder")
    parser.add_argument("--surrogate", action="append", required=True, help="may be given several times")
    parser.add_argument("--recipe", action="append", help=f"default: {RECIPES}")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--eps", default="0.03")
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()

    data = load_cifar10(options.data)
    surrogates = {name: linbp.load_model(name) for name in options.surrogate}
    victims = {name: linbp.load_model(name) for name in VICTIMS}
    images = data.test_images[: 3 * options.images].permute(0, 3, 1, 2).contiguous().numpy()
    labels = data.test_labels[: 3 * options.images].numpy()
    right = np.all([answers(model, images) == labels for model in (*surrogates.values(), *victims.values())], axis=0)
    rows = np.flatnonzero(right)[: options.images]
    images, labels = images[rows], labels[rows]
    print(f"{len(rows)} test images right on every network here, eps {options.eps}, {options.steps} steps of 1/255\n")
    print(f"| surrogate | recipe | itself | {' | '.join(VICTIMS)} |\n|---|---|---:|{'---:|' * len(VICTIMS)}")
    for name, model in surrogates.items():
        for text in options.recipe or RECIPES:
            eps = float(Fraction(options.eps))
            twins = linbp.craft(model, images, labels, linbp.Recipe.parse(text), eps=eps, steps=options.steps)
            levels, cells = np.round(255 * twins), []  # on the grid already
            for asked in (model, *(victim for victim in victims.values() if victim.name != model.name)):
                found = rate(int((answers(asked, levels) != labels).sum()), len(labels))
                cells.append(f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}]")
            print(f"| {name} | {text} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
