"""A model that is attacked again is not captured again, unless anything of it is another one."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import nn

import linbp
from linbp import Model, Surrogate
from linbp.errors import ModelError
from linbp.graph import recent
from linbp.graph import surrogate as running
from linbp.graph.recent import recent_surrogate

SCALE = 1.0
"""A global number that a network reads; the content of its code has it."""


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
        self.slope = 1.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = torch.relu(self.stem(images)) * self.slope * SCALE
        logits: torch.Tensor = self.head(value.mean((2, 3)))
        return logits


def model(**changes: Any) -> Model:
    return Model(Scaled().double().eval(), **{"input_size": (3, 8, 8), "name": "scaled", **changes})


@pytest.fixture(autouse=True)
def captures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the models that are captured, from an empty store on."""
    found: list[str] = []
    real = running.capture

    def counted(given: Model, **options: Any) -> Any:
        found.append(given.name)
        return real(given, **options)

    monkeypatch.setattr(running, "capture", counted)
    monkeypatch.setattr(recent, "_kept", type(recent._kept)())
    return found


def images() -> torch.Tensor:
    levels = torch.randint(0, 256, (2, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    return levels.double() / 255


LABELS = torch.tensor([1, 2])


def test_an_equal_model_is_captured_once(captures: list[str]) -> None:
    first = linbp.craft(model(), images(), LABELS, "linbp(start=0) + mi", eps="8/255", steps=3)
    second = linbp.craft(model(name="again"), images(), LABELS, "linbp(start=0) + mi", eps="8/255", steps=3)
    assert captures == ["scaled"]
    assert torch.equal(first, second)
    other = recent_surrogate(model(name="third", interpolation="bicubic"))
    assert (other.model.name, other.model.interpolation, captures) == ("third", "bicubic", ["scaled"])
    assert other.rules == ()
    assert torch.equal(other.gradient(images(), LABELS), Surrogate(model()).gradient(images(), LABELS))


def test_anything_that_is_another_one_is_captured_again(captures: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    recent_surrogate(model())
    changed = model()
    with torch.no_grad():
        changed.module.head.bias[0] += 1e-12
    found = recent_surrogate(changed)
    assert len(captures) == 2
    assert torch.equal(found._ordinary(images()), Surrogate(changed)._ordinary(images()))
    sloped = model()
    sloped.module.slope = 2.0
    hooked = model()
    hooked.module.stem.register_forward_hook(lambda module, given, value: value * 2)
    for other in (sloped, hooked, model(mean=0.5), model(std=0.5), model(input_size=(3, 9, 9))):
        before = len(captures)
        found = recent_surrogate(other)
        assert len(captures) == before + 1
        noise = torch.rand(2, *other.input_size, dtype=torch.float64)
        assert torch.allclose(found.logits(noise), other.logits(noise), rtol=1e-9)
    monkeypatch.setattr(f"{__name__}.SCALE", 3.0)
    before = len(captures)
    assert torch.allclose(recent_surrogate(model()).logits(images()), model().logits(images()), rtol=1e-9)
    assert len(captures) == before + 1


def test_a_change_that_no_content_tells_is_seen_in_the_logits(
    captures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "content_key", lambda module, shape: "the same")
    first, second = model(), model()
    second.module.slope = 2.0
    recent_surrogate(first)
    assert torch.allclose(recent_surrogate(second).logits(images()), second.logits(images()), rtol=1e-9)
    assert len(captures) == 2


def test_only_the_last_ones_are_kept_and_no_module_of_the_owners(
    captures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = model()
    alive = weakref.ref(one.module)
    recent_surrogate(one)
    del one
    gc.collect()
    assert alive() is None
    for number in range(recent.MOST):
        recent_surrogate(model(mean=(number + 1) / 10))
    assert len(recent._kept) == recent.MOST
    before = len(captures)
    recent_surrogate(model())  # the first one went
    assert len(captures) == before + 1
    monkeypatch.setattr(recent, "ROOM", 10)
    recent_surrogate(model(std=0.3))
    assert len(recent._kept) == 0


def test_what_cannot_be_captured_is_told_as_ever() -> None:
    with pytest.raises(ModelError, match="load_model"):
        linbp.craft("scaled", images(), LABELS, "mi", eps="8/255")  # type: ignore[arg-type]
