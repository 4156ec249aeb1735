"""Each defence against a slow second form: loops over pixels in float64, Pillow, torchvision, exact binomials."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

import linbp.attack  # noqa: F401  (registers the parts of recipes)
from linbp.errors import LinbpError, ModelError, RecipeError
from linbp.models.defences import (
    Augmentation,
    Bits,
    Crop,
    Defence,
    Gaussian,
    Jpeg,
    Median,
    ResizePad,
    Smoothing,
    parse_chain,
)
from linbp.randomness import generator

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, 17, 14)) / 255)
IDS = ("first", "second", "third")


def mirrored(at: int, length: int) -> int:
    """The index behind an edge: ... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ..."""
    at %= 2 * length
    return at if at < length else 2 * length - 1 - at


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_jpeg_is_a_file_that_pillow_wrote(subsampling: Any, dtype: torch.dtype) -> None:
    found = Jpeg(quality=60, subsampling=subsampling).apply(IMAGES.to(dtype), IDS)
    for image, ours in zip(IMAGES, found, strict=True):
        file = io.BytesIO()
        levels = (image.numpy() * 255).round().astype(np.uint8).transpose(1, 2, 0)
        Image.fromarray(levels).save(file, "JPEG", quality=60, subsampling=subsampling)
        theirs = np.asarray(Image.open(file)).transpose(2, 0, 1) / 255
        torch.testing.assert_close(ours, torch.from_numpy(theirs).to(dtype))
    assert found.dtype == dtype


@pytest.mark.parametrize("depth", [1, 4, 8])
def test_bits_round_to_the_nearest_of_their_values(depth: int) -> None:
    values = [k / (2**depth - 1) for k in range(2**depth)]
    found = Bits(depth=depth).apply(IMAGES, IDS)
    for value, ours in zip(IMAGES.flatten().tolist(), found.flatten().tolist(), strict=True):
        distance = min(abs(value - one) for one in values)
        assert abs(value - ours) == pytest.approx(distance, abs=1e-12)
        assert min(abs(ours - one) for one in values) < 1e-12


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_median_of_every_window(size: int) -> None:
    found = Median(size=size).apply(IMAGES, IDS).numpy()
    height, width = IMAGES.shape[-2:]
    for n, c, y, x in np.ndindex(*IMAGES.shape):
        reach = range(-(size // 2), size - size // 2)
        window = sorted(
            float(IMAGES[n, c, mirrored(y + i, height), mirrored(x + j, width)]) for i in reach for j in reach
        )
        assert found[n, c, y, x] == window[len(window) // 2]


@pytest.mark.parametrize("sigma", [0.5, 1.3])
def test_the_gaussian_blur_of_every_pixel(sigma: float) -> None:
    found = Gaussian(sigma=sigma).apply(IMAGES, IDS)
    reach = int(4 * sigma + 0.5)
    weights = [math.exp(-(d**2) / (2 * sigma**2)) for d in range(-reach, reach + 1)]
    kernel = np.array(weights) / sum(weights)
    expected = IMAGES.numpy()
    for axis in (2, 3):
        length = expected.shape[axis]
        rows = [[mirrored(at + d, length) for at in range(length)] for d in range(-reach, reach + 1)]
        expected = sum(weight * expected.take(row, axis) for weight, row in zip(kernel, rows, strict=True))  # type: ignore[assignment]
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-12)


def test_an_image_is_enlarged_by_repeating_pixels_and_padded_with_zeros() -> None:
    found = ResizePad(scale=1.5, seed=3).apply(IMAGES, IDS).numpy()
    assert found.shape == (3, 3, 25, 21)
    for image, ours, image_id in zip(IMAGES.numpy(), found, IDS, strict=True):
        draw = generator(3, image_id, 0, "defence.resize-pad")
        height = int(draw.integers(17, 25))
        width = round(14 * height / 17)
        top, left = int(draw.integers(25 - height + 1)), int(draw.integers(21 - width + 1))
        expected = np.zeros((3, 25, 21))
        for y, x in np.ndindex(height, width):
            expected[:, top + y, left + x] = image[:, y * 17 // height, x * 14 // width]
        assert np.array_equal(ours, expected)


def test_sizes_and_places_of_resize_pad_are_all_drawn() -> None:
    ids = tuple(map(str, range(300)))
    padded = ResizePad(scale=1.5).apply(torch.ones(300, 1, 8, 8), ids)[:, 0]
    heights = {int(one.any(1).sum()) for one in padded}
    assert heights == {8, 9, 10, 11}
    tops = {int(one.any(1).nonzero()[0]) for one in padded if one.any(1).sum() == 8}
    assert tops == {0, 1, 2, 3, 4}


def linear(images: torch.Tensor) -> torch.Tensor:
    """Logits (N, 4) that any pixel changes; not a product of matrices, whose last bits may depend on the batch."""
    weight = torch.from_numpy(np.random.default_rng(1).normal(size=(4, images[0].numel())))
    return (images.double().flatten(1)[:, None] * weight).sum(2)


def test_augmentation_is_the_mean_over_torchvisions_ten_crops() -> None:
    crops = v2.functional.ten_crop(IMAGES, [15, 12])
    views = [v2.functional.resize(crop, [17, 14], antialias=True) for crop in crops]
    expected = torch.stack([linear(view).softmax(1) for view in views]).mean(0).log()
    found = Augmentation(crop=0.875).answer(IMAGES, IDS, lambda images, ids: linear(images))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    mirror = torch.stack([linear(view).softmax(1) for view in (IMAGES, IMAGES.flip(3))]).mean(0).log()
    torch.testing.assert_close(
        Augmentation(crop=1).answer(IMAGES, IDS, lambda images, ids: linear(images)), mirror, rtol=1e-10, atol=1e-10
    )


def test_probabilities_are_averaged_as_they_are() -> None:
    def ask(images: torch.Tensor, ids: object) -> torch.Tensor:
        return linear(images).softmax(1)

    found = Augmentation().answer(IMAGES, IDS, ask)
    torch.testing.assert_close(found, Augmentation().answer(IMAGES, IDS, lambda images, ids: linear(images)))


def test_several_draws_of_resize_pad_are_averaged() -> None:
    many = ResizePad(scale=1.5, draws=4)
    answers = []
    for copy in range(4):
        own = tuple(f"{one}/{copy}" for one in IDS)
        answers.append(linear(ResizePad(scale=1.5).apply(IMAGES, own)).softmax(1))
    found = many.answer(IMAGES, IDS, lambda images, ids: linear(images))
    torch.testing.assert_close(found, torch.stack(answers).mean(0).log())


def p_value(first: int, second: int) -> float:
    """The two-sided binomial test against 1/2, which is symmetric, by sums."""
    n = first + second
    tail = sum(math.comb(n, k) for k in range(max(first, second), n + 1)) / 2**n
    return min(1.0, 2 * tail)


@pytest.mark.parametrize(("sigma", "alpha"), [(0.05, 0.05), (0.4, 0.05), (0.4, 0.5), (1.0, 0.9)])
def test_the_vote_under_noise(sigma: float, alpha: float) -> None:
    smoothing = Smoothing(sigma=sigma, n=11, alpha=alpha, seed=4)
    found = smoothing.answer(IMAGES, IDS, lambda images, ids: linear(images))
    for image, ours, image_id in zip(IMAGES, found, IDS, strict=True):
        votes = [0, 0, 0, 0]
        for copy in range(11):
            noise = generator(4, f"{image_id}/{copy}", 0, "defence.smoothing").standard_normal((3, 17, 14))
            votes[int(linear((image + sigma * torch.from_numpy(noise))[None]).argmax())] += 1
        first, second, *_ = sorted(votes, reverse=True)
        assert ours.tolist() == (votes if p_value(first, second) <= alpha else [0, 0, 0, 0])


def test_both_clear_votes_and_abstentions_occur() -> None:
    """Else the test above would show nothing."""
    found = [
        bool(row.any())
        for alpha in (0.05, 0.5)
        for row in Smoothing(sigma=0.4, n=11, alpha=alpha, seed=4).answer(
            IMAGES, IDS, lambda images, ids: linear(images)
        )
    ]
    assert set(found) == {True, False}


def test_noise_has_its_standard_deviation_and_is_not_cut_off() -> None:
    images = torch.ones(1, 3, 100, 100)
    noise = Smoothing(sigma=0.25).apply(images, ("x",)) - images
    assert float(noise.std()) == pytest.approx(0.25, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=0.01)
    assert 0.48 < float((noise > 0).float().mean()) < 0.52


@pytest.mark.parametrize("defence", [ResizePad(scale=1.5), ResizePad(scale=1.5, draws=3), Smoothing(n=11, alpha=0.9)])
def test_a_draw_belongs_to_the_image_and_the_seed(defence: Defence) -> None:
    def ask(images: torch.Tensor, ids: object) -> torch.Tensor:
        return linear(images)

    together = defence.answer(IMAGES, IDS, ask)
    turned = defence.answer(IMAGES.flip(0), IDS[::-1], ask).flip(0)
    alone = torch.cat([defence.answer(IMAGES[row : row + 1], IDS[row : row + 1], ask) for row in range(3)])
    assert torch.equal(together, turned)
    assert torch.equal(together, alone)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("jpeg(0)", "quality=0"),
        ("jpeg(96)", "quality=96"),
        ("jpeg(75.5)", "quality=75.5"),
        ("jpeg(75, '4:1:1')", "subsampling=4:1:1"),
        ("bits(9)", "depth=9"),
        ("median(1)", "size=1"),
        ("gaussian(0)", "sigma=0"),
        ("resize-pad(0.5)", "scale=0.5"),
        ("resize-pad(draws=0)", "draws=0"),
        ("smoothing(0)", "sigma=0"),
        ("smoothing(n=5)", "never answer"),
        ("smoothing(seed=-1)", "seed=-1"),
        ("tta(1, flip=false)", "no effect"),
        ("tta(flip=maybe)", "flip=maybe"),
        ("crop(224, 256)", "less than the crop"),
        ("crop(size)", "resize is 'size'"),
    ],
)
def test_parameters_out_of_range(text: str, words: str) -> None:
    with pytest.raises(LinbpError, match=words) as caught:
        parse_chain(text)
    assert caught.value.hint


def test_resizing_without_effect_is_refused() -> None:
    with pytest.raises(ModelError, match="no effect on images 5 pixels high"):
        ResizePad(scale=1.1).apply(torch.zeros(1, 3, 5, 5), ("x",))


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("jpg(75)", "no defence called 'jpg'", "'jpeg'"),
        ("di", "di is a transform, and no defence", "linbp list defences"),
        ("jpeg(75", "cannot be read: expected , or ) at the end", "name(75)"),
        ("jpeg(qualty=75)", "no parameter 'qualty'", "'quality'"),
        ("jpeg(75, quality=80)", "quality twice", "Leave one out"),
        ("jpeg(75, '4:2:0', 3)", "jpeg takes no more than 2", "quality, subsampling"),
        ("jpeg(75) bits(4)", "expected the end before 'bits", "name(75)"),
        ("", "expected the name of a defence", "name(75)"),
        ("jpeg(75) | | bits", "expected the name of a defence", "name(75)"),
        ("75", "expected a defence before '75'", "name(75)"),
    ],
)
def test_chains_that_cannot_be_read(text: str, words: str, hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_chain(text)
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_first_parameters_need_no_names() -> None:
    assert parse_chain("jpeg(60, '4:4:4')") == (Jpeg(quality=60, subsampling="4:4:4"),)
    assert parse_chain("jpeg(60, subsampling='4:4:4') | tta") == (Jpeg(quality=60, subsampling="4:4:4"), Augmentation())
    assert parse_chain("crop([20, 30], crop=16) | resize-pad(331/299)") == (Crop(resize=(20, 30), crop=16), ResizePad())
