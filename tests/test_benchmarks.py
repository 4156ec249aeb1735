"""The benchmarks run, on a small network: their figures are worth nothing here."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision.models.resnet import Bottleneck, ResNet

import linbp
from linbp.graph.kernels import ONEDNN, PASSES

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SMALL = ("--network", "resnet18", "--size", "64", "--batch", "2", "--start", "layer3.1")


def run(script: str, *arguments: str) -> list[str]:
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout.splitlines()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_step_is_compared_with_plain_steps() -> None:
    head, *lines = run("step.py", *SMALL, "--rounds", "1")
    assert head.startswith("resnet18, batch 2, 64 px")
    ratios = {line.split(maxsplit=1)[1]: float(line.split()[0]) for line in lines}
    assert min(ratio for name, ratio in ratios.items() if name.startswith("plain step")) == 1
    assert all(ratio > 0 for ratio in ratios.values())
    assert {"LinBP from layer3.1, rebalance=branch", "the loop without a network, mi + di"} <= ratios.keys()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_compiled_gradient_is_compared_with_the_same_uncompiled() -> None:
    (told,) = run("compiled.py", "demo:cifar10/plain", "--batch", "2", "--rounds", "1")
    line = json.loads(told)
    assert line["network"] == "demo:cifar10/plain"
    for what in ("ordinary", "linbp(start=0.5)"):
        assert line[what]["ratio"] > 0
        assert line[what]["off"] < 1e-5


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory as Linux does")
def test_memory_is_measured_in_a_process_of_its_own() -> None:
    lines = run("memory.py", *SMALL, "--one", "branch")
    assert 0 < float(lines[-1]) < 2000


@pytest.mark.exhaustive
@pytest.mark.slow
def test_each_pass_over_a_finished_graph_is_measured_by_leaving_it_out() -> None:
    small = ("--networks", "demo:squeezenet1_1", "mobilenet_v2", "--side", "64", "--batch", "2", "--rounds", "1")
    _, head, _, *rows = run("kernels.py", *small)
    names = [cell.strip() for cell in head.split("|")[4:-1]]
    assert names == [*PASSES, *ONEDNN, "channels_last", "control"]
    assert len(rows) == 4
    for row in rows:
        milliseconds, *cells = (cell.strip() for cell in row.split("|")[3:-1])
        assert float(milliseconds) > 0
        found = {name: float(cell.rstrip("%")) for name, cell in zip(names, cells, strict=True) if cell}
        # neither network has a wide strided stem, a wide 3 x 3 convolution or a bottleneck's branch
        assert found.keys() == {"overwrite", "pointwise", "channels_last", "control"}
        assert min(found.values()) > -100


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of foolbox
def test_peers_are_compared_and_what_a_file_holds_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    peers, path = importlib.import_module("peers"), tmp_path / "found.jsonl"
    small = {"networks": ["squeezenet1_1"], "attacks": ["ifgsm", "linbp"], "batches": [1], "side": 64}
    options = argparse.Namespace(**small, rounds=2, steps=1, out=path)
    peers.measure(options)
    (line,) = peers.read(path)
    assert (line["network"], line["attack"], line["images"], line["steps"]) == ("squeezenet1_1", "ifgsm", 1, 1)
    assert line["seconds"] > 0
    assert {"group 1"} <= line["ratios"].keys() <= {"group 1", *peers.PEERS}
    assert all(len(found) == 2 and 0 < found[0] <= found[1] for found in line["ratios"].values())
    before = path.read_bytes()
    peers.measure(options)
    assert path.read_bytes() == before
    head, _, row = (text.strip("| ").split(" | ") for text in peers.table([line]))
    cells = dict(zip(head, row, strict=True))
    assert float(cells["group 1"].split()[0]) == pytest.approx(sum(line["ratios"]["group 1"]) / 2, abs=0.006)


def test_the_linbp_of_the_comparison_is_linbp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    released = importlib.import_module("released_style").ReleasedLinBP
    torch.manual_seed(0)
    network = ResNet(Bottleneck, [1, 1, 2, 1], num_classes=10).double().eval().requires_grad_(False)
    mean, std = torch.full((1, 3, 1, 1), 0.5).double(), torch.full((1, 3, 1, 1), 0.25).double()
    by_hand = released(network, mean, std, first=3, eps=0.1, steps=1, step_size=0.1)
    model = linbp.Model(network, input_size=(3, 32, 32), mean=(0.5,) * 3, std=(0.25,) * 3)
    images, labels = torch.rand(2, 3, 32, 32).double(), torch.tensor([1, 2])
    expected = linbp.Surrogate(model, linbp.LinBP(start="layer3.1"), cache=False).gradient(images, labels)
    assert torch.allclose(by_hand.gradient(images, labels), expected, rtol=1e-9, atol=1e-13)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_report_is_measured_in_a_process_of_its_own() -> None:
    found = json.loads("\n".join(run("bench.py", "report", "--images", "20", "--rounds", "1")))
    assert (found["many attacks"]["rows"], found["many images"]["rows"]) == (20_000, 200)
    for table in ("many attacks", "many images"):
        assert 0 < found[table]["processor_s"] < 60
        assert 50 < found[table]["memory_mib"] < 2_000
        assert 0.1 < found[table]["page_mib"] < 3


def test_a_step_is_divided_into_its_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    limit = importlib.import_module("limit")
    monkeypatch.setattr(limit, "SIZES", (64,))
    found = limit.profile("squeezenet1_1", rounds=1, batch=2, group_size=1, side=64)
    parts = {part["kind"]: part for part in found["parts"]}
    assert sum(part["ms"] for part in parts.values()) == pytest.approx(found["ms"], abs=0.1)
    forward, backward = (parts[f"3 x 3 convolutions, {way}"]["gflop"] for way in ("forward", "backward"))
    # of the eight Fires, at 15, 7 and 3 px, and of the stem, of stride 2, at 31 px
    fires = [(16, 64, 15)] * 2 + [(32, 128, 7)] * 2 + [(48, 192, 3)] * 2 + [(64, 256, 3)] * 2
    macs = sum(squeezed * expanded * side**2 * 9 for squeezed, expanded, side in fires) + 64 * 3 * 31**2 * 9
    assert forward == pytest.approx(2 * 2 * macs / 1e9, abs=2e-3)
    assert backward == pytest.approx(forward, rel=0.2)
    assert {"1 x 1 convolutions by oneDNN, both ways", "activations", "pooling", "outside"} <= parts.keys()
    assert len(limit.table(found)) == 4 + len(parts)
