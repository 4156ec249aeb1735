"""Whether I-FGSM fails on a network itself, as where its slope around correct images is too small for the budget.

Attacks each network on test images that it and the victims get right, and counts whom the adversarial images fool: the
    network
itself and the victims. A network that its own gradient does not fool is no fair surrogate for a comparison: whatever
changes the gradient then seems to transfer better.

    python experiments/cifar10_smoothing.py --data cifar10 --surrogate demo:cifar10/vgg19_bn \\
        --surrogate cifar10:zoo-smooth/vgg19_bn/vgg19_bn.safetensors
"""

from __future__ import annotations

import argparse
import math
from fractions import Fraction

import torch
from cifar10_networks import asked

import linbp
from linbp.data.cifar10 import Cifar10, load_cifar10

VICTIMS = ("demo:cifar10/resnet18", "demo:cifar10/wrn16_8", "demo:cifar10/plain")
RECIPES = (
    "ifgsm",
    "logit",
    "linbp(start=features.23)",
    "di(scale=8/7) + mi",
    "linbp(start=features.23) + di(scale=8/7) + mi",
)


def reach(model: linbp.Model, images: torch.Tensor, labels: torch.Tensor, eps: float) -> tuple[torch.Tensor, ...]:
    """Each image's margin, and how many times over the network's gradient says that the budget closes it.

    The margin is the label's logit minus the largest other one, m; the second number is eps |dm/dx|_1 / m. Where it is
    below 1, the network would keep its answer everywhere in the ball if it were linear.
    """
    margins, times = [], []
    for part, wanted in zip(images.split(100), labels.split(100), strict=True):
        x = (part.float() / 255).requires_grad_()
        logits = model(x)
        own = logits.gather(1, wanted[:, None])[:, 0]
        margin = own - logits.scatter(1, wanted[:, None], -torch.inf).amax(1)
        (gradient,) = torch.autograd.grad(margin.sum(), x)
        margins.append(margin.detach())
        times.append(eps * gradient.flatten(1).abs().sum(1) / margin.detach())
    return torch.cat(margins), torch.cat(times)


def compare(surrogates: dict[str, linbp.Model], data: Cifar10, recipes: list[str], options: argparse.Namespace) -> None:
    """Print a table of attacks on each network, and what its gradients promise."""
    victims = {name: linbp.load_model(name) for name in VICTIMS}
    images = data.test_images[: 3 * options.images].permute(0, 3, 1, 2).contiguous()
    labels = data.test_labels[: 3 * options.images]
    classes = [asked(model, images, labels)[0] for model in (*surrogates.values(), *victims.values())]
    rows = (torch.tensor(classes) == labels).all(0).nonzero().flatten()[: options.images]
    images, labels = images[rows], labels[rows]
    print(f"{len(rows)} test images right on every network here, eps {options.eps}, {options.steps} steps of 1/255\n")
    print(f"| surrogate | recipe | itself | {' | '.join(VICTIMS)} | mean |\n|---|---|{'---:|' * (len(VICTIMS) + 2)}")
    notes = []
    for name, model in surrogates.items():
        margins, times = reach(model, images, labels, math.floor(255 * Fraction(options.eps)) / 255)
        quartiles = [torch.quantile(values, torch.tensor([0.25, 0.5, 0.75])).tolist() for values in (margins, times)]
        margin, closed = (" / ".join(f"{value:.2f}" for value in values) for values in quartiles)
        below = f"{float((times < 1).float().mean()):.1%} of the images"
        notes.append(f"{name}: quartiles of the margin {margin}; of eps |dm/dx|_1 / m {closed}; below 1 on {below}")
        others = {one: victim for one, victim in victims.items() if victim.name != model.name}
        for text in recipes:
            eps = float(Fraction(options.eps))
            adv = linbp.craft(model, images, labels, linbp.Recipe.parse(text), eps=eps, steps=options.steps)
            found = {
                one: linbp.evaluate(network, images, adv, labels).statistics.success
                for one, network in {"itself": model, **others}.items()
            }
            cells = [""] * (1 + len(VICTIMS))
            for place, one in enumerate(("itself", *VICTIMS)):
                if one in found:
                    cells[place] = f"{found[one].value:.1%} [{found[one].low:.1%}, {found[one].high:.1%}]"
            mean = sum(found[one].value or 0.0 for one in others) / len(others)
            print(f"| {name} | {text} | {' | '.join(cells)} | {mean:.1%} |", flush=True)
    print("\n" + "\n".join(notes))


def arguments(about: str) -> argparse.ArgumentParser:
    """What this script and `cifar10_finish.py` both take."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="CIFAR-10's folder")
    parser.add_argument("--recipe", action="append", help="may be given several times")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--eps", default="0.03")
    parser.add_argument("--steps", type=int, default=50)
    return parser


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--surrogate", action="append", required=True, help="may be given several times")
    options = parser.parse_args()
    surrogates = {name: linbp.load_model(name) for name in options.surrogate}
    compare(surrogates, load_cifar10(options.data), options.recipe or [*RECIPES], options)


if __name__ == "__main__":
    main()
