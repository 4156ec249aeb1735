"""Tuning a captured network equals tuning a module with `nn.Identity` in the removed places by a plain loop."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from eager_networks import eager, images_and_labels, model
from torch import nn
from torch.nn import functional

from linbp.randomness import generator
from linbp.training.lins import Tuning, linearize

COUNT, BATCH, EPOCHS = 23, 5, 2


def shuffled(epoch: int, seed: int) -> list[int]:
    keys = {row: generator(seed, str(row), epoch, "linearize.order").random() for row in range(COUNT)}
    return sorted(keys, key=keys.__getitem__)


def in_fives(rows: list[int]) -> list[list[int]]:
    """23 images: four batches of five, and three."""
    return [rows[0:5], rows[5:10], rows[10:15], rows[15:20], rows[20:23]]


def by_hand(module: nn.Module, options: dict[str, Any], recalibrate: int, behind: list[str], seed: int) -> nn.Module:
    """The plain loop: nothing of linbp in it but where the random numbers come from.

    Args:
        module: with the identity in the removed places.
        options: of the tuning.
        recalibrate: batches.
        behind: the batch norms behind a removed activation.
        seed: of the random numbers.
    """
    images, labels = images_and_labels(COUNT)
    inputs = (images.double() / 255 - 0.4) / 0.3
    norms = [getattr(module, name) for name in behind]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for rows in in_fives(shuffled(0, seed))[: recalibrate if norms else 0]:
            module(inputs[rows])
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    decay, highest = options.get("weight_decay", 1e-4), options["learning_rate"]
    optimizer: torch.optim.Optimizer
    if options.get("optimizer") == "adamw":
        optimizer = torch.optim.AdamW(module.parameters(), lr=highest, weight_decay=decay)
    else:
        optimizer = torch.optim.SGD(module.parameters(), lr=highest, momentum=0.9, weight_decay=decay)
    module.train()
    step = 0
    for epoch in range(EPOCHS):
        for rows in in_fives(shuffled(epoch, seed)):
            # Ten steps, a fifth of them rising: 1/2, 1, and then half a cosine over eight.
            rate = (step + 1) / 2 if step < 2 else (1 + math.cos(math.pi * (step - 2) / 8)) / 2
            optimizer.param_groups[0]["lr"] = highest * rate
            torch.manual_seed(int(generator(seed, "", step, "linearize.network").integers(2**63)))
            loss = functional.cross_entropy(
                module(inputs[rows]), labels[rows], label_smoothing=options.get("label_smoothing", 0.0)
            )
            optimizer.zero_grad()
            loss.backward()
            if "clip" in options:
                total = sum(float(one.grad.square().sum()) for one in module.parameters()) ** 0.5
                for one in module.parameters():
                    one.grad *= min(1, options["clip"] / (total + 1e-6))
            optimizer.step()
            step += 1
    return module.eval()


@pytest.mark.parametrize(
    ("start", "sites", "removed", "options", "recalibrate", "behind"),
    [
        (0, None, ("first", "spelt", "inner", "last"), {"learning_rate": 0.05}, 3, ["norm1", "norm2"]),
        (2, None, ("inner", "last"), {"learning_rate": 0.1, "label_smoothing": 0.1, "clip": 0.5}, 0, []),
        (0.5, "all", ("after", "last"), {"learning_rate": 0.05, "weight_decay": 0.0}, 50, []),
        (
            "conv1",
            (2, 4),
            ("inner", "gate"),
            {"learning_rate": 0.01, "optimizer": "adamw", "weight_decay": 0.1},
            50,
            ["norm2"],
        ),
    ],
)
def test_weights_and_statistics_after_ten_steps(
    start: Any, sites: Any, removed: tuple[str, ...], options: dict[str, Any], recalibrate: int, behind: list[str]
) -> None:
    images, labels = images_and_labels(COUNT)
    with torch.random.fork_rng():
        expected = by_hand(eager(removed), options, recalibrate, behind, seed=7)
    found = linearize(
        model(),
        start,
        images,
        labels,
        sites=sites,
        validation=images_and_labels(8, seed=1),
        tuning=Tuning(epochs=EPOCHS, batch_size=BATCH, warm_up=0.2, recalibrate=recalibrate, seed=7, **options),
    )
    assert ("recalibrated" in found.accuracy) is bool(behind)
    state, wanted = found.model.module.state_dict(), expected.state_dict()
    assert set(state) == set(wanted)
    moved = 0.0
    for name, tensor in wanted.items():
        torch.testing.assert_close(state[name], tensor, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: name + text)
        moved = max(moved, float((tensor - eager().state_dict()[name]).abs().max()))
    assert moved > 0.01  # there was something to agree on
    inputs = images.double() / 255
    torch.testing.assert_close(found.model.logits(inputs), expected((inputs - 0.4) / 0.3), rtol=1e-9, atol=1e-9)


def test_accuracy_is_that_of_the_eager_networks() -> None:
    images, labels = images_and_labels(COUNT)
    others, answers = images_and_labels(50, seed=1)
    found = linearize(
        model(),
        0,
        images,
        labels,
        validation=(others, answers),
        tuning=Tuning(epochs=EPOCHS, batch_size=BATCH, learning_rate=0.05, recalibrate=0, warm_up=0.2),
    )
    removed = ("first", "spelt", "inner", "last")
    with torch.random.fork_rng():
        tuned = by_hand(eager(removed), {"learning_rate": 0.05}, 0, [], seed=0)
    for when, module in (("before", eager()), ("removed", eager(removed)), ("tuned", tuned)):
        for name, (pictures, classes) in {"validation": (others, answers), "training": (images, labels)}.items():
            logits = module((pictures.double() / 255 - 0.4) / 0.3).detach()
            fact = found.accuracy[when][name]
            assert (fact["right"], fact["n"]) == (int((logits.argmax(1) == classes).sum()), len(classes))
            assert fact["loss"] == pytest.approx(float(functional.cross_entropy(logits, classes)), rel=1e-9)
    assert "recalibrated" not in found.accuracy
    assert [one["epoch"] for one in found.history] == [1, 2]
    assert found.history[-1]["validation"] == found.accuracy["tuned"]["validation"]
    assert found.accuracy["tuned"]["training"]["accuracy"] > found.accuracy["removed"]["training"]["accuracy"]


def test_mixed_precision_is_autocast() -> None:
    images, labels = images_and_labels(COUNT)
    removed = ("inner", "last")
    outcomes = {}
    for mixed in (False, True):
        tuning = Tuning(epochs=1, batch_size=COUNT, learning_rate=0.1, warm_up=0, recalibrate=0, mixed_precision=mixed)
        found = linearize(model(torch.float32), 2, images, labels, validation=(images, labels), tuning=tuning)
        module = eager(removed, torch.float32).train()
        inputs = (images[shuffled(0, 0)].float() / 255 - 0.4) / 0.3
        with torch.random.fork_rng(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            torch.manual_seed(int(generator(0, "", 0, "linearize.network").integers(2**63)))
            loss = functional.cross_entropy(module(inputs).float(), labels[shuffled(0, 0)])
        loss.backward()
        for name, parameter in module.named_parameters():
            expected = parameter - 0.1 * (parameter.grad + 1e-4 * parameter)
            state = found.model.module.state_dict()[name]
            torch.testing.assert_close(state, expected.detach(), rtol=1e-5, atol=1e-6)
        assert state.dtype == torch.float32
        outcomes[mixed] = found.model.module.state_dict()["stem.weight"]
    assert not torch.allclose(outcomes[False], outcomes[True], atol=1e-6)
