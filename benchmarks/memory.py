"""Peak memory of one step, each contender in a process of its own: what the process grows by from before the step.

python benchmarks/memory.py            # ResNet-50, batch 8, 224 px
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CONTENDERS = ("plain, contiguous", "plain, channels_last", "captured, ordinary", "branch", "site", "none")


def peak() -> float:
    """The most memory that this process has held so far, in MiB (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise SystemExit("This measurement needs Linux: /proc/self/status has no VmHWM.")


def forget_peak() -> None:
    """Let the peak begin again at what is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def contender(name: str, network: str, batch: int, size: int, start: str) -> Callable[[], object]:
    """The step of one contender, with its model loaded."""
    import torch
    import torchvision
    from step import MEAN, STD, plain_step

    import linbp

    torch.manual_seed(0)
    module = torchvision.models.get_model(network, weights=None).eval().requires_grad_(False)
    shape = (3, size, size)
    images = torch.randint(0, 256, (batch, *shape)).float() / 255
    labels = torch.randint(0, 1000, (batch,))
    model = linbp.Model(module, input_size=shape, mean=MEAN, std=STD)
    if name.startswith("plain"):
        if name.endswith("channels_last"):
            module.to(memory_format=torch.channels_last)
            images = images.contiguous(memory_format=torch.channels_last)
        return plain_step(model, images, labels)
    rule = (
        None if name.startswith("captured") else linbp.LinBP(start=start, rebalance=None if name == "none" else name)  # type: ignore[arg-type]
    )
    surrogate = linbp.Surrogate(model, rule=rule, cache=False)
    del model, module
    return lambda: surrogate.gradient(images, labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--network", default="resnet50", help="a torchvision classification network")
    parser.add_argument("--start", default="layer3.1")
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        step = contender(options.one, options.network, options.batch, options.size, options.start)
        step()  # libraries set up their own buffers once
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what the first step freed goes back, or the second would seem to need none
        forget_peak()
        before = peak()
        step()
        print(peak() - before)
        return
    print("| what | MiB above the loaded network |\n|---|---:|")
    for name in CONTENDERS:
        command = [sys.executable, __file__, *sys.argv[1:], "--one", name]
        grown = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
        print(f"| {name} | {grown:.0f} |", flush=True)


if __name__ == "__main__":
    main()
