"""What one step of an attack costs, as a ratio to one plain step, measured in one process, interleaved.

One plain step is the eager forward pass and input gradient of the frozen module (no parameter needs a gradient), in
whichever memory format is faster for it. Every contender is run once a round, in turn, and medians of processor time
are compared, so that a noisy machine slows all of them alike.

    python benchmarks/step.py                      # ResNet-50, batch 8, 224 px, one thread
    python benchmarks/step.py --rounds 30 --markdown --out mine.jsonl
    python benchmarks/step.py --network vgg19_bn --start features.23 --gradients
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torchvision
from torch.nn import functional

import linbp
from linbp.attack import AttackConfig, Goal, PreparedStage, Recipe, attack_batch, prepare

ONE_STEP = dataclasses.replace(AttackConfig.resolve("ifgsm"), steps=1)
"""Of any recipe: momentum, which is refused in a single step, costs the same in it."""

OTHER = 8
"""The group size that is compared with the default."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def plain_step(model: linbp.Model, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], torch.Tensor]:
    """The eager forward pass and input gradient of a model."""

    def step() -> torch.Tensor:
        start = images.detach().requires_grad_()
        loss = functional.cross_entropy(model(start), labels, reduction="sum")
        return torch.autograd.grad(loss, start)[0]

    return step


class Nothing:
    """A surrogate that costs nothing, to see what the loop costs without one."""

    model = argparse.Namespace(name="nothing", turns=1)

    def of_turn(self, number: int) -> Nothing:
        """Itself."""
        return self

    def run(self, images: torch.Tensor) -> torch.Tensor:
        """Ten numbers an image, with a gradient."""
        return images[:, :, 0, :10].sum(1)

    def observe(self, images: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The same, and no feature maps."""
        return self.run(images), {}


def one_step(stages: Sequence[PreparedStage], images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The loop's work for one step on a batch, from the clean images to the rounded adversarial images."""
    ids = [str(index) for index in range(len(images))]
    return attack_batch(stages, ONE_STEP, images, Goal(labels=labels), ids)


def medians(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median processor time of each contender, in seconds, one call of each in every round."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(rounds + 1):  # the first one warms up
        for name, call in contenders.items():
            begin = time.process_time()
            call()
            if round_number:
                times[name].append(time.process_time() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def position(text: str) -> str | int | float:
    """A position as LinBP takes it."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--network", default="resnet50", help="a torchvision classification network")
    parser.add_argument("--start", default="layer3.1", type=position, help="a module path, or a number as of LinBP")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gradients", action="store_true", help="leave out the loop")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--out", type=Path, help="append the ratios to this file, as a JSON line")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    torch.manual_seed(0)
    module = torchvision.models.get_model(options.network, weights=None).eval().requires_grad_(False)
    shape = (3, options.size, options.size)
    model = linbp.Model(module, input_size=shape, mean=MEAN, std=STD)
    images = torch.randint(0, 256, (options.batch, *shape)).float() / 255
    labels = torch.randint(0, 1000, (options.batch,))
    surrogate = linbp.Surrogate(model, cache=False)
    released = surrogate.with_rule(linbp.LinBP(start=options.start))
    contenders: dict[str, Callable[[], object]] = {
        "plain step, contiguous": plain_step(model, images, labels),
        "plain step, channels_last": lambda: None,
        "captured, ordinary gradient": lambda: surrogate.gradient(images, labels),
        f"LinBP from {options.start}, rebalance=branch": lambda: released.gradient(images, labels),
    }
    for word in ("site", None):
        other = surrogate.with_rule(linbp.LinBP(start=options.start, rebalance=word))
        contenders[f"LinBP from {options.start}, rebalance={word or 'none'}"] = lambda other=other: other.gradient(
            images, labels
        )
    grouped = surrogate.grouped(OTHER)
    contenders[f"captured, ordinary gradient, group size {OTHER}"] = lambda: grouped.gradient(images, labels)
    for word in ("branch", "site", None):
        other = grouped.with_rule(linbp.LinBP(start=options.start, rebalance=word))
        name = f"LinBP from {options.start}, rebalance={word or 'none'}, group size {OTHER}"
        contenders[name] = lambda other=other: other.gradient(images, labels)
    last = linbp.Model(
        copy.deepcopy(module).to(memory_format=torch.channels_last), input_size=shape, mean=MEAN, std=STD
    )
    contenders["plain step, channels_last"] = plain_step(
        last, images.contiguous(memory_format=torch.channels_last), labels
    )
    for text in (
        () if options.gradients else (f"linbp(start={options.start})", f"linbp(start={options.start}) + mi + di")
    ):
        stages = prepare(surrogate, Recipe.parse(text)).stages
        contenders[f"one step of the loop, {text}"] = lambda stages=stages: one_step(stages, images, labels)
    for text in () if options.gradients else ("ifgsm", "noise", "mi + di"):
        parts = Recipe.parse(text).stages[0]
        nobody = ((),) * len(parts.transforms)
        alone = (PreparedStage(parts=parts, surrogates=(Nothing(),), fuse="losses", asked=nobody),)  # type: ignore[arg-type]
        contenders[f"the loop without a network, {text}"] = lambda alone=alone: one_step(alone, images, labels * 0)
    found = medians(contenders, options.rounds)
    unit = min(found["plain step, contiguous"], found["plain step, channels_last"])
    print(
        f"{options.network}, batch {options.batch}, {options.size} px, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, {options.rounds} rounds; one plain step is {unit * 1000:.0f} ms"
    )
    if options.markdown:
        print("| what | plain steps |\n|---|---:|")
    for name, value in found.items():
        print(f"| {name} | {value / unit:.3f} |" if options.markdown else f"{value / unit:6.3f}  {name}")
    if options.out:
        line = {
            "network": options.network,
            "batch": options.batch,
            "threads": options.threads,
            "torch": torch.__version__,
            "plain_step_ms": round(1000 * unit, 1),
            "plain_steps": {name: round(value / unit, 3) for name, value in found.items()},
        }
        with options.out.open("a") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
