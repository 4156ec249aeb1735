"""The networks, photographs, variants and the results file of `analyse.py`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from common import lines as files
from common.lines import add_line, read_lines
from common.photographs import network, photographs

import linbp
from linbp import LinBP

RESULTS = files.RESULTS / "edgetpu" / "measured.jsonl"
OTHERS = ("mobilenetv2_tf1", "mobilenetv1_tf1", "efficientnet_lite0", "efficientnet_lite2")
PAIR = ("mobilenet_edgetpu", "squeezenet1_1")
N = 32
LEVEL = 1 / 255
Gradient = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Bench:
    """Networks, photographs and the results file."""

    def __init__(self) -> None:
        self.models = {name: network(name) for name in (*OTHERS, *PAIR)}
        self.surrogates = {name: linbp.Surrogate(self.models[name]) for name in PAIR}
        self.ids, self.images, self.labels = photographs()
        self.done = {(line["stage"], line["surrogate"], line["variant"]) for line in read_lines(RESULTS)}

    def chosen(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The last photographs that all networks get right, as floats, and their labels."""
        rows: list[int] = []
        for row in range(len(self.images) - 1, 99, -1):
            image = self.images[row : row + 1].float() / 255
            if all(int(m.logits(image).argmax()) == int(self.labels[row]) for m in self.models.values()):
                rows.append(row)
            if len(rows) == N:
                break
        return self.images[rows].float() / 255, self.labels[rows]

    def missing(self, stage: str, surrogate: str, variant: str) -> bool:
        """Whether a line is still to be computed."""
        return (stage, surrogate, variant) not in self.done

    def keep(self, stage: str, surrogate: str, variant: str, begin: float, **figures: Any) -> None:
        """Store a line."""
        line = {"stage": stage, "surrogate": surrogate, "variant": variant, **figures}
        line["seconds"] = round(time.time() - begin, 1)
        add_line(RESULTS, line)
        self.done.add((stage, surrogate, variant))
        print(f"{stage}, {surrogate}, {variant}: {time.time() - begin:.0f} s", flush=True)

    def gradient(self, surrogate: str, rule: Any) -> Gradient:
        """A surrogate's gradient under a rule."""
        changed = self.surrogates[surrogate].with_rule(rule)
        return lambda x, y: torch.cat([changed.gradient(a, b) for a, b in zip(x.split(16), y.split(16), strict=True)])


def rules(surrogate: str, sites: int) -> Iterator[tuple[str, Any]]:
    """The variants whose agreement is measured, by name."""
    yield "ordinary", None
    for k in sorted({3, 5, 7, 15, *range(0, sites, 2)}):
        yield f"branch from {k}", LinBP(start=k)
    for k in range(0, sites, 4):
        yield f"site from {k}", LinBP(start=k, rebalance="site")
    for k in range(sites):
        yield f"only {k}", LinBP(start=0, sites=(k,))
    for leak in (0.05, 0.1, 0.25, 0.5, 0.75):
        yield f"leak {leak} from 0", LinBP(start=0, rebalance=None, leak=leak)
    if surrogate == "squeezenet1_1":
        return
    for k in range(0, sites, 4):
        yield f"none from {k}", LinBP(start=k, rebalance=None)
        yield f"outside from {k}", LinBP(start=k, sites="outside")
        if k < 32:
            yield f"inside from {k}", LinBP(start=k, sites="inside")
    for k in (0, 1, 4, 8, 10, 16, 18, 24, 26, 32, 34):
        yield f"up to {k}", LinBP(start=0, sites=tuple(range(k + 1)))
    early = (2, 3, 4, 6, 7, 8)
    yield "early branches", LinBP(start=0, sites=early)
    yield "all but early branches", LinBP(start=0, sites=tuple(i for i in range(sites) if i not in early))
    for gamma in (0.0, 0.2, 0.5):
        yield f"branch from 0 gamma {gamma}", LinBP(start=0, gamma=gamma)
        yield f"branch from 20 gamma {gamma}", LinBP(start=20, gamma=gamma)
        yield f"sgm {gamma}", linbp.SGM(gamma=gamma)


def gradients(bench: Bench, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
    """Ordinary gradients of all networks, and those of the surrogates averaged over 8 noisy copies (+-16 levels)."""
    found = {}
    for name, model in bench.models.items():
        taken = bench.surrogates.get(name) or linbp.Surrogate(model)
        found[name] = torch.cat([taken.gradient(a, b) for a, b in zip(x.split(16), y.split(16), strict=True)])
    draw = torch.Generator().manual_seed(0)
    noise = [(torch.rand(x.shape, generator=draw) * 2 - 1) * 16 * LEVEL for _ in range(8)]
    for name in PAIR:
        total = sum(bench.gradient(name, None)((x + part).clamp(0, 1), y) for part in noise)
        found[f"averaged {name}"] = torch.as_tensor(total)
    return found


def rounded(values: torch.Tensor) -> list[float]:
    """Values with four digits behind the point."""
    return [round(float(v), 4) for v in values]
