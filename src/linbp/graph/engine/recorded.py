"""Both passes of a compiled network as CUDA graphs: a gradient then starts two graphs instead of hundreds of kernels.

A recording computes in buffers of its own, which its next run writes over. So each is lent to one forward pass, until
nobody can ask for that pass's gradient any more; meanwhile another forward pass makes a recording of its own.
"""

from __future__ import annotations

import threading
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch

from linbp.errors import LinbpWarning

__all__ = ["Loan", "Recordings"]

Compute = Callable[..., Sequence[torch.Tensor]]
WARM_UPS = 3
"""Runs before a recording, in which libraries choose kernels and take memory, as torch's documentation advises."""
_ONE_AT_A_TIME = threading.Lock()
"""A process may record one graph at a time."""


def record(
    compute: Compute, given: Sequence[torch.Tensor], device: torch.device
) -> tuple[Callable[[], None], Sequence[torch.Tensor]]:
    """A function as a CUDA graph.

    Args:
        compute: compiled; it is called a few times.
        given: the buffers that it reads; they hold numbers that it can compute with.
        device: the GPU.

    Returns:
        What runs the graph, and the buffers that it then writes.
    """
    with torch.cuda.device(device):
        aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                compute(*given)
        torch.cuda.current_stream(device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # On a stream of this device: the one that torch would take is of the GPU that a process recorded on first.
        with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
            written = compute(*given)
    return graph.replay, written


class Recording:
    """One forward and one backward pass at one shape, with their buffers."""

    def __init__(self, forward: Compute, backward: Compute, values: int, images: torch.Tensor) -> None:
        self._images = images.clone()
        self._forward, found = record(forward, [self._images], images.device)
        self._forward()  # a recording computes nothing: what the backward pass reads has no numbers yet
        self._values, saved = found[:values], found[values:]
        self._gradients = [torch.zeros_like(value) for value in self._values]
        self._backward, (self._passed,) = record(backward, [*saved, *self._gradients], images.device)

    def run(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The values at some images, as copies."""
        self._images.copy_(images)
        self._forward()
        return [value.clone() for value in self._values]

    def pull(self, gradients: Sequence[torch.Tensor]) -> torch.Tensor:
        """The gradient at the images that it last ran on, as a copy."""
        for buffer, gradient in zip(self._gradients, gradients, strict=True):
            buffer.copy_(gradient)
        self._backward()
        return self._passed.clone()


class Recordings:
    """As many recordings of two passes as are needed at a time.

    Args:
        forward: from images to a list of the values and of what the backward pass needs.
        backward: from that and the gradients at the values to a list of the gradient at the images.
        values: how many values there are.
    """

    def __init__(self, forward: Compute, backward: Compute, values: int) -> None:
        self._passes = forward, backward, values
        self._free: dict[object, list[Recording]] = defaultdict(list)
        """By stream: work on one stream may not write over what another one still reads."""
        self._refused = False

    def lend(self, images: torch.Tensor) -> Loan | None:
        """A recording that nobody uses, a new one where there is none; None where no more can be recorded."""
        with _ONE_AT_A_TIME:
            free = self._free[torch.cuda.current_stream(images.device) if images.is_cuda else None]
            if free:
                return Loan(free.pop(), free)
            if self._refused:
                return None
            try:
                return Loan(Recording(*self._passes, images), free)
            except Exception as fault:  # of CUDA, of a kernel that cannot be recorded, or no memory for its buffers
                self._refused = True
                told = str(fault).partition("\n")[0][:200]
                warnings.warn(
                    f"No CUDA graph could be recorded, so passes run without: {told}", LinbpWarning, stacklevel=2
                )
        return None


class Loan:
    """A recording that goes back when this object does."""

    def __init__(self, recording: Recording, free: list[Recording]) -> None:
        self.run, self.pull = recording.run, recording.pull
        self._back: tuple[Recording, list[Recording]] = recording, free

    def __del__(self) -> None:
        recording, free = self._back
        free.append(recording)
