"""A surrogate at work: shared captures, any batch, both memory formats, threads, and no memory that grows."""

from __future__ import annotations

import copy
import functools
import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from linbp import SGM, LinBP, Model, Surrogate
from linbp.graph import surrogate as running
from linbp.graph.capture import graph as capturing


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        through = functional.relu(self.norm1(self.conv1(value)), inplace=True)
        return functional.relu(self.norm2(self.conv2(through)) + value, inplace=True)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(3, 8, 3, padding=1), nn.Sequential(Block(8), Block(8))
        self.head = nn.Linear(8, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.blocks(functional.relu(self.stem(images))).mean((2, 3)))
        return logits


SIZE = (3, 10, 10)


def surrogate(dtype: torch.dtype = torch.float64, **options: Any) -> Surrogate:
    torch.manual_seed(0)
    return Surrogate(Model(Network().to(dtype).eval(), input_size=SIZE), cache=False, **options)


@functools.cache
def captured(dtype: torch.dtype = torch.float64, memory_format: str = "contiguous") -> Surrogate:
    """A capture that tests share."""
    return surrogate(dtype, memory_format=memory_format)


def images(count: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(count, *SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def labels(count: int) -> torch.Tensor:
    return torch.arange(count) % 5


RULES: list[Any] = [
    None,
    LinBP(start=0),
    LinBP(start=1, gamma=0.5),
    LinBP(start=0, rebalance="site"),
    LinBP(start=0, rebalance=None),
    SGM(gamma=0.5),
]


def test_with_rule_shares_the_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    first, direct = surrogate(), surrogate(rule=LinBP(start=0))
    monkeypatch.setattr(running, "capture", None)
    monkeypatch.setattr(capturing, "export", None)
    second = first.with_rule(LinBP(start=0))
    third = second.with_rule([LinBP(start=1), SGM(gamma=0.5)])
    assert second.sites is first.sites
    assert third.model is first.model
    assert first.rules == ()
    assert len(third.rules) == 2
    tensors = {tensor.data_ptr() for tensor in first._ordinary.buffers()}
    assert {tensor.data_ptr() for tensor in third._network.buffers()} <= tensors
    x, y = images(2), labels(2)
    assert torch.equal(third.with_rule(None).gradient(x, y), first.gradient(x, y))
    assert not torch.allclose(second.gradient(x, y), first.gradient(x, y))
    assert torch.equal(second.gradient(x, y), direct.gradient(x, y))
    assert any("linbp: 3 of 5 sites are linear, 2 branches rescaled" in note for note in second.notes)
    assert not any("linbp" in note for note in first.notes)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_any_batch_size(rule: Any, count: int) -> None:
    ruled = captured().with_rule(rule)
    whole = ruled.gradient(images(7), labels(7))
    assert torch.allclose(ruled.gradient(images(7)[:count], labels(7)[:count]), whole[:count], rtol=1e-10, atol=1e-15)
    assert torch.allclose(ruled.logits(images(7)[:count]), ruled.logits(images(7))[:count], rtol=1e-12)


@pytest.mark.slow
def test_float32_gradients_do_not_depend_on_the_batch() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = torchvision.models.resnet18()
    plain = Surrogate(Model(module, input_size=(3, 64, 64)), cache=False)
    inputs = torch.rand(11, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    classes = torch.arange(11)
    for ruled in (plain, plain.with_rule(LinBP(start=0.3))):
        whole = ruled.gradient(inputs, classes)
        for rows in ([4], [10, 0], [3, 2, 1], [7, 6, 5, 4, 3, 2, 1, 0, 10]):
            assert torch.equal(ruled.gradient(inputs[rows], classes[rows]), whole[rows])


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_both_memory_formats_compute_the_same(rule: Any) -> None:
    for dtype, close in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        found = [
            captured(dtype, order).with_rule(rule).gradient(images(3, dtype), labels(3))
            for order in ("contiguous", "channels_last")
        ]
        assert float((found[0] - found[1]).norm() / found[0].norm()) < close
        assert found[0].dtype == dtype


def test_the_memory_format_is_chosen_by_dtype_and_said() -> None:
    assert surrogate(torch.float32).memory_format == "channels_last"
    assert surrogate(torch.float64).memory_format == "contiguous"
    chosen = surrogate(memory_format="channels_last")
    assert "memory format channels_last" in chosen.notes
    assert chosen.identity()["memory_format"] == "channels_last"


@pytest.mark.parametrize("order", ["contiguous", "channels_last"])
def test_the_images_may_lie_in_memory_in_any_order(order: str) -> None:
    ruled = captured(memory_format=order).with_rule(LinBP(start=0))
    x = images(3)
    expected = ruled.gradient(x, labels(3))
    strided = x.transpose(2, 3).contiguous().transpose(2, 3)
    for other in (x.contiguous(memory_format=torch.channels_last), strided, x.flip(0).flip(0)):
        assert torch.allclose(ruled.gradient(other, labels(3)), expected, rtol=1e-12, atol=1e-16)


def test_images_of_another_size_are_resized_within_the_gradient() -> None:
    ruled = captured()
    x = torch.rand(2, 3, 17, 13, dtype=torch.float64)
    found = ruled.gradient(x, labels(2))
    leaf = x.clone().requires_grad_()
    loss = functional.cross_entropy(ruled.model(leaf), labels(2), reduction="sum")
    (expected,) = torch.autograd.grad(loss, leaf)
    assert found.shape == x.shape
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-15)


def test_normalisation_is_inside() -> None:
    torch.manual_seed(0)
    module = Network().double().eval()
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ruled = Surrogate(Model(module, input_size=SIZE, mean=mean, std=std), cache=False)
    leaf = images(2).requires_grad_()
    normalised = (leaf - torch.tensor(mean).double().view(1, 3, 1, 1)) / torch.tensor(std).double().view(1, 3, 1, 1)
    logits = module(normalised)
    (expected,) = torch.autograd.grad(functional.cross_entropy(logits, labels(2), reduction="sum"), leaf)
    assert torch.allclose(ruled.gradient(images(2), labels(2)), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_gradient_is_the_same_bits_again(dtype: torch.dtype) -> None:
    first, second = surrogate(dtype), surrogate(dtype)
    x, y = images(3, dtype), labels(3)
    for rule in RULES:
        expected = first.with_rule(rule).gradient(x, y)
        assert torch.equal(first.with_rule(rule).gradient(x, y), expected), rule
        assert torch.equal(second.with_rule(rule).gradient(x, y), expected), rule


def test_a_copy_runs_without_the_original() -> None:
    ruled = surrogate(rule=LinBP(start=0))  # of its own: it is deleted
    expected = ruled.gradient(images(2), labels(2))
    copied = copy.deepcopy(ruled._network)
    del ruled
    leaf = images(2).requires_grad_()
    loss = functional.cross_entropy(copied(leaf), labels(2), reduction="sum")
    assert torch.equal(torch.autograd.grad(loss, leaf)[0], expected)


@pytest.mark.parametrize("rule", [LinBP(start=0, gamma=0.5), LinBP(start=0, rebalance="site")], ids=str)
def test_threads_use_one_surrogate_at_once(rule: Any) -> None:
    """One thread's ordinary walk must not be seen by another's."""
    ruled = captured().with_rule(rule)
    x, y = images(4), labels(4)
    expected = [ruled.gradient(x[at : at + 1], y[at : at + 1]) for at in range(4)]
    wrong: list[int] = []
    start = threading.Barrier(4)

    def work(at: int) -> None:
        start.wait()
        for _ in range(25):
            if not torch.equal(ruled.gradient(x[at : at + 1], y[at : at + 1]), expected[at]):
                wrong.append(at)

    threads = [threading.Thread(target=work, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Without the collector nothing that refers to itself is freed; what is there already is not counted."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def tensors() -> int:
    """Tensors made since, and whatever keeps tensors for a backward pass."""
    kept = (torch.Tensor, torch.autograd.function.BackwardCFunction)
    return sum(issubclass(type(thing), kept) for thing in gc.get_objects())  # no isinstance: some objects warn


@pytest.mark.usefixtures("no_collection")
def test_nothing_accumulates() -> None:
    """Over many gradients, and where the logits' graph is thrown away because nobody differentiates them."""
    kept = torch.zeros(1).requires_grad_()
    assert tensors() == 1, kept  # they are counted
    x, y = images(2).requires_grad_(), labels(2)
    grown: dict[str, int] = {}
    for rule in [*RULES, [LinBP(start=0), SGM(gamma=0.5)]]:
        ruled = captured().with_rule(rule)
        for name, work in (("gradient", lambda: ruled.gradient(x, y)), ("run", lambda: ruled.run(x))):  # noqa: B023
            for _ in range(3):
                work()
            before = tensors()
            for _ in range(20):
                work()
            grown[f"{name} with {rule}"] = tensors() - before
    assert set(grown.values()) == {0}, grown


def test_moving_to_another_device_keeps_the_rule() -> None:
    ruled = captured().with_rule(LinBP(start=0, gamma=0.5))
    moved = ruled.to("cpu")
    assert moved.rules == ruled.rules
    assert moved.device == torch.device("cpu")
    assert torch.equal(moved.gradient(images(2), labels(2)), ruled.gradient(images(2), labels(2)))
