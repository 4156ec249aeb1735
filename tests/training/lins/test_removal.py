"""What is left of a network when activations are the identity: values, module paths, and what is not touched."""

from __future__ import annotations

import copy
import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from eager_networks import ACTIVATIONS, SIZE, eager, images_and_labels, model
from torch import nn
from torch.nn import functional

from linbp import LinBP, Model, Surrogate, load_model
from linbp.errors import CaptureError, ModelError, RuleError
from linbp.training.fine_tuning.program import Program
from linbp.training.lins import Tuning, linearize

Tensor = torch.Tensor
CPU = torch.device("cpu")


def logits_without(given: Model, sites: list[int], images: Tensor) -> Tensor:
    """What the program computes after the removal of some sites."""
    program = Program(given)
    program.remove(sites)
    with torch.no_grad():
        found = program.network(CPU)(given.normalise(images))
    return found[0] if isinstance(found, tuple) else found


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_one_activation_is_the_identity(name: str) -> None:
    images = images_and_labels(3)[0].double() / 255
    given = model()
    (site,) = (one.index for one in Surrogate(given).sites if one.module_path == name)
    with torch.no_grad():
        expected = eager([name])((images - 0.4) / 0.3)
    assert torch.allclose(logits_without(given, [site], images), expected, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(given.logits(images), expected, atol=1e-4)


class Written(nn.Module):
    """A forward of one's own over two convolutions and a linear layer."""

    def __init__(self, forward: Callable[[Written, Tensor, Callable[[Tensor], Tensor]], Tensor], keep: bool) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.norm, self.c = nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.norm.running_mean.fill_(0.1)
        self.norm.running_var.fill_(0.7)
        self.steps, self.keep = forward, keep
        self.double().eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.c(self.steps(self, images, nn.Identity()).mean((2, 3)))


def if_kept(net: Written, activation: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
    return activation(value) if net.keep else value


def on_the_images(net: Written, x: Tensor, _: object) -> Tensor:
    return net.b(net.a(if_kept(net, functional.leaky_relu, x - 0.5)))


def directly_on_the_images(net: Written, x: Tensor, _: object) -> Tensor:
    return net.b(net.a(if_kept(net, torch.tanh, x)))


def spelt_on_the_images(net: Written, x: Tensor, _: object) -> Tensor:
    return net.b(net.a(x * torch.sigmoid(x) if net.keep else x))


def in_place_with_another_look(net: Written, x: Tensor, _: object) -> Tensor:
    x = net.a(x)
    before = x * 2
    y = if_kept(net, functional.relu_, x)
    return before + x * y


def on_a_part(net: Written, x: Tensor, _: object) -> Tensor:
    x = net.norm(net.a(x))
    if net.keep:
        functional.relu_(x[:, :2])
    return net.b(x)


def spelt_after_a_norm_on_a_part(net: Written, x: Tensor, _: object) -> Tensor:
    x = net.a(x)
    x[:, :2] += 1
    x = net.norm(x)
    return net.b(x * torch.sigmoid(x) if net.keep else x)


def one_behind_the_other(net: Written, x: Tensor, _: object) -> Tensor:
    x = net.norm(net.a(x))
    return net.b(torch.relu(functional.gelu(x)) if net.keep else x)


WRITTEN = [
    on_the_images,
    directly_on_the_images,
    spelt_on_the_images,
    in_place_with_another_look,
    pytest.param(on_a_part, marks=pytest.mark.slow),
    pytest.param(spelt_after_a_norm_on_a_part, marks=pytest.mark.slow),
    one_behind_the_other,
]


@pytest.mark.parametrize("steps", WRITTEN, ids=lambda steps: getattr(steps, "__name__", None))
def test_activations_of_any_spelling(steps: Callable[..., Tensor], tmp_path: Path) -> None:
    images = torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    given = Model(Written(steps, keep=True), input_size=(3, 6, 6))
    with torch.no_grad():
        expected = Written(steps, keep=False)(images)
    assert not torch.allclose(given.logits(images), expected, atol=1e-4)
    sites = [site.index for site in Surrogate(given).sites]
    assert torch.allclose(logits_without(given, sites, images), expected, rtol=1e-12, atol=1e-12)
    # The same behind a file.
    found = linearize(
        given, 0, images, [0, 1, 2, 0, 1], sites="all", validation=(images, [0] * 5), tuning=Tuning(epochs=0)
    )
    torch.export.save(found.model.program, tmp_path / "net.pt2")
    loaded = load_model(tmp_path / "net.pt2")
    assert torch.allclose(loaded.logits(images[:1]), expected[:1], rtol=1e-9, atol=1e-9)
    assert loaded.dynamic_batch
    assert Surrogate(loaded).sites == ()


def test_a_program_from_a_file_is_not_changed() -> None:
    buffer = io.BytesIO()
    torch.export.save(Program(model()).program, buffer)
    path_less = model()
    path_less.program = torch.export.load(io.BytesIO(buffer.getvalue()))
    images, labels = images_and_labels(8)
    before = path_less.program.module()(images.double())
    linearize(path_less, 0, images, labels, validation=0.5, tuning=Tuning(epochs=1, batch_size=2))
    assert torch.equal(path_less.program.module()(images.double()), before)


def test_module_paths_mean_what_they_meant() -> None:
    given = model()
    before = Surrogate(given)
    images, labels = images_and_labels(6)
    found = linearize(given, 2, images, labels, validation=0.5, tuning=Tuning(epochs=0, recalibrate=0))
    assert [before.sites[index].module_path for index in found.removed] == ["inner", "last"]
    after = Surrogate(found.model)
    assert [site.module_path for site in after.sites] == ["first", "spelt", "after", "gate"]
    assert set(after.structure.entries) == set(before.structure.entries)
    # The removed one's own path: the next site behind it is the one after the sum.
    assert LinBP(start="inner", sites="all").plan(after.structure).sites.keys() == {2}
    assert found.model.input_size == given.input_size
    assert (found.model.mean, found.model.std) == (given.mean, given.std)


def test_nothing_of_the_users_is_touched() -> None:
    given = model()
    module = given.module.train()
    module.norm.eval()
    module.stem.weight.requires_grad_(False)
    module.head.weight.grad = torch.ones_like(module.head.weight)
    handle = module.conv1.register_forward_hook(lambda *_: None)
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    flags = [one.training for one in module.modules()]
    torch.manual_seed(11)
    np.random.seed(12)
    random.seed(13)
    images, labels = images_and_labels(9)
    kept = copy.deepcopy(images)
    with torch.no_grad():  # as a caller may have it
        found = linearize(given, 0, images, labels, tuning=Tuning(epochs=1, batch_size=4, augment=("flip", "crop")))
    drawn = (float(torch.rand(())), float(np.random.random()), random.random())
    torch.manual_seed(11)
    np.random.seed(12)
    random.seed(13)
    assert drawn == (float(torch.rand(())), float(np.random.random()), random.random())
    assert [one.training for one in module.modules()] == flags
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
    assert not module.stem.weight.requires_grad
    assert torch.equal(module.head.weight.grad, torch.ones_like(module.head.weight))
    assert all(one.grad is None for one in module.parameters() if one is not module.head.weight)
    assert list(module.conv1._forward_hooks) == [handle.id]
    assert torch.equal(images, kept)
    assert not torch.equal(found.model.module.state_dict()["stem.weight"], module.stem.weight)


def test_tied_weights_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
            self.b.weight = self.a.weight
            self.head = nn.Linear(3, 4)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.b(torch.relu(self.a(images))).mean((2, 3)))

    images, labels = images_and_labels(9)
    given = Model(Tied().double(), input_size=(3, SIZE, SIZE))
    found = linearize(given, 0, images, labels, tuning=Tuning(epochs=1, batch_size=4, learning_rate=0.1))
    state = found.model.program.state_dict
    assert state["a.weight"] is state["b.weight"]
    assert not torch.equal(state["a.weight"], given.module.a.weight)


@pytest.mark.parametrize(
    ("start", "sites", "words"),
    [
        (6, None, "There is no site 6: the network has 6 sites"),
        ("layer9", None, "The network runs no module called 'layer9'"),
        ("head", None, "No site is executed at or after 'head'"),
        ("gate", "inside", "reaches no site"),
        (3, (1,), "There is no site 1 from 3 on"),
    ],
)
def test_positions_that_reach_nothing(start: int | str, sites: str | tuple[int, ...] | None, words: str) -> None:
    images, labels = images_and_labels(4)
    with pytest.raises(RuleError, match=words):
        linearize(model(), start, images, labels, sites=sites)


def test_networks_that_cannot_be_tuned() -> None:
    images, labels = images_and_labels(4)
    with pytest.raises(ModelError, match="computes in bfloat16"):
        linearize(model(torch.bfloat16), 0, images, labels)
    with pytest.raises(ModelError, match=r"float32.*float64"):
        linearize(model(), 0, images, labels, tuning=Tuning(mixed_precision=True))

    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 4)

        def forward(self, value: Tensor) -> Tensor:
            mean = self.head(torch.relu(value.mean((2, 3))))
            return mean if value.sum() > 0 else -mean

    with pytest.raises(CaptureError):
        linearize(Model(Branching(), input_size=(3, SIZE, SIZE)), 0, images, labels)
