"""What rules keep between places and passes reaches the thread that runs a backward pass, and no other gradient.

On a GPU that is a thread of PyTorch's own. Here one stands for it: passes that are begun elsewhere wait for it, passes
that are begun in it stay in it. The expected gradients are of an eager network, one image at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest
import torch
from tiny_networks import images_and_labels
from tiny_transformer import DEPTH, TinyTransformer, gelu, tiny_transformer

import linbp
from linbp.attack import Recipe

COUNT, MAP = 3, 0
"""Images, and the number of the block whose output is the feature map."""
WEIGHT, OUTPUT, ATTENTION, MLP = 0.1, 0.05, 0.25, 0.5
"""Of VDC."""


@contextmanager
def device_thread() -> Iterator[None]:
    """Backward passes run in a thread of their own."""
    real = torch.autograd.grad
    with ThreadPoolExecutor(1) as pool, pytest.MonkeyPatch.context() as patch:
        worker = pool.submit(threading.get_ident).result()

        def grad(*given: Any, **options: Any) -> Any:
            if threading.get_ident() == worker:
                return real(*given, **options)
            return pool.submit(real, *given, **options).result()

        patch.setattr(torch.autograd, "grad", grad)
        yield


def score(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return logits.gather(1, labels[:, None])[:, 0] ** 2


def vdc_by_hand(row: int) -> torch.Tensor:
    """The gradient at a feature map: recorded in one pass, added in another."""
    module = tiny_transformer().module
    assert isinstance(module, TinyTransformer)
    images, labels = images_and_labels(COUNT)
    recorded: dict[tuple[str, int], torch.Tensor] = {}

    def walk(change: Callable[[str, int, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        found: list[torch.Tensor] = []

        def hook(place: str, block: int, value: torch.Tensor) -> torch.Tensor:
            value = gelu(place, block, value)
            if place in ("logits", "start", "output"):
                value = value.clone()
                value.register_hook(lambda gradient: change(place, DEPTH - 1 - block, gradient))
            if (place, block) == ("output", MAP):
                found.append(value)
            return value

        leaf = (images[row : row + 1].double() / 255).requires_grad_()
        logits = module.hooked(hook)((leaf - 0.5) / 0.25)
        return torch.autograd.grad(score(logits, labels[row : row + 1]).sum(), found)[0]

    def record(place: str, depth: int, gradient: torch.Tensor) -> torch.Tensor:
        recorded[place, depth] = gradient.clone()
        return gradient

    def add(place: str, depth: int, gradient: torch.Tensor) -> torch.Tensor:
        if place == "output":
            return gradient
        later = sum(WEIGHT * 0.5**one * recorded[place, one] for one in range(depth))
        if place == "logits":
            return ATTENTION * gradient + later
        return MLP * gradient + OUTPUT * recorded["output", 0] + later

    walk(record)
    return walk(add)[0]


def feature_gradient(surrogate: linbp.Surrogate, rows: slice = slice(None)) -> torch.Tensor:
    images, labels = images_and_labels(COUNT)
    gradients = surrogate.feature_gradients(images[rows].double() / 255, lambda logits: score(logits, labels[rows]))
    return gradients[f"blocks.{MAP}"]


def surrogate(text: str = "vdc") -> linbp.Surrogate:
    ruled = linbp.Surrogate(tiny_transformer()).with_rule(Recipe.parse(text).stages[-1].rules)
    return ruled.reading([f"blocks.{MAP}"])


def agree(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert float((found - expected).norm() / expected.norm()) < 1e-12


def test_feature_gradients_of_two_passes() -> None:
    found = feature_gradient(surrogate())
    for row in range(COUNT):
        agree(found[row], vdc_by_hand(row))


def test_both_passes_are_counted_in_the_thread_that_runs_them() -> None:
    vdc, (images, labels) = surrogate(), images_and_labels(COUNT)
    here = vdc.gradient(images.double() / 255, labels)
    with device_thread():
        found = feature_gradient(vdc)
        assert torch.equal(vdc.gradient(images.double() / 255, labels), here)
    for row in range(COUNT):
        agree(found[row], vdc_by_hand(row))


@pytest.mark.parametrize("where", [nullcontext, device_thread], ids=["own threads", "one thread"])
def test_threads_that_share_a_surrogate_do_not_share_what_it_remembers(
    where: Callable[[], AbstractContextManager[None]],
) -> None:
    vdc = surrogate("vdc + leaky-linbp")
    expected = [feature_gradient(vdc, slice(row, row + 1)) for row in range(COUNT)]
    with where(), ThreadPoolExecutor(4) as users:
        asked = [users.submit(feature_gradient, vdc, slice(row, row + 1)) for _ in range(8) for row in range(COUNT)]
        for number, one in enumerate(asked):
            assert torch.equal(one.result(), expected[number % COUNT])


def test_an_error_in_a_rule_reaches_the_caller_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    vdc = surrogate()
    expected = feature_gradient(vdc)
    with device_thread():
        with monkeypatch.context() as patch:
            patch.setattr("linbp.rules.vdc.ConnectedLogits.__call__", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                feature_gradient(vdc)
        assert torch.equal(feature_gradient(vdc), expected)
