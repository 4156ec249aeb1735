"""A centre crop before a network: torchvision's pipelines on tensors and Pillow images, for every way to ask for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch
import torchvision
from onnx import TensorProto, helper
from PIL import Image
from torch import nn
from torchvision.transforms import v2

import linbp
from linbp.errors import ModelError
from linbp.evaluation import evaluate
from linbp.models import Model, OnnxModel, load_model
from linbp.models.centre_crop import read_crop
from linbp.models.refined import Refined
from linbp.training.fine_tuning.folder import sidecar

MODES = {
    "bilinear": v2.InterpolationMode.BILINEAR,
    "bicubic": v2.InterpolationMode.BICUBIC,
    "nearest": v2.InterpolationMode.NEAREST,
}
SIZES = [(40, 31), (31, 40), (29, 29), (14, 57), (12, 12), (9, 8)]


def pixels(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random(shape))


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize(("resize", "crop"), [(17, 12), (18, (15, 12)), (12, 12), ((19, 14), 13), ((12, 20), (12, 9))])
def test_images_and_gradients_are_those_of_torchvision(interpolation: str, resize: Any, crop: Any) -> None:
    sides = (crop, crop) if isinstance(crop, int) else crop
    given: dict[str, Any] = {"input_size": (3, *sides), "interpolation": interpolation, "resize": resize}
    model, unsaid = Model(nn.Flatten(), crop=crop, **given), Model(nn.Flatten(), **given)
    pipeline = v2.Compose([v2.Resize(resize, MODES[interpolation], antialias=True), v2.CenterCrop(crop)])
    for size in SIZES:
        images, same = (pixels(2, 3, *size).requires_grad_() for _ in range(2))
        expected = pipeline(same)
        for one in (model, unsaid):
            torch.testing.assert_close(one.resize(images), expected, rtol=0, atol=1e-12)
        weights = pixels(2, 3, *sides)
        (model(images).reshape_as(weights) * weights).sum().backward()
        (expected * weights).sum().backward()
        torch.testing.assert_close(images.grad, same.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(20, 21), (13, 40), (13, 12)])
def test_without_resize_the_middle_is_kept_as_it_is(size: tuple[int, int]) -> None:
    images = pixels(2, 3, *size)
    kept = Model(nn.Flatten(), input_size=(3, 13, 12), crop=(13, 12)).resize(images)
    assert torch.equal(kept, v2.CenterCrop((13, 12))(images))


def test_a_network_that_writes_over_its_input_leaves_the_images_as_they_were() -> None:
    images = pixels(1, 1, 9, 6)
    before = images.clone()
    Model(nn.Sequential(nn.Flatten(), nn.Hardtanh(0, 0.1, inplace=True)), input_size=(1, 4, 6), crop=(4, 6))(images)
    assert torch.equal(images, before)


def test_a_whole_image_is_resized_as_before_and_its_identity_says_nothing_more() -> None:
    plain, crops = (Model(nn.Flatten(), input_size=12, resize=resize) for resize in (None, 14))
    assert {"resize", "crop"}.isdisjoint(plain.identity())
    assert (crops.identity()["resize"], crops.identity()["crop"]) == (14, [12, 12])
    assert crops.identity().keys() - plain.identity().keys() == {"resize", "crop"}


@pytest.mark.parametrize(
    ("size", "given", "words"),
    [
        (12, {"resize": 11}, "less than the crop"),
        (12, {"resize": (20, 11)}, "less than the crop"),
        (12, {"crop": 11}, "11 x 11, and the network takes 12 x 12"),
        (12, {"crop": 0}, "crop is 0"),
        (12, {"resize": -4}, "resize is -4"),
        (12, {"resize": 12.5}, "resize is 12.5"),
        (12, {"resize": float("inf")}, "resize is inf"),
        (12, {"resize": (3, 14, 14)}, "resize is"),
        (12, {"resize": "256"}, "resize is '256'"),
        (12, {"resize": True}, "resize is True"),
        (None, {"resize": 256}, "takes any size"),
    ],
)
def test_sizes_that_cannot_be_are_refused(size: int | None, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        read_crop(None if size is None else (size, size), **given)
    assert caught.value.hint


def test_an_image_smaller_than_the_crop_is_refused() -> None:
    model = Model(nn.Flatten(), input_size=12, crop=12)
    with pytest.raises(ModelError, match="11 x 20 pixels have no middle of 12 x 12") as caught:
        model.logits(torch.zeros(1, 3, 20, 11))
    assert "resize=12" in caught.value.hint


@pytest.mark.parametrize("size", [(200, 300), (333, 250)])
@pytest.mark.parametrize("network", ["torchvision:mnasnet0_5@random", "timm:test_resnet.r160_in1k@random"])
def test_the_crop_of_published_weights_is_their_librarys(network: str, size: tuple[int, int]) -> None:
    model = load_model(network)
    assert isinstance(model, Model)
    assert model.published_crop is not None
    assert model.centre_crop is None
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    if network.startswith("timm"):
        config = timm.data.resolve_data_config({}, model=model.module)
        pipeline = timm.data.create_transform(**{**config, "mean": (0,) * 3, "std": (1,) * 3})
        expected = pipeline(Image.fromarray(image))
    else:
        preset = torchvision.models.MNASNet0_5_Weights.IMAGENET1K_V1.transforms()
        preset.mean, preset.std = [0.0] * 3, [1.0] * 3
        expected = preset(Image.fromarray(image))
    model.centre_crop = model.published_crop
    seen = model.resize(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)[0]
    # Pillow rounds to levels once along each axis.
    assert (seen - expected).abs().max() <= 1.5 / 255


@pytest.mark.parametrize(("mode", "resize"), [("center", 14), ("squash", (14, 14)), ("border", None)])
def test_modes_of_timm(mode: str, resize: Any) -> None:
    from linbp.models.timm_weights import crop_of

    found = crop_of({"input_size": (3, 13, 13), "crop_pct": 0.9, "crop_mode": mode})
    assert found == (None if resize is None else read_crop((13, 13), resize))


def write_onnx(path: Path, shape: list[int | str]) -> None:
    nodes = [helper.make_node("Flatten", ["image"], ["logits"])]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", [image], [logits])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        (["N", 3, 8, 8], {"resize": 10}),
        (["N", 3, "H", "W"], {"resize": [9, 12], "crop": 8}),
        (["N", 3, "H", "W"], {"resize": 10, "input_size": 8, "mean": 0.5}),
    ],
)
def test_the_file_beside_an_onnx_file(tmp_path: Path, shape: list[int | str], fields: dict[str, Any]) -> None:
    write_onnx(tmp_path / "net.onnx", shape)
    (tmp_path / "net.json").write_text(json.dumps(fields))
    victim = load_model(tmp_path / "net.onnx")
    assert isinstance(victim, OnnxModel)
    assert victim.input_size == (3, 8, 8)
    images = pixels(2, 3, 20, 15).float()
    expected = Model(nn.Flatten(), **{"input_size": 8, **fields})
    torch.testing.assert_close(victim.logits(images), expected.logits(images))
    assert victim.identity()["crop"] == [8, 8]
    assert victim.identity()["resize"] == fields["resize"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"resize": 7}, "less than the crop of 8 x 8"),
        ({"resize": "10"}, "net.json: resize is 10"),
        ({"crop": 9, "input_size": 8}, "net.json: The crop keeps 9 x 9"),
        ({"crop": 9}, "The crop keeps 9 x 9"),
    ],
)
def test_a_wrong_file_beside_it(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    write_onnx(tmp_path / "net.onnx", ["N", 3, 8, 8])
    (tmp_path / "net.json").write_text(json.dumps(fields))
    with pytest.raises(ModelError, match=words):
        load_model(tmp_path / "net.onnx")


def test_a_program_with_what_was_written_beside_it_is_the_model_again(tmp_path: Path) -> None:
    model = Model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), input_size=8, mean=0.25, resize=(9, 11))
    torch.export.save(torch.export.export(model.module, (torch.zeros(1, 3, 8, 8),)), tmp_path / "net.pt2")
    (tmp_path / "net.json").write_bytes(sidecar(model))
    program = load_model(tmp_path / "net.pt2")
    assert isinstance(program, Model)
    turns = Refined(program, [(tmp_path / "net.pt2", "")], name="refined", source={})
    images = pixels(1, 3, 20, 15).float()
    for one in (program, turns):
        assert one.centre_crop == model.centre_crop
        torch.testing.assert_close(one.logits(images), model.logits(images))


def cropping_network(resize: int | None = None) -> Model:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)]
    return Model(nn.Sequential(*layers).double(), input_size=8, resize=resize, crop=8, name="cropping")


def test_a_surrogate_that_resizes_and_crops_has_the_models_gradients() -> None:
    model = cropping_network(resize=11)
    images = pixels(2, 3, 8, 13).requires_grad_()
    labels = torch.tensor([0, 1])
    loss = nn.functional.cross_entropy(model(images), labels, reduction="sum")
    (expected,) = torch.autograd.grad(loss, images)
    found = linbp.Surrogate(model, cache=False).gradient(images.detach(), labels)
    torch.testing.assert_close(found, expected)
    assert model.centre_crop is not None


def test_a_cropping_surrogate_moves_only_the_pixels_that_it_sees() -> None:
    images = pixels(2, 3, 14, 13)
    levels = (images * 255).round() / 255
    adv = linbp.craft(cropping_network(), levels, torch.tensor([0, 1]), "ifgsm", eps=8 / 255, steps=2)
    moved = (adv - levels).abs().sum(1) > 0
    assert not moved[:, :3].any()
    assert not moved[:, :, :2].any()
    assert moved[:, 3:11, 2:10].float().mean() > 0.9


class Brightness(nn.Module):
    """Knows a class by the mean brightness of the images it gets."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -(images.mean((1, 2, 3))[:, None] - torch.tensor([0.3, 0.4, 0.5, 0.6, 0.7])).abs()


@pytest.mark.parametrize(("crops", "words"), [(False, "resize=9 and a centre crop"), (True, "the whole image")])
def test_a_victim_that_should_crop_and_one_that_should_not_are_told(crops: bool, words: str) -> None:
    labels = np.resize(np.arange(5), 20)
    level, edge = 0.3 + 0.1 * labels, np.where(labels < 2, 1.0, 0.0)
    if crops:  # of the whole image, the mean is the class; the edge are 17 pixels of 81
        edge = 1 - edge
        level = (81 * level - 17 * edge) / 64
    images = np.empty((20, 3, 9, 9))
    images[:] = edge[:, None, None, None]
    images[:, :, :8, :8] = level[:, None, None, None]
    pixels = (images * 255).round().astype(np.uint8)
    model = Model(Brightness(), input_size=8, **({"resize": 9} if crops else {}))
    with pytest.raises(ModelError, match=words):
        evaluate(model, pixels, 255 - pixels, labels, trust_labels=True)
    found = evaluate(model, pixels, 255 - pixels, labels, trust_labels=True, trust_victim=True)
    assert found.statistics.right_on_clean < 10
