"""The script that tries every architecture: what a row says, and that no crash or hang stops the others."""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

ROOT = Path(__file__).parents[1]


@pytest.fixture
def coverage(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("capture_coverage")


def test_a_network_is_captured_with_its_gradients_and_used_with_a_rule(coverage: Any) -> None:
    found = coverage.tried(coverage.Architecture("torchvision", "resnet18", "resnet"), None)
    facts = {"outcome": "captured", "gradients": "equal", "linbp": "yes", "side": 64}
    counts = {"sites": 17, "blocks": 8, "pools": 1, "attentions": 0}  # a stem, and eight blocks of two activations
    assert {fact: found[fact] for fact in facts | counts} == facts | counts
    network = torchvision.models.resnet18(num_classes=10)
    assert found["parameters"] == sum(one.numel() for one in network.parameters())


def test_what_cannot_be_built_or_captured_is_told_apart(coverage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    architectures = importlib.import_module("architectures")
    network = coverage.Architecture("timm", "resnet18", "resnet")
    for module, outcome in ((Scores, "not built"), (Branching, "refused")):
        monkeypatch.setattr(architectures, "_tries", lambda architecture, module=module: [(32, module)])
        found = coverage.tried(network, None)
        assert found["outcome"] == outcome
        assert len(found["reason"].splitlines()) == 1


class Scores(nn.Module):
    """One score for each pixel: no classifier."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(1)


class Branching(nn.Module):
    """Branches on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 32 * 32, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(images.flatten(1))
        return logits if float(logits.detach().sum()) > 0 else 2 * logits


def fate(architecture: Any, parameters: int | None) -> dict[str, Any]:
    """In place of a capture: what may happen to a process."""
    if architecture.name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if architecture.name == "hangs":
        time.sleep(60)
    while architecture.name == "computes":
        pass
    if architecture.name == "large":
        kept = b"x" * 2**30
        time.sleep(60 + len(kept) % 2)
    return {"outcome": "captured"}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="watches processes as Linux shows them")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_kills_one_process_is_one_line_and_a_rerun_goes_on(
    tmp_path: Path, coverage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["fine", "killed", "hangs", "computes", "large"]
    monkeypatch.setattr(
        coverage, "architectures", lambda library: [coverage.Architecture(library, n, n) for n in names]
    )
    monkeypatch.setattr(coverage, "count_parameters", lambda architecture: 100)
    monkeypatch.setattr(coverage, "tried", fate)
    monkeypatch.setattr(coverage, "IMPORTED", ())
    monkeypatch.setattr("gc.freeze", lambda: None)  # this process has other tests to run
    gc.collect()  # or memory that this process gives back between here and the fork hides what the other one takes
    _, _, rest = Path("/proc/self/status").read_text().partition("RssAnon:")
    mib = 512 + int(rest.split()[0]) / 1024  # a forked process has this one's memory, and no libraries yet
    path = tmp_path / "found.jsonl"
    options: dict[str, Any] = {
        "seconds": 2.0,
        "mib": mib,
        "libraries": ["timm"],
        "names": None,
        "first": None,
        "again": False,
        "out": path,
    }
    coverage.try_all(argparse.Namespace(**options, wait=6.0))
    found = {row["name"]: row["outcome"] for row in coverage.read(path)}
    assert found == {
        "fine": "captured",
        "killed": "crashed",
        "hangs": "too slow",
        "computes": "too slow",
        "large": "too large",
    }
    assert {row["parameters"] for row in coverage.read(path) if row["name"] != "fine"} == {100}
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], lines[4][: len(lines[4]) // 2]]))  # as an interrupted write leaves it
    monkeypatch.setattr(coverage, "tried", lambda architecture, parameters: {"outcome": "captured"})
    coverage.try_all(argparse.Namespace(**options, wait=30.0))
    after = {row["name"]: row["outcome"] for row in coverage.read(path)}
    rerun = json.loads(lines[4])["name"]
    assert after == {**found, rerun: "captured"}


def test_weights_of_one_shape_share_their_memory(coverage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    architectures = importlib.import_module("architectures")
    monkeypatch.setattr(architectures, "LARGE", 2**10)
    test_vit = coverage.Architecture("timm", "test_vit", "vision_transformer")
    apart, together = (architectures.build(test_vit, shared).module for shared in (False, True))
    large = [one for one in together.parameters() if one.numel() >= 2**10 and one.ndim > 1]
    assert len({one.data_ptr() for one in large}) == len({one.shape for one in large}) < len(large)
    assert len({one.data_ptr() for one in apart.parameters()}) == len(list(apart.parameters()))
    assert [one.shape for one in apart.parameters()] == [one.shape for one in together.parameters()]
    for one in large:
        assert float(one.detach().std()) == pytest.approx(one[0].numel() ** -0.5, rel=0.1)
