"""CUDA graphs of compiled passes; without a GPU, with a stand-in that reads and writes fixed buffers too."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import pytest
import torch
from tiny_networks import images_and_labels, tiny
from tiny_transformer import tiny_transformer
from torch import fx

import linbp
from linbp.errors import LinbpWarning
from linbp.graph.engine import compiled, recorded
from linbp.jobs.tf32 import tf32

LEVELS, LABELS = images_and_labels(3)
IMAGES = LEVELS.double() / 255
OTHERS = IMAGES.flip(3)


class Graphs:
    """Stands in for `record`, and counts."""

    def __init__(self) -> None:
        self.made = self.replayed = 0

    def __call__(
        self, compute: Any, given: Sequence[torch.Tensor], device: torch.device
    ) -> tuple[Callable[[], None], list[torch.Tensor]]:
        self.made += 1
        assert not any(value.isnan().any() for value in given)
        written = [value.clone() for value in compute(*given)]
        for value in written:  # a recording computes nothing
            value.fill_(math.nan if value.is_floating_point() else 2**30)

        def replay() -> None:
            self.replayed += 1
            for buffer, value in zip(written, compute(*given), strict=True):
                buffer.copy_(value)

        return replay, written


def as_written(graph: fx.GraphModule, **_: Any) -> fx.GraphModule:
    return graph


@pytest.fixture
def graphs() -> Iterator[Graphs]:
    graphs = Graphs()
    with (
        mock.patch("torch.compile", as_written),
        mock.patch.object(compiled, "RECORDED", ("cpu",)),
        mock.patch.object(recorded, "record", graphs),
    ):
        yield graphs


@pytest.mark.parametrize("network", ["residual", "transformer"])
def test_a_recording_is_made_once_and_gives_the_same_gradients(network: str, graphs: Graphs) -> None:
    plain = linbp.Surrogate(tiny() if network == "residual" else tiny_transformer(), linbp.LinBP(start=0))
    surrogate = plain.compiled()
    for count, images in enumerate((IMAGES, OTHERS, IMAGES[:2]), start=1):  # the last one is filled up
        found = surrogate.gradient(images, LABELS[: len(images)])
        torch.testing.assert_close(found, plain.gradient(images, LABELS[: len(images)]), rtol=1e-10, atol=1e-14)
        assert (graphs.made, graphs.replayed) == (2, 1 + 2 * count)  # the forward pass ran once while it was recorded


def test_passes_that_wait_for_their_gradients_keep_their_buffers(graphs: Graphs) -> None:
    plain = linbp.Surrogate(tiny(), linbp.LinBP(start=1)).reading(["blocks.0"])
    surrogate = plain.compiled()

    def slopes(surrogate: linbp.Surrogate) -> list[torch.Tensor]:
        leaves = [images.clone().requires_grad_() for images in (IMAGES, OTHERS)]
        seen = [surrogate.observe(leaf) for leaf in leaves]  # both before the first gradient
        found = []
        for leaf, (logits, maps) in zip(leaves, seen, strict=True):
            (value,) = maps.values()
            total = logits.square().sum() + value.sin().sum()
            found += [logits.detach(), value.detach(), torch.autograd.grad(total, leaf, retain_graph=True)[0]]
            if surrogate.is_compiled:
                assert torch.equal(found[-1], torch.autograd.grad(total, leaf)[0])
        return found

    wanted = slopes(plain)
    for _ in range(2):
        for one, other in zip(slopes(surrogate), wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)
        assert graphs.made == 4  # two recordings of two graphs: they come back, and nothing is recorded again


def test_a_recording_is_not_used_under_other_settings_of_torch(graphs: Graphs) -> None:
    surrogate = linbp.Surrogate(tiny(), linbp.LinBP(start=1)).compiled()
    for _ in range(2):
        for wanted in (True, False):
            with tf32(wanted):
                surrogate.gradient(IMAGES, LABELS)
    assert graphs.made == 4


@pytest.mark.parametrize(
    "fault",
    [
        RuntimeError("operation not permitted\nwhen capturing"),
        torch.OutOfMemoryError("operation not permitted for want of memory"),
        ValueError("operation not permitted on this device"),
    ],
)
def test_where_nothing_can_be_recorded_passes_run_compiled_and_one_warning_says_so(
    fault: Exception, graphs: Graphs
) -> None:
    plain = linbp.Surrogate(tiny(), linbp.LinBP(start=1))
    surrogate = plain.compiled()
    with mock.patch.object(recorded, "record", side_effect=fault):
        with pytest.warns(LinbpWarning, match="operation not permitted") as caught:
            found = surrogate.gradient(IMAGES, LABELS)
        assert len(caught) == 1
        assert torch.equal(found, surrogate.gradient(IMAGES, LABELS))
    torch.testing.assert_close(found, plain.gradient(IMAGES, LABELS), rtol=1e-10, atol=1e-14)


def gpus() -> list[int]:
    """Their numbers; the last one is another than the first wherever there are several."""
    return sorted({0, torch.cuda.device_count() - 1}) if torch.cuda.is_available() else [0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("network", ["residual", "transformer"])
@pytest.mark.parametrize("number", gpus())
def test_cuda_graphs_give_the_same_gradients(network: str, number: int) -> None:
    """Two passes wait for their gradients, the last batch is filled up, and one stream follows another."""
    model = tiny() if network == "residual" else tiny_transformer()
    device = torch.device("cuda", number)
    plain = linbp.Surrogate(model, linbp.LinBP(start=0)).to(device)
    surrogate = plain.compiled()
    images, others = IMAGES.to(device), OTHERS.to(device)

    def both(surrogate: linbp.Surrogate) -> list[torch.Tensor]:
        leaves = [one.clone().requires_grad_() for one in (images, others, images[:2])]
        logits = [surrogate.run(leaf) for leaf in leaves]
        return [torch.autograd.grad(one.square().sum(), leaf)[0] for one, leaf in zip(logits, leaves, strict=True)]

    wanted = both(plain)
    with warnings.catch_warnings():
        warnings.simplefilter("error", LinbpWarning)  # a recording that is refused fails this test
        found = both(surrogate)
        torch.cuda.synchronize(device)
        with torch.cuda.stream(torch.cuda.Stream(device)):
            found += both(surrogate)
        torch.cuda.synchronize(device)
    for one, other in zip(found, wanted * 2, strict=True):
        assert (one - other).norm() <= 1e-10 * other.norm()
