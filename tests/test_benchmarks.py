"""The benchmarks run, on a small network: their figures are worth nothing here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from linbp.graph.kernels import PASSES

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SMALL = ("--network", "resnet18", "--size", "64", "--batch", "2", "--start", "layer3.1")


def run(script: str, *arguments: str) -> list[str]:
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout.splitlines()


@pytest.mark.slow
def test_a_step_is_compared_with_plain_steps() -> None:
    head, *lines = run("step.py", *SMALL, "--rounds", "1")
    assert head.startswith("resnet18, batch 2, 64 px")
    ratios = {line.split(maxsplit=1)[1]: float(line.split()[0]) for line in lines}
    assert min(ratio for name, ratio in ratios.items() if name.startswith("plain step")) == 1
    assert all(ratio > 0 for ratio in ratios.values())
    assert {"LinBP from layer3.1, rebalance=branch", "the loop without a network, mi + di"} <= ratios.keys()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory as Linux does")
def test_memory_is_measured_in_a_process_of_its_own() -> None:
    lines = run("memory.py", *SMALL, "--one", "branch")
    assert 0 < float(lines[-1]) < 2000


@pytest.mark.slow
def test_each_pass_over_a_finished_graph_is_measured_by_leaving_it_out() -> None:
    small = ("--networks", "demo:squeezenet1_1", "mobilenet_v2", "--side", "64", "--batch", "2", "--rounds", "1")
    _, head, _, *rows = run("kernels.py", *small)
    names = [cell.strip() for cell in head.split("|")[4:-1]]
    assert names == [*PASSES, "channels_last", "control"]
    assert len(rows) == 4
    for row in rows:
        milliseconds, *cells = (cell.strip() for cell in row.split("|")[3:-1])
        assert float(milliseconds) > 0
        found = {name: float(cell.rstrip("%")) for name, cell in zip(names, cells, strict=True) if cell}
        # neither network has a wide strided stem, a wide 3 x 3 convolution or a bottleneck's branch
        assert found.keys() == {"overwrite", "channels_last", "control"}
        assert min(found.values()) > -100
