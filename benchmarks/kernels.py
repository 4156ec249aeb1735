"""What each pass over a finished graph gains: how much longer one gradient takes without it.

In every round each variant of a network runs once, in turn, and is compared with the network with all passes in the
same round. Time is that of the processor, with one thread, so that what else the machine does counts little. The
column `control`, a second network with all passes, shows how far from 0 such medians are by chance.

    python benchmarks/kernels.py                     # the table of docs/performance.md
    python benchmarks/kernels.py --networks demo:squeezenet1_1 --side 64 --rounds 1
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
import torchvision
from step import MEAN, STD

import linbp
from linbp.graph.kernels import ONEDNN, PASSES

NETWORKS: dict[str, tuple[float | str, int]] = {
    "resnet50": ("layer3.1", 224),
    "demo:squeezenet1_1": (3, 227),
    "vgg19_bn": ("features.23", 112),
    "mobilenet_v2": (0.5, 224),
    "densenet121": (0.5, 224),
    "inception_v3": (0.5, 224),
}
"""Where LinBP starts, and the side of the images in pixels, halved for the dearest network."""

KINDS = PASSES, ONEDNN
CHANNELS_LAST = "channels_last"


def load(network: str, side: int) -> linbp.Model:
    """A network of this package, or one of torchvision with random weights."""
    if ":" in network:
        return linbp.load_model(network)
    torch.manual_seed(0)
    options = {"init_weights": True} if network == "inception_v3" else {}
    module = torchvision.models.get_model(network, weights=None, **options)
    return linbp.Model(module.eval(), input_size=(3, side, side), mean=MEAN, std=STD, name=network)


def passes_used(surrogate: linbp.Surrogate, rule: linbp.LinBP | None) -> list[str]:
    """The passes that change this network."""
    used: list[str] = []

    def noted(name: str, apply: Callable[..., int]) -> Callable[..., int]:
        def run(*given: Any) -> int:
            count = apply(*given)
            used.extend([name] * bool(count))
            return count

        return run

    with contextlib.ExitStack() as stack:
        for kind in KINDS:
            stack.enter_context(mock.patch.dict(kind, {name: noted(name, apply) for name, apply in kind.items()}))
        surrogate.with_rule(rule)
    return list(dict.fromkeys(used))


def without(surrogate: linbp.Surrogate, rule: linbp.LinBP | None, name: str) -> linbp.Surrogate:
    """The network with all passes but one."""
    (kind,) = (kind for kind in KINDS if name in kind)
    with mock.patch.dict(kind):
        del kind[name]
        return surrogate.with_rule(rule)


def losses(variants: dict[str, linbp.Surrogate], images: torch.Tensor, rounds: int) -> tuple[float, dict[str, float]]:
    """Milliseconds with all passes, and by how much longer each other variant takes, as a share."""
    labels = torch.zeros(len(images), dtype=torch.int64)
    times: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 2):  # the first two warm up
        for name in list(variants)[:: 1 if number % 2 else -1]:
            begin = time.process_time()
            variants[name].gradient(images, labels)
            times[name].append(time.process_time() - begin)
    whole = times.pop("all")[2:]
    longer = {
        name: statistics.median(own / all_ for own, all_ in zip(values[2:], whole, strict=True)) - 1
        for name, values in times.items()
    }
    return 1000 * statistics.median(whole), longer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, help="of the images of every network")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"batch {options.batch}, 1 thread, torch {torch.__version__}, {options.rounds} rounds")
    columns = (*PASSES, *ONEDNN, CHANNELS_LAST, "control")
    print("| network, px | rule | ms | " + " | ".join(columns) + " |\n|---|---|---:|" + "---:|" * len(columns))
    for network in options.networks:
        start, side = NETWORKS[network]
        side = options.side or side
        model = load(network, side)
        last, contiguous = (
            linbp.Surrogate(model, memory_format=order, cache=False)  # type: ignore[arg-type]
            for order in (CHANNELS_LAST, "contiguous")
        )
        images = torch.rand(options.batch, 3, side, side, generator=torch.Generator().manual_seed(0))
        for text, rule in (("ordinary", None), (f"linbp(start={start})", linbp.LinBP(start=start))):
            variants = {"all": last.with_rule(rule), "control": last.with_rule(rule)}
            variants[CHANNELS_LAST] = contiguous.with_rule(rule)
            variants |= {name: without(last, rule, name) for name in passes_used(last, rule)}
            milliseconds, longer = losses(variants, images, options.rounds)
            cells = " | ".join(f"{100 * longer[name]:+.1f}%" if name in longer else "" for name in columns)
            print(f"| {network}, {side} | {text} | {milliseconds:.0f} | {cells} |", flush=True)
        del model, last, contiguous, variants
        gc.collect()  # networks hold themselves in circles


if __name__ == "__main__":
    main()
