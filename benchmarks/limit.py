"""Where the time of one gradient goes, and what a processor's limit leaves to gain, one thread, batch 8.

The limit is the best rate of multiplications and additions that a product of matrices (torch.mm) or a 3 x 3 convolution
reaches here. Each operation of a captured step is timed by itself (processor time, medians over rounds), convolutions
by their kind. `at the limit` is what a kind would take at that rate; what has no multiplications should take nothing.
`outside` is Python, autograd and dispatch: the whole step, without a clock in every operation, less all operations.

    python benchmarks/limit.py                              # SqueezeNet 1.1, MobileNet v2, ResNet-50
    python benchmarks/limit.py --networks mobilenet_v2 --group-size 4 --rounds 9 --out mine.jsonl
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peers import NETWORKS, load
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import linbp

aten = torch.ops.aten
FORWARD, BACKWARD = aten.convolution.default, aten.convolution_backward.default
BY_ONEDNN = aten.mkldnn_convolution.default
"""What 1 x 1 convolutions are computed with, both ways, but in groups of eight, and the 1 x 3 ones of which 3 x 3 ones
then consist."""
SIZES = (512, 1024, 2048)
"""Sides of the matrices that the limit is looked for with."""
KINDS = {
    "activations": ("relu", "hardtanh", "threshold", "gelu", "silu"),
    "pooling": ("pool", "mean"),
    "sums": ("add", "sum"),
    "copies": ("cat", "copy", "clone", "slice", "constant_pad", "narrow", "empty", "fill", "zero"),
}
"""Other operations, by what their names contain."""


def limits() -> dict[str, float]:
    """The best rates of torch.mm and of a 3 x 3 convolution, in GFLOP/s, over a few sizes and rounds."""
    found = {"mm": 0.0, "convolution": 0.0}
    image, weight = torch.rand(8, 256, 14, 14), torch.rand(256, 256, 3, 3)
    last = {"memory_format": torch.channels_last}
    image, weight = image.contiguous(**last), weight.contiguous(**last)
    calls: list[tuple[str, float, Callable[[], object]]] = [
        ("convolution", 2 * 8 * 14 * 14 * 256 * 256 * 9, lambda: functional.conv2d(image, weight, padding=1))
    ]
    for side in SIZES:
        matrix = torch.rand(side, side)
        calls.append(("mm", 2 * side**3, functools.partial(torch.mm, matrix, matrix)))
    for name, operations, call in calls:
        for _ in range(5):
            begin = time.process_time()
            call()
            found[name] = max(found[name], operations / (time.process_time() - begin) / 1e9)
    return found


def kind_of(function: Any, arguments: Sequence[Any]) -> str:
    """What an operation is called in the table."""
    if function in (FORWARD, BACKWARD):
        weight, groups = arguments[1 if function is FORWARD else 2], arguments[8 if function is FORWARD else 9]
        kernel = f"{weight.shape[-2]} x {weight.shape[-1]}"
        depthwise = "depthwise " if groups > 1 else ""
        return f"{depthwise}{kernel} convolutions, {'forward' if function is FORWARD else 'backward'}"
    if function is BY_ONEDNN:
        return f"1 x {arguments[1].shape[-1]} convolutions by oneDNN, both ways"
    name = function.overloadpacket.__name__
    if function.overloadpacket in flop_registry:
        return "products of matrices"
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "other operations")


class Clock(TorchDispatchMode):
    """Times every operation and counts its multiplications and additions, by kind."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = defaultdict(float)
        self.operations: dict[str, float] = defaultdict(float)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        begin = time.process_time()
        found = function(*args, **(kwargs or {}))
        taken = time.process_time() - begin
        kind = kind_of(function, args)
        self.seconds[kind] += taken
        count = flop_registry.get(function.overloadpacket)
        if function is BY_ONEDNN:
            self.operations[kind] += 2 * found.numel() * args[1][0].numel()
        elif count is not None:
            self.operations[kind] += count(*args, **(kwargs or {}), out_val=found)
        else:
            self.operations[kind] += 0
        return found


def measured(step: Callable[[], object], rounds: int) -> tuple[float, dict[str, float], dict[str, float]]:
    """Seconds of a step, and seconds and operations of its kinds: medians."""
    whole, parts, operations = [], [], {}
    for number in range(rounds + 1):
        begin = time.process_time()
        step()
        taken = time.process_time() - begin
        with Clock() as clock:
            step()
        if number:  # the first one warms up
            whole.append(taken)
            parts.append(clock.seconds)
            operations = dict(clock.operations)
    return (
        statistics.median(whole),
        {kind: statistics.median(one[kind] for one in parts) for kind in operations},
        operations,
    )


def profile(name: str, rounds: int, batch: int, group_size: int, side: int | None = None) -> dict[str, Any]:
    """What a network's step is made of, as plain values."""
    model = load(name, side)
    surrogate = linbp.Surrogate(model, group_size=group_size)
    draw = torch.Generator().manual_seed(0)
    size = model.input_size[1]
    images = torch.randint(0, 256, (batch, 3, size, size), generator=draw).float() / 255
    labels = surrogate.logits(images).argmax(1)
    before = limits()
    whole, parts, operations = measured(lambda: surrogate.gradient(images, labels), rounds)
    rates = {name: max(before[name], rate) for name, rate in limits().items()}
    rate = max(rates.values())
    rows = [
        {
            "kind": kind,
            "ms": round(1000 * parts[kind], 2),
            "gflop": round(operations[kind] / 1e9, 3),
            "ms_at_limit": round(operations[kind] / rate / 1e6, 2),
        }
        for kind in sorted(parts, key=lambda kind: -parts[kind])
    ]
    outside = {"kind": "outside", "ms": round(1000 * (whole - math.fsum(parts.values())), 2), "gflop": 0.0}
    return {
        "network": name,
        "images": batch,
        "side": size,
        "ms": round(1000 * whole, 2),
        "group_size": group_size,
        "limit_gflops": {name: round(value) for name, value in rates.items()},
        "torch": torch.__version__,
        "parts": [*rows, {**outside, "ms_at_limit": 0.0}],
    }


def table(found: dict[str, Any]) -> list[str]:
    """The result as Markdown."""
    parts, rates = found["parts"], found["limit_gflops"]
    ideal = math.fsum(part["ms_at_limit"] for part in parts)
    rows = [
        f"{found['network']}, {found['images']} images of {found['side']} px in groups of {found['group_size']}: "
        f"{found['ms']:.0f} ms a step. torch.mm reaches {rates['mm']} GFLOP/s here, a 3 x 3 convolution "
        f"{rates['convolution']}; at the better of them the step would take {ideal:.0f} ms, {ideal / found['ms']:.2f}.",
        "",
        "| what | ms | share | GFLOP/s | at the limit, ms | to gain, ms |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for part in parts:
        reached = f"{part['gflop'] / part['ms'] * 1000:.0f}" if part["gflop"] else ""
        rows.append(
            f"| {part['kind']} | {part['ms']:.1f} | {part['ms'] / found['ms']:.0%} | {reached} | "
            f"{part['ms_at_limit']:.1f} | {part['ms'] - part['ms_at_limit']:.1f} |"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name for name in NETWORKS if name != "vit_tiny"]
    parser.add_argument("--networks", nargs="+", default=names, choices=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--group-size", type=int, nargs="+", default=[4], help="as of Surrogate; several: one by one")
    parser.add_argument("--out", type=Path, help="append a JSON line for each network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.networks:
        for size in options.group_size:
            found = profile(name, options.rounds, options.batch, size)
            print("\n".join(table(found)), flush=True)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
