"""What an attack costs here and in other packages: the same network, images, steps and radius, in one process.

Each package attacks the whole batch once a round, in turn; a figure is the median over rounds of the other package's
processor time over this one's in the same round, with the quartiles. More than 1: this package is faster. Networks are
captured before, as a job does once. Packages that are not installed are left out:

    pip install torchattack foolbox && pip install --no-deps torchattacks
    python benchmarks/peers.py                                    # the table of docs/performance.md
    python benchmarks/peers.py --networks squeezenet1_1 --batches 1 8 --recipes ifgsm
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

import linbp

NETWORKS = {
    "squeezenet1_1": "demo:squeezenet1_1",
    "mobilenet_v2": "torchvision:mobilenet_v2@random",
    "vit_tiny": "vit_tiny_patch16_224",
    "resnet50": "torchvision:resnet50@random",
}
RECIPES = {"ifgsm": "ifgsm", "mi": "mi", "mi + di": "mi + di(scale=8/7)"}
EPS, STEPS = 8 / 255, 10
GROUPS = {"linbp": 8, "linbp, group 1": 1}
"""This package's contenders: images that a CPU computes at a time."""

Attack = Callable[[torch.Tensor, torch.Tensor], object]


class Logits(nn.Module):
    """A model as other packages take it: images in [0, 1] in, logits out; no parameter needs a gradient."""

    def __init__(self, model: linbp.Model) -> None:
        super().__init__()
        self.module = model.module
        self.register_buffer("mean", torch.tensor(model.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(model.std).view(1, -1, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.module((images - self.mean) / self.std)
        return logits


def load(name: str) -> linbp.Model:
    """A network of the table, with weights from a seed where it ships none."""
    torch.manual_seed(0)
    if name == "vit_tiny":
        module = timm.create_model(NETWORKS[name], num_classes=1000).eval()
        return linbp.Model(module, input_size=(3, 224, 224), mean=(0.5,) * 3, std=(0.5,) * 3, name=name)
    return linbp.load_model(NETWORKS[name])


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def peers(module: nn.Module, recipe: str) -> dict[str, Attack]:
    """The same attack in every other package that is installed and has it."""
    found: dict[str, Attack] = {}
    step = EPS / STEPS
    device = torch.device("cpu")
    if installed("torchattack"):
        import torchattack

        options: dict[str, Any] = {"device": device, "eps": EPS, "steps": STEPS, "alpha": step}
        found["torchattack"] = {
            "ifgsm": lambda: torchattack.MIFGSM(module, decay=0.0, **options),
            "mi": lambda: torchattack.MIFGSM(module, **options),
            "mi + di": lambda: torchattack.DIFGSM(module, resize_rate=8 / 7, diversity_prob=0.5, **options),
        }[recipe]()
    if installed("torchattacks"):
        import torchattacks

        found["torchattacks"] = {
            "ifgsm": lambda: torchattacks.BIM(module, eps=EPS, alpha=step, steps=STEPS),
            "mi": lambda: torchattacks.MIFGSM(module, eps=EPS, alpha=step, steps=STEPS),
            "mi + di": lambda: torchattacks.DIFGSM(
                module, eps=EPS, alpha=step, steps=STEPS, decay=1.0, resize_rate=8 / 7
            ),
        }[recipe]()
    if installed("foolbox") and recipe == "ifgsm":
        import foolbox

        wrapped = foolbox.PyTorchModel(module, bounds=(0, 1), device=device)
        basic = foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=step, steps=STEPS, random_start=False)
        found["foolbox"] = lambda images, labels: basic(wrapped, images, labels, epsilons=EPS)
    return found


def own(surrogate: linbp.Surrogate, recipe: str) -> Attack:
    """The attack here, on a network that is captured and has its rules already."""
    prepared = linbp.attack.prepare(surrogate, linbp.Recipe.parse(RECIPES[recipe]))
    return lambda images, labels: linbp.craft(
        prepared, images, labels, prepared.recipe, eps=EPS, steps=STEPS, step_size=EPS / STEPS, batch_size=len(images)
    )


def seconds(attack: Attack, images: torch.Tensor, labels: torch.Tensor) -> float:
    begin = time.process_time()
    attack(images, labels)
    return time.process_time() - begin


def compare(contenders: dict[str, Attack], images: torch.Tensor, labels: torch.Tensor, rounds: int) -> dict[str, Any]:
    """Seconds here, and for every other contender its time over this one's: median and quartiles over rounds."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):  # the first one warms up
        for name in list(contenders)[:: 1 if number % 2 else -1]:
            times[name].append(seconds(contenders[name], images, labels))
    here = times.pop("linbp")[1:]
    found: dict[str, Any] = {"seconds": statistics.median(here)}
    for name, values in times.items():
        ratios = [value / mine for value, mine in zip(values[1:], here, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4) if rounds > 1 else ratios * 3
        found[name] = {"ratio": middle, "quartiles": [low, high]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 8, 16, 32])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, help="of the images; by default what the network takes")
    parser.add_argument("--json", type=Path, help="append every line to this file, and leave out what it holds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    done = [json.loads(line) for line in options.json.open()] if options.json and options.json.exists() else []
    print("| network | recipe | images | seconds | other package's time / this one's: median (quartiles) |")
    print("|---|---|---:|---:|---|")
    for name in options.networks:
        model = load(name)
        side = options.side or model.input_size[1]
        module = Logits(model)
        surrogates = {group: linbp.Surrogate(model, group_size=size) for group, size in GROUPS.items()}
        for recipe in options.recipes:
            contenders = {group: own(surrogate, recipe) for group, surrogate in surrogates.items()}
            contenders |= peers(module, recipe)
            for count in options.batches:
                where = {"network": name, "recipe": recipe, "images": count}
                line = next((one for one in done if where.items() <= one.items()), None)
                if line is None:
                    draw = torch.Generator().manual_seed(0)
                    images = torch.randint(0, 256, (count, 3, side, side), generator=draw).float() / 255
                    line = {**where, **compare(contenders, images, model.logits(images).argmax(1), options.rounds)}
                    if options.json:
                        with options.json.open("a") as file:
                            file.write(json.dumps({**line, "torch": torch.__version__}) + "\n")
                cells = [
                    f"{other} {value['ratio']:.2f} ({value['quartiles'][0]:.2f} to {value['quartiles'][1]:.2f})"
                    for other, value in line.items()
                    if isinstance(value, dict)
                ]
                print(f"| {name} | {recipe} | {count} | {line['seconds']:.2f} | {'; '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
