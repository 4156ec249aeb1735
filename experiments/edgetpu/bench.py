"""The networks, photographs, variants and the results file of `analyse.py`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from common.lines import add_line, read_lines
from common.photographs import network, photographs

import linbp
from linbp.bench.suite import tomllib

RESULTS = Path(__file__).parents[1] / "results" / "edgetpu" / "measured.jsonl"
OTHERS = ("mobilenetv2_tf1", "mobilenetv1_tf1", "efficientnet_lite0", "efficientnet_lite2")
PAIR = EDGE, CHAIN = ("mobilenet_edgetpu", "squeezenet1_1")
N = 32
LEVEL = 1 / 255
VARIANTS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("variants.toml").read_text(encoding="utf-8"))


class Bench:
    """Networks, photographs and the results file."""

    def __init__(self) -> None:
        self.models = {name: network(name) for name in (*OTHERS, *PAIR)}
        self.surrogates = {name: linbp.Surrogate(model) for name, model in self.models.items()}
        self.ids, self.images, self.labels = photographs()

    @cached_property
    def chosen(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The last photographs that all networks get right, as floats, and their labels."""

        def known(row: int) -> bool:
            image = self.images[row : row + 1].float() / 255
            return all(int(m.logits(image).argmax()) == int(self.labels[row]) for m in self.models.values())

        rows = list(islice(filter(known, range(len(self.images) - 1, 99, -1)), N))
        return self.images[rows].float() / 255, self.labels[rows]

    @cached_property
    def ordinary(self) -> dict[str, torch.Tensor]:
        """Every network's ordinary gradient at these photographs."""
        return {name: surrogate.gradient(*self.chosen) for name, surrogate in self.surrogates.items()}

    @cached_property
    def averaged(self) -> dict[str, torch.Tensor]:
        """That of the surrogates, summed over 8 noisy copies (+-16 levels)."""
        (x, y), draw = self.chosen, torch.Generator().manual_seed(0)
        copies = [x + (torch.rand(x.shape, generator=draw) * 2 - 1) * 16 * LEVEL for _ in range(8)]
        return {name: sum(self.surrogates[name].gradient(one.clamp(0, 1), y) for one in copies) for name in PAIR}

    def under(self, surrogate: str, variant: str) -> linbp.Surrogate:
        """A surrogate with the rule of a variant."""
        return self.surrogates[surrogate].with_rule(rules_of(variant))

    def fill(self, stage: str, measured: Callable[[Bench, str, str], dict[str, Any]]) -> None:
        """Compute and store the lines of a stage that are not there yet, with a function of surrogate and variant."""
        done = {(line["stage"], line["surrogate"], line["variant"]) for line in read_lines(RESULTS)}
        for surrogate, listed in VARIANTS[stage].items():
            for variant in (name.format(number) for name, numbers in listed.items() for number in numbers or [""]):
                if (stage, surrogate, variant) not in done:
                    begin, line = time.time(), {"stage": stage, "surrogate": surrogate, "variant": variant}
                    line |= measured(self, surrogate, variant)
                    line["seconds"] = round(time.time() - begin, 1)
                    add_line(RESULTS, line)
                    print(stage, surrogate, variant, line["seconds"], sep=", ", flush=True)


def recipe_of(variant: str) -> str:
    """The recipe whose rule a variant's name stands for."""
    for pattern, recipe in VARIANTS["recipes"].items():
        if found := re.fullmatch(pattern, variant):
            return found.expand(recipe)
    raise KeyError(f"variants.toml has no recipe for {variant!r}")


def rules_of(variant: str) -> tuple[Any, ...]:
    """The rules that a variant's name stands for."""
    if variant.startswith("up to "):
        return (linbp.LinBP(start=0, sites=tuple(range(int(variant.removeprefix("up to ")) + 1))),)
    return linbp.Recipe.parse(recipe_of(variant)).stages[0].rules
