"""What each pass over a finished graph gains, end to end: a gradient without the pass over one with all of them.

All variants of a network run in one process, in turn, and medians are compared, so that a noisy machine slows all of
them alike.

    OMP_NUM_THREADS=1 python benchmarks/kernels.py                     # the table of docs/performance.md
    python benchmarks/kernels.py --networks squeezenet1_1 --side 64 --rounds 1
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from unittest import mock

import torch
import torchvision
from step import medians

import linbp
from linbp.graph.kernels import PASSES

NETWORKS: dict[str, tuple[str | None, int]] = {
    "squeezenet1_1": ("3", 1),
    "resnet50": ("layer3.1", 1),
    "vgg19_bn": ("features.23", 2),
    "mobilenet_v2": ("0.5", 1),
    "densenet121": ("0.5", 1),
    "inception_v3": ("0.5", 1),
}
"""Of torchvision, with where LinBP starts, and what the side is divided by for the dearest."""

VARIANTS = ("all", *PASSES, "channels last")


def position(text: str) -> int | float | str:
    """A position as the grammar reads it."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def variant(surrogate: linbp.Surrogate, contiguous: linbp.Surrogate, name: str, rule: object) -> linbp.Surrogate:
    """The surrogate without one of its passes."""
    if name == "channels last":
        return contiguous.with_rule(rule)  # type: ignore[arg-type]
    with mock.patch.dict(PASSES):
        PASSES.pop(name, None)
        return surrogate.with_rule(rule)  # type: ignore[arg-type]


def measured(network: str, rule: object, batch: int, side: int, rounds: int) -> dict[str, float]:
    """The time of each variant over that of all passes."""
    torch.manual_seed(0)
    options = {"init_weights": True} if network == "inception_v3" else {}
    module = torchvision.models.get_model(network, weights=None, **options).eval()
    model = linbp.Model(module, input_size=(3, side, side), name=network)
    whole = linbp.Surrogate(model)
    plain = linbp.Surrogate(model, memory_format="contiguous") if whole.memory_format != "contiguous" else whole
    images, labels = torch.rand(batch, 3, side, side), torch.zeros(batch, dtype=torch.int64)
    contenders: dict[str, Callable[[], object]] = {}
    for name in VARIANTS:
        chosen = variant(whole, plain, name, rule)
        contenders[name] = lambda chosen=chosen: chosen.gradient(images, labels)
    times = medians(contenders, rounds)
    gc.collect()
    return {name: times[name] / times["all"] for name in VARIANTS[1:]} | {"ms": 1000 * times["all"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    options = parser.parse_args()
    heads = [f"without {name}" for name in VARIANTS[1:]]
    print(
        f"batch {options.batch}, {torch.get_num_threads()} threads, torch {torch.__version__}, {options.rounds} rounds"
    )
    print("| network, side | rule | all, ms | " + " | ".join(heads) + " |")
    print("|---|---|---:|" + "---:|" * len(heads))
    for network in options.networks:
        start, divided = NETWORKS[network]
        side = max(options.side // divided, 75 if network == "inception_v3" else 32)
        for name, rule in (("ordinary", None), (f"linbp(start={start})", linbp.LinBP(start=position(str(start))))):
            found = measured(network, rule, options.batch, side, options.rounds)
            cells = " | ".join(f"{found[name]:.2f}" for name in VARIANTS[1:])
            print(f"| {network}, {side} | `{name}` | {found['ms']:.0f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
