"""The model itself: preprocessing, evaluation mode, identity, and answers that are no logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from linbp.errors import ModelError
from linbp.models import Model, weights_sha256


def small_network(classes: int = 5) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).append(nn.Linear(4, classes))


def test_logits_are_those_of_the_normalised_image() -> None:
    network = small_network().eval().double()
    model = Model(network, input_size=(3, 8, 8), mean=(0.1, 0.2, 0.3), std=(0.5, 1, 2))
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    shift, scale = (torch.tensor(row, dtype=torch.float64) for row in ([0.1, 0.2, 0.3], [0.5, 1, 2]))
    by_hand = network((images - shift[:, None, None]) / scale[:, None, None])
    torch.testing.assert_close(model.logits(images), by_hand, rtol=0, atol=1e-12)


@pytest.mark.parametrize("thing", [nn.Linear, "resnet18", lambda images: images, None, torch.zeros(3)])
def test_what_is_no_module_is_refused(thing: object) -> None:
    with pytest.raises(ModelError) as caught:
        Model(thing, input_size=8)  # type: ignore[arg-type]
    assert "torch.nn.Module" in str(caught.value)
    assert caught.value.hint


def test_whole_images_are_resized_as_pillow_does() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    model = Model(nn.Flatten(), input_size=(3, 16, 16))
    resized = model.resize(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
    pillow = np.asarray(Image.fromarray(pixels).resize((16, 16), Image.Resampling.BILINEAR), dtype=np.float32)
    assert np.abs(resized[0].permute(1, 2, 0).numpy() * 255 - pillow).max() < 1


def test_logits_leave_flags_as_they_are_and_need_no_gradient() -> None:
    network = small_network()
    network[1].eval()
    before = [part.training for part in network.modules()]
    model = Model(network, input_size=(3, 8, 8))
    images = torch.rand(3, 3, 8, 8)
    first, second = model.logits(images), model.logits(images)
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert [part.training for part in network.modules()] == before


def test_identity_is_the_weights_content_and_not_their_place() -> None:
    torch.manual_seed(0)
    network = small_network()
    one = Model(network, input_size=(3, 8, 8), name="net").identity()
    copy = small_network()
    copy.load_state_dict(network.state_dict())
    assert Model(copy, input_size=(3, 8, 8), name="net").identity() == one
    with torch.no_grad():
        copy[0].weight[0, 0, 0, 0] += 1e-6
    assert Model(copy, input_size=(3, 8, 8)).identity()["weights_sha256"] != one["weights_sha256"]


def test_hash_covers_names_dtypes_and_shapes() -> None:
    values = torch.zeros(4)
    hashes = {
        weights_sha256({"a": values}),
        weights_sha256({"b": values}),
        weights_sha256({"a": values.view(2, 2)}),
        weights_sha256({"a": values.to(torch.int32)}),
        weights_sha256({"a": torch.zeros(0)}),
    }
    assert len(hashes) == 5
    assert weights_sha256({"a": values, "b": values[:1]}) == weights_sha256({"b": values[:1], "a": values})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"input_size": (3, 8)}, "input_size"),
        ({"input_size": (3, 0, 8)}, "input_size"),
        ({"input_size": (3, 8, 8), "mean": (0.5,)}, "3 channels"),
        ({"input_size": (3, 8, 8), "std": (1, 0, 1)}, "std"),
        ({"input_size": (3, 8, 8), "interpolation": "lanczos"}, "lanczos"),
    ],
)
def test_impossible_preprocessing_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Model(nn.Flatten(), **options)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (nn.Identity(), "shape"),
        (nn.Sequential(nn.Flatten(), nn.Flatten(0)), "shape"),
        (nn.Sequential(nn.Flatten(), nn.Threshold(2.0, float("nan"))), "NaN or infinite"),
    ],
)
def test_answers_that_are_no_logits_are_refused(network: nn.Module, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Model(network, input_size=(3, 8, 8), name="net").logits(torch.rand(2, 3, 8, 8))


def test_a_tuple_is_refused() -> None:
    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    with pytest.raises(ModelError, match="tuple"):
        Model(Pair(), input_size=(3, 8, 8)).logits(torch.rand(2, 3, 8, 8))
