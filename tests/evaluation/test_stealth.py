"""Similarity, JPEG and distances of adversarial images, against their formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn, idctn
from scipy.ndimage import correlate1d, zoom

from linbp.data.images import Pixels
from linbp.data.jpeg import as_jpeg
from linbp.errors import ImageError
from linbp.evaluation.statistics import rate, ssim, stealth, survival

DRAW = np.random.default_rng(0)
SMOOTH = (127 + 100 * np.sin(np.mgrid[0:40, 0:52].sum(0) / 6))[..., None] * np.array([1.0, 0.8, 0.6])
CLEAN: Pixels = SMOOTH.astype(np.uint8)
ADV: Pixels = np.clip(CLEAN.astype(int) + DRAW.integers(-8, 9, CLEAN.shape), 0, 255).astype(np.uint8)


def by_formula(clean: Pixels, adv_image: Pixels) -> float:
    """Wang et al.'s formula, channel by channel, without the five pixels at the border, where the window ends."""
    taps = np.exp(-np.square(np.arange(-5, 6)) / (2 * 1.5**2))
    taps /= taps.sum()

    def blurred(values: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(values, taps, axis=0, mode="reflect"), taps, axis=1, mode="reflect")

    found = []
    for channel in range(3):
        x, y = (image[..., channel].astype(np.float64) for image in (clean, adv_image))
        mean_x, mean_y = blurred(x), blurred(y)
        var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
        both = blurred(x * y) - mean_x * mean_y
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        whole = (2 * mean_x * mean_y + c1) * (2 * both + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
        found.append(whole[5:-5, 5:-5].mean())
    return float(np.mean(found))


def test_similarity_is_wangs_formula() -> None:
    assert ssim(CLEAN, ADV) == pytest.approx(by_formula(CLEAN, ADV), abs=1e-9)
    assert ssim(CLEAN, ADV) == ssim(ADV, CLEAN)
    assert ssim(CLEAN, CLEAN) == 1
    more = np.clip(CLEAN.astype(int) + 3 * (ADV.astype(int) - CLEAN), 0, 255).astype(np.uint8)
    assert ssim(CLEAN, more) < ssim(CLEAN, ADV) < 1


@pytest.mark.parametrize("other", [np.zeros((40, 51, 3), np.uint8), np.zeros((40, 10, 3), np.uint8)])
def test_images_that_cannot_be_compared_are_refused(other: Pixels) -> None:
    first = other if other.shape[1] == 10 else CLEAN
    with pytest.raises(ImageError, match="51" if other.shape[1] == 51 else "10 x 40"):
        ssim(first, other)
    with pytest.raises(ImageError, match="no images"):
        stealth([])


# The luminance and chrominance tables of the JPEG standard (ITU-T T.81, annex K).
LUMA = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
CHROMA = "17 18 24 47 18 21 26 66 24 26 56 99 47 66 99 99"
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def by_the_standard(pixels: Pixels, quality: int) -> np.ndarray:
    """JPEG's losses: half the colours' resolution, and rounded cosine coefficients of blocks of 8 x 8."""
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    chroma = np.full((8, 8), 99)
    chroma[:4, :4] = np.array(CHROMA.split(), int).reshape(4, 4)
    planes = []
    for number, whole in enumerate(np.rint(np.moveaxis(pixels @ TO_YCC.T, 2, 0))):
        table = chroma if number else np.array(LUMA.split(), int).reshape(8, 8)
        table = np.clip((table * scale + 50) // 100, 1, 255)
        plane = whole.reshape(whole.shape[0] // 2, 2, -1, 2).mean((1, 3)) if number else whole - 128
        height, width = plane.shape
        blocks = plane.reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2)
        kept = np.rint(dctn(blocks, axes=(2, 3), norm="ortho") / table) * table
        left = idctn(kept, axes=(2, 3), norm="ortho").swapaxes(1, 2).reshape(height, width)
        planes.append(zoom(left, 2, order=1, mode="nearest", grid_mode=True) if number else left + 128)
    return np.clip(np.stack(planes, 2) @ np.linalg.inv(TO_YCC).T, 0, 255)


@pytest.mark.parametrize("quality", [90, 75])
def test_a_jpeg_has_the_losses_of_the_standard(quality: int) -> None:
    part = ADV[:32, :48]
    ours = as_jpeg(part, quality)
    assert (ours.shape, ours.dtype) == (part.shape, np.uint8)
    off, lost = (np.abs(ours.astype(int) - other).mean() for other in (by_the_standard(part, quality), part))
    assert off < lost / 3  # what is left is rounding between the steps
    assert off < 1


def test_a_lower_quality_leaves_less() -> None:
    lost = [np.abs(as_jpeg(ADV, quality).astype(int) - ADV).mean() for quality in (95, 90, 75, 30)]
    assert lost == sorted(lost)


def test_survival_counts_the_successes_that_are_left() -> None:
    before, after = DRAW.random(60) < 0.6, DRAW.random(60) < 0.5
    wanted = [b for a, b in zip(before, after, strict=True) if a]
    assert survival(before, after) == rate(sum(wanted), len(wanted))
    assert survival([0, 0], [1, 1]).value is None


def test_the_statistics_of_pairs_of_several_sizes() -> None:
    pairs = [(CLEAN, ADV), (CLEAN[:20], CLEAN[:20]), (CLEAN, as_jpeg(CLEAN, 75))]
    found = stealth(pairs, [1, 0, 1], {75: [0, 0, 1]})
    steps = [np.abs(a.astype(int) - b) for a, b in pairs]
    assert found.linf_max == max(step.max() for step in steps)
    assert found.linf_mean == pytest.approx(np.mean([step.max() for step in steps]))
    assert found.l2_mean == pytest.approx(np.mean([np.linalg.norm(step / 255) for step in steps]))
    assert found.ssim_mean == pytest.approx(np.mean([by_formula(*pair) for pair in pairs]))
    assert found.ssim_min == min(ssim(*pair) for pair in pairs)
    assert (found.images, found.survival) == (3, {75: rate(1, 2)})
