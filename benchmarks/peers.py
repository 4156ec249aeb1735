"""What an attack costs here and in other packages: the same network, images, steps and radius, in one process.

Every contender attacks the whole batch once a round, in turn; a figure is the median over rounds of a contender's
processor time over this package's in the same round, with the smallest and largest. More than 1: this package is
faster. Networks are captured before, as a job does once. Others get the module as torchvision and timm give it, in
evaluation mode and with frozen parameters. Diverse inputs enlarge here and reduce there, so that the network sees
images of the same size. LinBP is compared with the others' I-FGSM, and with a LinBP as its authors' code has it.

    pip install -e '.[peers]' && pip install --no-deps torchattacks    # it pins a requests of 2020
    python benchmarks/peers.py --out mine.jsonl                        # measures what the file does not hold yet
    python benchmarks/peers.py --networks squeezenet1_1 --batches 1 8 --attacks ifgsm --out mine.jsonl
    python benchmarks/peers.py --table benchmarks/results/peers.jsonl  # the table of docs/performance.md
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from released_style import ReleasedLinBP
from torch import nn

import linbp
from linbp.attack import prepare

NETWORKS = {
    "squeezenet1_1": "demo:squeezenet1_1",
    "mobilenet_v2": "torchvision:mobilenet_v2@random",
    "vit_tiny": "vit_tiny_patch16_224",
    "resnet50": "torchvision:resnet50@random",
}
ATTACKS = {"ifgsm": "ifgsm", "mi": "mi", "mi + di": "mi + di(scale=8/7)", "linbp": "linbp(start=layer3.1)"}
FIRST = 8
"""Of ResNet-50's linear bottlenecks: layer3.1."""
EPS = 8 / 255
PEERS = ("torchattack", "torchattacks", "foolbox")
RELEASED = "released style"

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


def load(name: str, side: int | None = None) -> linbp.Model:
    """A network of the table, with weights from a seed where it ships none; for images of another side if given."""
    model = _load(name)
    if side is None:
        return model
    return linbp.Model(model.module, input_size=(3, side, side), mean=model.mean, std=model.std, name=model.name)


def _load(name: str) -> linbp.Model:
    torch.manual_seed(0)
    if name == "vit_tiny":
        import timm

        module = timm.create_model(NETWORKS[name], num_classes=1000).eval()
        return linbp.Model(module, input_size=(3, 224, 224), mean=(0.5,) * 3, std=(0.5,) * 3, name=name)
    return linbp.load_model(NETWORKS[name])


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def peers(module: Logits, attack: str, steps: int) -> dict[str, Attack]:
    """The same attack, or of LinBP I-FGSM, in every other package that is installed and has it."""
    found: dict[str, Attack] = {}
    size, plain = EPS / steps, attack in ("ifgsm", "linbp")
    device = torch.device("cpu")
    if installed("torchattack"):
        import torchattack

        options: dict[str, Any] = {"device": device, "eps": EPS, "steps": steps, "alpha": size}
        if attack == "mi + di":
            found["torchattack"] = torchattack.DIFGSM(module, resize_rate=7 / 8, diversity_prob=0.5, **options)
        else:
            found["torchattack"] = torchattack.MIFGSM(module, decay=0.0 if plain else 1.0, **options)
    if installed("torchattacks"):
        import torchattacks

        options = {"eps": EPS, "alpha": size, "steps": steps}
        if attack == "mi + di":
            found["torchattacks"] = torchattacks.DIFGSM(
                module, decay=1.0, resize_rate=7 / 8, diversity_prob=0.5, **options
            )
        else:
            found["torchattacks"] = (torchattacks.BIM if plain else torchattacks.MIFGSM)(module, **options)
    if installed("foolbox") and plain:
        import foolbox

        wrapped = foolbox.PyTorchModel(module, bounds=(0, 1), device=device)
        basic = foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=size, steps=steps, random_start=False)
        found["foolbox"] = lambda images, labels: basic(wrapped, images, labels, epsilons=EPS)
    if attack == "linbp":
        found[RELEASED] = ReleasedLinBP(
            module.module, module.mean, module.std, first=FIRST, eps=EPS, steps=steps, step_size=size
        )
    return found


def own(surrogate: linbp.Surrogate, attack: str, steps: int) -> Attack:
    """The attack here, on a network that is captured and has its rules already."""
    prepared = prepare(surrogate, linbp.Recipe.parse(ATTACKS[attack]))
    return lambda images, labels: linbp.craft(
        prepared, images, labels, prepared.recipe, eps=EPS, steps=steps, step_size=EPS / steps, batch_size=len(images)
    )


def group_sizes(count: int) -> tuple[int, ...]:
    """Other group sizes that make sense for so many images."""
    return (1,) if count < 8 else tuple(size for size in (8, 16) if size <= count)


def seconds(attack: Attack, images: torch.Tensor, labels: torch.Tensor) -> float:
    begin = time.process_time()
    attack(images, labels)
    return time.process_time() - begin


def compare(contenders: dict[str, Attack], images: torch.Tensor, labels: torch.Tensor, rounds: int) -> dict[str, Any]:
    """Seconds here, and for every other contender its time over this one's in each round."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: 1 if number % 2 else -1]:
            times[name].append(seconds(contenders[name], images, labels))
    here = times.pop("linbp")
    ratios = {
        name: sorted(round(value / mine, 3) for value, mine in zip(values, here, strict=True))
        for name, values in times.items()
    }
    return {"seconds": round(statistics.median(here), 3), "ratios": ratios}


def measure(options: argparse.Namespace) -> None:
    """Append a line to the file for every network, attack and number of images that it does not hold."""
    done = read(options.out) if options.out.exists() else []
    versions = {name: importlib.metadata.version(name) for name in ("torch", *filter(installed, PEERS))}
    for name in options.networks:
        wanted = [
            {"network": name, "attack": attack, "images": count}
            for attack in options.attacks
            for count in options.batches
            if attack != "linbp" or name == "resnet50"
        ]
        missing = [where for where in wanted if not any(where.items() <= line.items() for line in done)]
        if not missing:
            continue
        model = load(name, options.side)
        side = model.input_size[1]
        module, surrogate = Logits(model), linbp.Surrogate(model)
        draw = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (max(options.batches), 3, side, side), generator=draw).float() / 255
        labels = surrogate.logits(images).argmax(1)
        for where in missing:
            attack, count = where["attack"], where["images"]
            contenders = {"linbp": own(surrogate, attack, options.steps)}
            for size in group_sizes(count):
                contenders[f"group {size}"] = own(surrogate.grouped(size), attack, options.steps)
            contenders |= peers(module, attack, options.steps)
            for contender in contenders.values():
                contender(images[:1], labels[:1])  # what is done once only is done
            line = {**where, **compare(contenders, images[:count], labels[:count], options.rounds)}
            line |= {"steps": options.steps, "side": side, "versions": versions, "processor": processor()}
            with options.out.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(*table([line])[2:], flush=True)


def processor() -> str:
    """What kind this machine has, as it calls itself."""
    path = Path("/proc/cpuinfo")
    told = re.search(r"model name\s*: (.+)", path.read_text()) if path.is_file() else None
    return told[1] if told else platform.processor()


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of results."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def table(lines: Sequence[dict[str, Any]]) -> list[str]:
    """The results as Markdown."""
    groups = ("group 1", "group 8", "group 16")
    columns = [name for name in (*PEERS, RELEASED, *groups) if any(name in line["ratios"] for line in lines)]
    head = ["processor", "network", "attack", "images", "ms a step", *columns]
    rows = [_row(head), _row(["---", "---", "---", *["---:"] * (len(head) - 3)])]
    order = [(name, attack) for name in NETWORKS for attack in ATTACKS]

    def place(line: dict[str, Any]) -> tuple[object, ...]:
        return line["processor"], order.index((line["network"], line["attack"])), line["images"]

    for line in sorted(lines, key=place):
        cells = [_cell(line["ratios"].get(name)) for name in columns]
        step = 1000 * line["seconds"] / line["steps"]
        facts = [line["processor"], line["network"], line["attack"], str(line["images"])]
        rows.append(_row([*facts, f"{step:.0f}", *cells]))
    return rows


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(ratios: Sequence[float] | None) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 8, 16, 32])
    parser.add_argument("--attacks", nargs="+", default=list(ATTACKS), choices=list(ATTACKS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--side", type=int, help="of the images; by default what the network takes")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, help="the file of results, one JSON line each")
    where.add_argument("--table", type=Path, help="print the results of a file, and measure nothing")
    options = parser.parse_args()
    if options.table is None:
        torch.set_num_threads(1)
        measure(options)
    print("\n".join(table(read(options.table or options.out))))


if __name__ == "__main__":
    main()
