"""What compiling a surrogate saves: a gradient's time over that of the same surrogate uncompiled, and what it costs.

Both run in one process, interleaved; medians of processor time are compared. `seconds` is the first gradient, in which
everything is compiled, with an empty cache of the compiler.

    python benchmarks/compiled.py demo:cifar10/resnet18 mobilenet_v2 --out benchmarks/results/compiled.jsonl
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import torch
import torchvision
from peers import processor
from step import MEAN, STD, medians

import linbp


def model(name: str) -> linbp.Model:
    """A network by its name of linbp, of torchvision, or else of timm; the last two with random weights."""
    if ":" in name:
        return linbp.load_model(name)
    torch.manual_seed(0)
    if name in torchvision.models.list_models():
        module, side = torchvision.models.get_model(name, weights=None), 299 if name == "inception_v3" else 224
    else:
        import timm

        module, side = timm.create_model(name, pretrained=False), 224
    return linbp.Model(module.eval(), input_size=(3, side, side), mean=MEAN, std=STD, name=name)


def compared(name: str, batch: int, rounds: int) -> dict[str, object]:
    """One line of the results."""
    network = model(name)
    draw = torch.Generator().manual_seed(1)
    images = torch.rand(batch, *network.input_size, generator=draw)
    plain = linbp.Surrogate(network, cache=False)
    labels = plain.logits(images).argmax(1)
    line: dict[str, object] = {"network": name, "batch": batch, "torch": torch.__version__, "rounds": rounds}
    for what, rule in (("ordinary", None), ("linbp(start=0.5)", linbp.LinBP(start=0.5))):
        eager = plain.with_rule(rule)
        fast = eager.compiled()
        begin = time.perf_counter()
        found = fast.gradient(images, labels)
        seconds = time.perf_counter() - begin
        wanted = eager.gradient(images, labels)
        times = medians(
            {
                "eager": lambda eager=eager: eager.gradient(images, labels),
                "compiled": lambda fast=fast: fast.gradient(images, labels),
            },
            rounds,
        )
        line[what] = {
            "ratio": round(times["compiled"] / times["eager"], 3),
            "eager_ms": round(1000 * times["eager"], 1),
            "seconds": round(seconds, 1),
            "off": float(f"{float((found - wanted).norm() / wanted.norm()):.1e}"),
        }
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="append a JSON line for each network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        for name in options.networks:
            line = compared(name, options.batch, options.rounds) | {"processor": processor()}
            print(json.dumps(line), flush=True)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
