"""Networks that cannot be captured, and what the user is told."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

from linbp import Model, Surrogate
from linbp.errors import CaptureError, ImageError, LinbpError, ModelError
from linbp.graph.capture.owner import IMAGES, images_of_noise

Tensor = torch.Tensor


def branches_on_values(head: nn.Linear, x: Tensor) -> Tensor:
    value = x.mean((2, 3))
    return head(value) if value.sum() > 0 else -head(value)


def item(head: nn.Linear, x: Tensor) -> Tensor:
    brightest = x.max().item()
    return head(x.mean((2, 3)) * torch.full((3,), 1.0 if brightest > 0 else 0.5))


def through_numpy(head: nn.Linear, x: Tensor) -> Tensor:
    return head(torch.from_numpy(np.mean(x.detach().numpy(), axis=(2, 3))))


def raises(head: nn.Linear, x: Tensor) -> Tensor:
    raise ValueError("channels must be four")


def one_batch_size(head: nn.Linear, x: Tensor) -> Tensor:
    return head(x.reshape(2, -1, 36).mean(2))


def random_numbers(head: nn.Linear, x: Tensor) -> Tensor:
    return head(x.mean((2, 3)) * torch.rand(3))


def python_numbers(head: nn.Linear, x: Tensor) -> Tensor:
    return head(x.mean((2, 3)) * random.random())


def mixed_batch(head: nn.Linear, x: Tensor) -> Tensor:
    return head((x - x.mean(0)).mean((2, 3)))


def divided_by_the_maximum(head: nn.Linear, x: Tensor) -> Tensor:
    return head((x / x.max()).mean((2, 3)))


def two_answers(head: nn.Linear, x: Tensor) -> tuple[Tensor, Tensor]:
    return head(x.mean((2, 3))), x


def a_dictionary(head: nn.Linear, x: Tensor) -> dict[str, Tensor]:
    return {"scores": head(x.mean((2, 3)))}


def a_map(head: nn.Linear, x: Tensor) -> Tensor:
    return head(x.movedim(1, -1)).movedim(-1, 1)


def not_a_number(head: nn.Linear, x: Tensor) -> Tensor:
    return head(x.mean((2, 3))) * float("nan")


class Network(nn.Module):
    """A linear layer and one of the functions above."""

    def __init__(self, written: Callable[..., object]) -> None:
        super().__init__()
        self.head, self.written = nn.Linear(3, 5), written

    def forward(self, images: Tensor) -> object:
        return self.written(self.head, images)


FAULTS: list[tuple[Callable[..., object], type[LinbpError], str, str]] = [
    (branches_on_values, CaptureError, "cannot be captured", "branching on the values"),
    (item, CaptureError, "cannot be captured", r".item\(\)"),
    (through_numpy, CaptureError, "No gradient", "detach"),
    (raises, CaptureError, r"test_capture_errors.py, line \d+: ValueError: channels must be four", r"\(n, 3, 6, 6\)"),
    (divided_by_the_maximum, CaptureError, "company", "mixes the images"),
    (one_batch_size, CaptureError, "batches of 2", "batch size"),
    (random_numbers, CaptureError, "logits", "random numbers"),
    (python_numbers, CaptureError, "logits", "random numbers"),
    (mixed_batch, CaptureError, "logits", "mixes the images"),
    (two_answers, LinbpError, "tuple|2 things", "logits"),
    (a_dictionary, LinbpError, "dict.*'scores'", "logits"),
    (a_map, LinbpError, r"shape \(3, 5, 6, 6\)", "pool or"),
    (not_a_number, ModelError, "NaN", "weights"),
]


@pytest.mark.parametrize(("written", "kind", "message", "hint"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS])
def test_what_cannot_be_captured_says_what_was_seen_and_what_to_try(
    written: Callable[..., object], kind: type[LinbpError], message: str, hint: str
) -> None:
    model = Model(Network(written).eval(), input_size=(3, 6, 6), name="the-network")
    random.seed(1)  # two numbers in a row that are nearly equal would look like one
    with pytest.raises(kind, match=message) as caught:
        Surrogate(model)
    assert "the-network" in caught.value.message
    assert "\n" not in caught.value.message
    assert any(word.replace("\\", "") in caught.value.hint for word in hint.split("|"))


@pytest.mark.parametrize("largest", range(IMAGES))
def test_a_maximum_over_the_batch_is_found_whichever_image_has_it(largest: int) -> None:
    def scaled_by_the_nearest(head: nn.Linear, x: Tensor) -> Tensor:
        nearness = -(x - noise[largest]).square().mean((1, 2, 3))
        return head(x.mean((2, 3))) * (1 + nearness.max())

    model = Model(Network(scaled_by_the_nearest).eval(), input_size=(3, 6, 6), name="the-network")
    noise = images_of_noise(model)
    with pytest.raises(CaptureError, match="company"):
        Surrogate(model)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 5)

    def forward(self, images: Tensor, scale: Tensor) -> Tensor:
        logits: Tensor = self.head(images.mean((2, 3)) * scale)
        return logits


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 5)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.head(images.mean((2, 3)))
        return logits, logits.softmax(1)


def test_a_module_of_two_inputs() -> None:
    with pytest.raises(LinbpError) as caught:
        Surrogate(Model(TwoInputs().eval(), input_size=(3, 6, 6)))
    assert "TwoInputs" in caught.value.message


@pytest.mark.parametrize("kind", ["inputs", "outputs", "batch"])
def test_programs_that_do_not_fit(kind: str) -> None:
    images = torch.zeros(2, 3, 6, 6)
    free = ({0: Dim.AUTO},)
    if kind == "inputs":
        program = torch.export.export(TwoInputs().eval(), (images, torch.ones(3)), dynamic_shapes=(*free, None))
    elif kind == "outputs":
        program = torch.export.export(TwoOutputs().eval(), (images,), dynamic_shapes=free)
    else:
        program = torch.export.export(nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(108, 5)).eval(), (images,))
    module = TwoOutputs() if kind == "outputs" else nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(108, 5))
    model = Model(module.eval(), input_size=(3, 6, 6), name="program", program=program)
    with pytest.raises(LinbpError) as caught:
        Surrogate(model)
    assert "program" in caught.value.message
    if kind == "batch":
        assert "2" in caught.value.message
        assert "Dim.AUTO" in caught.value.hint


def plain() -> Surrogate:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)).eval()
    return Surrogate(Model(module, input_size=(3, 6, 6)))


@pytest.mark.parametrize("labels", [[0], [0, 1, 2], [0, 5], [-1, 0], [[0, 1]], []])
def test_labels_that_are_no_classes(labels: list[int]) -> None:
    with pytest.raises(ImageError, match="0 to 4"):
        plain().gradient(torch.rand(2, 3, 6, 6), labels)


def test_labels_may_be_a_list_a_tensor_or_of_any_integer_type() -> None:
    surrogate, images = plain(), torch.rand(2, 3, 6, 6)
    expected = surrogate.gradient(images, [1, 4])
    for labels in (torch.tensor([1, 4]), torch.tensor([1, 4], dtype=torch.int32), torch.tensor([1, 4]).to(torch.uint8)):
        assert torch.equal(surrogate.gradient(images, labels), expected)


def test_a_gradient_that_is_not_finite() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 5)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head((images - images).abs().sqrt().mean((2, 3)))
            return logits

    surrogate = Surrogate(Model(Root().eval(), input_size=(3, 6, 6)))
    with pytest.raises(ModelError, match=r"gradient.*NaN"):
        surrogate.gradient(torch.rand(2, 3, 6, 6), [0, 1])


def test_a_name_is_no_network() -> None:
    with pytest.raises(ModelError, match="'demo:squeezenet1_1'") as caught:
        Surrogate("demo:squeezenet1_1")  # type: ignore[arg-type]
    assert "load_model" in caught.value.hint


def test_a_model_without_gradients() -> None:
    class Remote:
        name, differentiable = "remote", False

    with pytest.raises(ModelError, match=r"remote.*gradients") as caught:
        Surrogate(Remote())  # type: ignore[arg-type]
    assert "victim" in caught.value.hint
