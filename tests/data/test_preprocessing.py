"""Preparation of photographs and views of victims against torchvision, Pillow and timm themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from linbp.data.images import Pixels
from linbp.data.preprocessing import Crop, Network, Preparation, Resize, View, apply_view, read_view, write_view
from linbp.errors import ImageError

SIZES = [(375, 500), (500, 333), (224, 224), (683, 1024), (299, 299), (480, 641), (101, 97), (256, 255)]
MODES = {
    "nearest": InterpolationMode.NEAREST,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
}


def photograph(height: int, width: int) -> Pixels:
    """Noise on a slope: every frequency, and no symmetry that could hide a shift."""
    draw = np.random.default_rng(height * 1000 + width)
    slope = np.linspace(0, 160, width)[None, :, None] + np.linspace(0, 60, height)[:, None, None]
    return (slope + draw.integers(0, 36, (height, width, 3))).astype(np.uint8)


def by_torchvision(pixels: Pixels, *steps: object) -> Pixels:
    return np.array(transforms.Compose(list(steps))(Image.fromarray(pixels)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", list(MODES))
def test_squashing_is_torchvisions(size: tuple[int, int], mode: str) -> None:
    pixels = photograph(*size)
    found = Preparation(resize=(256, 240), interpolation=mode, crop=(224, 199)).apply(pixels)  # type: ignore[arg-type]
    wanted = by_torchvision(pixels, transforms.Resize((256, 240), MODES[mode]), transforms.CenterCrop((224, 199)))
    assert found.shape == (224, 199, 3)
    assert found.dtype == np.uint8
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("side", "mode"), [(224, "bilinear"), (299, "bicubic"), (97, "nearest")])
def test_the_shorter_side_is_torchvisions(size: tuple[int, int], side: int, mode: str) -> None:
    pixels = photograph(*size)
    prepared = Preparation(resize=side, interpolation=mode, crop=(side - 3, side)).apply(pixels)  # type: ignore[arg-type]
    wanted = by_torchvision(pixels, transforms.Resize(side, MODES[mode]), transforms.CenterCrop((side - 3, side)))
    assert np.array_equal(prepared, wanted)


@pytest.mark.parametrize("size", SIZES)
def test_the_shorter_side_is_timms(size: tuple[int, int]) -> None:
    pixels = photograph(*size)
    whole = timm.data.create_transform(
        input_size=(3, 224, 224), interpolation="bicubic", crop_pct=1.0, mean=(0, 0, 0), std=(1, 1, 1)
    )
    wanted = (whole(Image.fromarray(pixels)) * 255).round().to(torch.uint8).numpy().transpose(1, 2, 0)
    found = Preparation(resize=224, interpolation="bicubic", crop=(224, 224)).apply(pixels)
    assert np.array_equal(found, wanted)


def test_pillows_own_default_is_bicubic() -> None:
    pixels = photograph(375, 500)
    found = Preparation(resize=(224, 224), interpolation="bicubic").apply(pixels)
    assert np.array_equal(found, np.array(Image.fromarray(pixels).resize((224, 224))))


def test_what_does_not_fit_is_refused_and_named() -> None:
    with pytest.raises(ImageError, match=r"a\.png.*40 x 30.*32 x 32"):
        Preparation(only=(32, 32)).apply(photograph(30, 40), "a.png")
    with pytest.raises(ImageError, match=r"40 x 30.*20 x 31"):
        Preparation(crop=(31, 20)).apply(photograph(30, 40))
    small = photograph(32, 32)
    assert np.array_equal(Preparation(only=(32, 32)).apply(small), small)


@pytest.mark.parametrize(
    "preparation",
    [
        Preparation(),
        Preparation(only=(32, 32)),
        Preparation(resize=224, interpolation="bicubic", crop=(224, 224)),
        Preparation(resize=(256, 128), crop=(224, 100)),
    ],
)
def test_a_preparation_survives_json(preparation: Preparation) -> None:
    assert Preparation.from_dict(json.loads(json.dumps(preparation.to_dict()))) == preparation


def adv(size: int = 224) -> torch.Tensor:
    pixels = np.stack([photograph(size, size), photograph(size, size)[::-1]])
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).float() / 255


@pytest.mark.parametrize("side", [224, 299, 331])
def test_the_released_tests_view(side: int) -> None:
    view: View = (Resize(side=256, interpolation="bilinear"), Crop(side=224), Resize(interpolation="nearest"))
    by_hand = transforms.Compose(
        [
            transforms.Resize((256, 256), antialias=False),
            transforms.CenterCrop(224),
            transforms.Resize((side, side), InterpolationMode.NEAREST),
        ]
    )
    for size in (224, 299):  # 299 gets smaller, where antialiasing would show
        found = apply_view(adv(size), view, Network(size=(side, side), interpolation="bicubic"))
        assert found.shape[-2:] == (side, side)
        assert torch.equal(found, by_hand(adv(size)))
    assert not torch.equal(
        by_hand(adv(299)), apply_view(adv(299), (Resize(interpolation="nearest"),), Network(size=(side, side)))
    )


@pytest.mark.parametrize(
    ("side", "fraction", "mode", "enlarged"),
    [
        (224, 0.875, "bilinear", 256),
        (299, 0.875, "bicubic", 341),
        (224, 0.9, "bicubic", 248),
        (480, 1.0, "bicubic", 480),
    ],
)
def test_a_photographs_preprocessing_a_second_time(side: int, fraction: float, mode: str, enlarged: int) -> None:
    found = apply_view(
        adv(), (Resize(enlarged=True), Crop()), Network(size=(side, side), interpolation=mode, crop_fraction=fraction)
    )
    wanted = transforms.Compose(
        [transforms.Resize(enlarged, MODES[mode], antialias=False), transforms.CenterCrop(side)]
    )(adv())
    assert torch.equal(found, wanted)
    if mode == "bicubic" and enlarged != 480:
        assert adv().max() <= 1
        bright = apply_view(
            (adv() > 0.5).float(), (Resize(enlarged=True),), Network(size=(side, side), interpolation=mode)
        )
        assert bright.max() > 1  # as in the benchmark, nothing brings them back


def test_a_network_that_is_no_square() -> None:
    tall = Network(size=(96, 48), crop_fraction=0.75)
    assert apply_view(adv(), (Resize(enlarged=True),), tall).shape[-2:] == (128, 64)
    assert apply_view(adv(), (Resize(enlarged=True), Crop()), tall).shape[-2:] == (96, 48)
    # Images that are no square keep their aspect ratio in front of a square network.
    wide = adv()[..., :112, :]
    assert apply_view(wide, (Resize(enlarged=True),), Network(size=(112, 112), crop_fraction=1.0)).shape[-2:] == (
        112,
        224,
    )
    with pytest.raises(ImageError, match="no middle of 300 x 300"):
        apply_view(adv(), (Crop(side=300),), tall)


def test_a_view_survives_json() -> None:
    view: View = (
        Resize(enlarged=True),
        Resize(side=256, interpolation="bilinear", antialias=True),
        Crop(),
        Crop(side=3),
    )
    assert read_view(json.loads(json.dumps(write_view(view)))) == view
    assert all(str(step) for step in view)
