"""What depends on the call, the batch or chance is no victim: refused, or noted with its size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from linbp.errors import ModelError
from linbp.evaluation import Evaluation, evaluate
from linbp.models import Model

IMAGES = np.random.default_rng(0).integers(0, 256, (24, 3, 8, 8), dtype=np.uint8)


def layers(*more: nn.Module, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 8, 3), *more, nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)).eval()


class Wrapped(nn.Module):
    """A network whose logits another function changes, given the images and the number of the call."""

    def __init__(self, change: Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]) -> None:
        super().__init__()
        self.inner, self.change, self.calls = layers(), change, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.change(self.inner(images), images, self.calls)


class AlwaysDropout(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return functional.dropout(images, 0.3, training=True)


def noise(logits: torch.Tensor, images: torch.Tensor, call: int) -> torch.Tensor:
    return logits + torch.randn_like(logits)


def seeded(logits: torch.Tensor, images: torch.Tensor, call: int) -> torch.Tensor:
    """The same numbers in every call, but others for every place in the batch."""
    return logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))


def turns(logits: torch.Tensor, images: torch.Tensor, call: int) -> torch.Tensor:
    return logits.flip(1) if call % 2 else logits


def first_rows(logits: torch.Tensor, images: torch.Tensor, call: int) -> torch.Tensor:
    return logits[:1].expand_as(logits)


def centred(logits: torch.Tensor, images: torch.Tensor, call: int) -> torch.Tensor:
    return logits - logits.mean(0)


def by_size(logits: torch.Tensor, images: torch.Tensor, call: int) -> torch.Tensor:
    return logits.roll(len(logits), 1)


CHANCE: dict[str, Callable[[], nn.Module]] = {
    "dropout": lambda: layers(AlwaysDropout()),
    "noise": lambda: Wrapped(noise),
    "every other call": lambda: Wrapped(turns),
}
COMPANY: dict[str, Callable[[], nn.Module]] = {
    "batch norm without statistics": lambda: layers(nn.BatchNorm2d(8, track_running_stats=False)),
    "seeded noise": lambda: Wrapped(seeded),
    "the first image": lambda: Wrapped(first_rows),
    "centred over the batch": lambda: Wrapped(centred),
    "the size of the batch": lambda: Wrapped(by_size),
}


def asked(victim: Any, batch_size: int = 24, **options: Any) -> Evaluation:
    """Labels are the victim's own classes for the images in one batch, as the owner of a bad victim has them."""
    labels = layers()(torch.from_numpy(IMAGES) / 255).argmax(1).tolist()
    return evaluate(victim, IMAGES, 255 - IMAGES, labels, batch_size=batch_size, trust_labels=True, **options)


@pytest.mark.parametrize("batch_size", [1, 5, 24])
@pytest.mark.parametrize("name", CHANCE)
def test_what_depends_on_chance_or_on_the_call(name: str, batch_size: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        with pytest.raises(
            ModelError, match=r"asked the same again.*of 5 images, they change by up to [0-9.]+%"
        ) as told:
            asked(Model(CHANCE[name](), input_size=8, name="net"), batch_size)
    assert "--trust-victim" in told.value.hint
    assert "chance" in told.value.hint


@pytest.mark.parametrize("batch_size", [1, 5, 24])
@pytest.mark.parametrize("name", COMPANY)
def test_what_depends_on_the_batch(name: str, batch_size: int) -> None:
    with pytest.raises(ModelError, match=r"in a batch with other images.*change by up to [0-9.]+%") as told:
        asked(Model(COMPANY[name](), input_size=8, name="net"), batch_size)
    assert "--trust-victim" in told.value.hint
    assert "batch" in told.value.hint


def test_it_is_switched_off_by_name_only() -> None:
    model = Model(COMPANY["the size of the batch"](), input_size=8)
    found = [asked(model, size, trust_victim=True).records for size in (1, 4, 24)]
    assert len({tuple(record.clean_prediction for record in records) for records in found}) > 1  # hence the refusal


@pytest.mark.parametrize("batch_size", [1, 5, 24])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_an_ordinary_network_is_neither_refused_nor_noted(dtype: torch.dtype, batch_size: int) -> None:
    module = layers(nn.BatchNorm2d(8), nn.Dropout(0.5)).to(dtype).train()
    found = asked(Model(module, input_size=8), batch_size)
    assert not any("scores" in note for note in found.notes)
    assert module.training


def test_what_changes_little_is_noted_with_its_size() -> None:
    """A change of a hundredth of the scores' range, and no prediction as close as that."""

    def little(logits: torch.Tensor, images: torch.Tensor, call: int) -> torch.Tensor:
        sure = functional.one_hot(logits.argmax(1), 10).float()
        return sure + 0.01 * (call % 2) * torch.arange(10) / 9

    found = asked(Model(Wrapped(little), input_size=8, name="net"))
    (note,) = [note for note in found.notes if "other scores" in note]
    assert note.startswith("net ")
    assert "1.0%" in note
    assert "0 of all 24" in note


def test_functions_and_objects_are_asked_too() -> None:
    inner = layers()

    def service(images: torch.Tensor) -> Any:
        return inner(images).detach().numpy()

    def uncertain(images: torch.Tensor) -> torch.Tensor:
        return 9 * torch.rand(len(images), 10)

    assert asked(service).name == "service"
    with pytest.raises(ModelError, match="uncertain gives an image other scores"):
        asked(uncertain)
    for wrong, words in (
        (inner, "Sequential is a module"),
        (3, "name, logits, identity"),
        (Wrapped, "instance|without"),
    ):
        with pytest.raises(ModelError, match=words):
            asked(wrong)


def test_a_victim_that_takes_one_image_at_a_time_is_not_failed_by_the_question() -> None:
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = layers()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.inner(images).view(1, 10)

    found = asked(Model(One(), input_size=8, name="one"), 1)
    assert any("fails on 2" in note for note in found.notes)
    assert found.records == asked(Model(layers(), input_size=8, name="one"), 1).records


@pytest.mark.parametrize(("least", "most"), [(0.4, 1.0), (0.3, 0.6)])
def test_companions_without_an_answer_do_not_fail_a_victim(least: float, most: float) -> None:
    """It may have no finite scores for darkened copies, nor for negatives: neither is an image of the user's."""
    inner = layers()

    def picky(images: torch.Tensor) -> torch.Tensor:
        means = images.mean((1, 2, 3))
        known = (means > least) & (means < most)
        return torch.where(known[:, None], inner(images).detach(), float("nan"))

    images = IMAGES // 4 + 96  # of a mean of 0.5; darkened 0.12
    bright = IMAGES // 8 + 100  # of a mean of 0.45; negative 0.55
    for given in (images, bright):
        found = evaluate(picky, given, given, [0] * 24, trust_labels=True)
        assert not any("fails" in note or "scores" in note for note in found.notes)


def test_how_many_more_images_a_victim_is_asked_about() -> None:
    """Two passes of at most 10 images, whatever the number of images: 1% of the gradients of 64 images and 20 steps."""
    seen: list[int] = []
    inner = layers()

    def counted(images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return inner(images).detach()

    asked(counted)
    assert sum(seen) == 2 * 24 + 2 * 10
    assert max(seen) <= 24
    seen.clear()
    asked(counted, trust_victim=True)
    assert sum(seen) == 2 * 24
