"""Whether I-FGSM fails on a network itself, as where its slope around correct images is too small for the budget.

Attacks each network on test images that it and the victims get right, and counts whom the adversarial images fool: the
network itself and the victims. A network that its own gradient does not fool is no fair surrogate for a comparison:
whatever changes the gradient then seems to transfer better.

    python experiments/cifar10/smoothing.py --data cifar10 --surrogate demo:cifar10/vgg19_bn \\
        --surrogate cifar10:zoo-smooth/vgg19_bn/vgg19_bn.safetensors

With `--more WEIGHTS` it looks at what the end of a training does: the network, say a VGG-19-BN of 40 epochs, all of
them shifted, goes on for some epochs that fit the training images closely, once with the labels as they are and once
with label smoothing; everything else is the same, seed, order and rates included. What comes out is kept in `--work`
and not trained again, and all three networks are attacked.

    linbp zoo train vgg19_bn --epochs 40 --unshifted 0 --data cifar10 --out early
    python experiments/cifar10/smoothing.py --data cifar10 --more early/vgg19_bn/vgg19_bn.safetensors
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch
from safetensors.torch import load_file, save_file

import linbp
from cifar10.networks import asked
from linbp.data.cifar10 import Cifar10, load_cifar10
from linbp.models.cifar10 import read_card
from linbp.training.cifar10.trainer import ZooTrainer
from linbp.training.loop import Loop
from linbp.zoo import Training

VICTIMS = ("demo:cifar10/resnet18", "demo:cifar10/wrn16_8", "demo:cifar10/plain")
OWN = "linbp(start=features.23)"
BOTH = f"{OWN} + di(scale=8/7) + mi"
RECIPES = ("ifgsm", "logit", OWN, "di(scale=8/7) + mi", BOTH)
RECIPES_AFTER_MORE = ("ifgsm", "mifgsm", "tapfgsm", "ifgsm >> ila(at=features.23)", OWN, BOTH)
SMOOTHINGS = (0.0, 0.1)
"""Of the labels, in the epochs more."""


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


def trained_further(source: Path, smoothing: float, data: Cifar10, epochs: int, work: Path) -> linbp.Model:
    """A network of the zoo after some more epochs without shifts and without an average of weights."""
    card, model = read_card(source), linbp.load_model(f"cifar10:{source}")
    settings = Training(
        architecture=card["architecture"],
        width=card["width"],
        epochs=epochs,
        learning_rate=0.02,
        warm_up=0.0,
        label_smoothing=smoothing,
        crop=0,
        average=0.0,
        precision="mixed",
    )
    path = work / f"{card['file_sha256'][:8]}-{epochs}-{smoothing:g}.safetensors"
    made = copy.deepcopy(model)
    made.name = path.stem
    if not path.is_file():
        trainer = ZooTrainer(settings, data, torch.device("cpu"))
        for network in (trainer.network, trainer.average):
            network.load_state_dict(model.module.state_dict())
        loop = Loop(trainer, epochs=epochs, steps_per_epoch=trainer.steps_per_epoch, stage=path.stem)
        loop.run()
        for entry in loop.history:
            print(
                f"{path.stem}, epoch {entry['epoch']}: loss {entry['loss']:.4f}, accuracy "
                f"{entry['accuracy_while_training']:.2%} while training, {entry['test']['right']} test images right",
                flush=True,
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in trainer.average.state_dict().items()}, path)
    made.module.load_state_dict(load_file(path))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="CIFAR-10's folder")
    parser.add_argument("--surrogate", action="append", default=[], help="may be given several times")
    parser.add_argument("--more", type=Path, help="weights of a network to train further")
    parser.add_argument("--epochs", type=int, default=8, help="how many more")
    parser.add_argument("--work", type=Path, default=Path("cifar10-work"), help="folder for what comes out")
    parser.add_argument("--recipe", action="append", help="may be given several times")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--eps", default="0.03")
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    if not options.surrogate and not options.more:
        parser.error("name a network with --surrogate or --more")
    data, recipes = load_cifar10(options.data), RECIPES_AFTER_MORE if options.more else RECIPES
    surrogates = {name: linbp.load_model(name) for name in options.surrogate}
    if options.more:
        surrogates[str(options.more)] = linbp.load_model(f"cifar10:{options.more}")
        for smoothing in SMOOTHINGS:
            made = trained_further(options.more, smoothing, data, options.epochs, options.work)
            surrogates[f"{options.epochs} epochs more, smoothing {smoothing:g}"] = made
    compare(surrogates, data, options.recipe or [*recipes], options)


if __name__ == "__main__":
    main()
