"""The pool: what may be mixed into which image, at which size, and what its hash tells apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_networks import images_and_labels, tiny

import linbp
from linbp.attack import Budget, Context, Goal, Recipe
from linbp.data.image_list import list_images
from linbp.data.images import write_png
from linbp.data.preprocessing import Preparation
from linbp.errors import ImageError, RecipeError


def batch(count: int, seed: int = 0, size: tuple[int, int] = (6, 5)) -> torch.Tensor:
    draw = np.random.default_rng(seed)
    return torch.from_numpy(draw.integers(0, 256, (count, 3, *size), dtype=np.uint8))


def unit(image: torch.Tensor) -> torch.Tensor:
    return image.double() / 255


# --- which images


def test_an_image_is_never_mixed_with_itself() -> None:
    """It is told by its pixels, also twice in the pool, and whatever class either is said to be of."""
    images = batch(5)
    images[3] = images[1]
    assert linbp.Pool(images).candidates(unit(images[1]), 0) == (0, 2, 4)
    assert linbp.Pool(images).candidates(unit(images[0]).float(), 0) == (1, 2, 3, 4)
    assert linbp.Pool(images, [0, 7, 0, 8, 1]).candidates(unit(images[1]), 0) == (4,)


def test_partners_are_of_another_class_where_classes_are_known() -> None:
    pool, stranger = linbp.Pool(batch(6), [0, 1, 2, 0, 1, 2]), unit(batch(1, seed=9)[0])
    assert pool.candidates(stranger, 1) == (0, 2, 3, 5)
    assert pool.candidates(stranger, 4) == (0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("labels", "words"), [([3, 3], ("of class 3", "of other classes")), (None, ("no other image", "further images"))]
)
def test_an_image_without_a_partner_is_told(labels: Any, words: tuple[str, ...]) -> None:
    images = batch(1).repeat(2, 1, 1, 1)
    with pytest.raises(ImageError) as caught:
        linbp.Pool(images, labels).candidates(unit(images[0]), 3)
    for word in words:
        assert word in f"{caught.value.message} {caught.value.hint}"


def test_images_of_other_kinds_are_refused() -> None:
    with pytest.raises(ImageError, match="3 channels"):
        linbp.Pool(batch(2)).candidates(torch.zeros(1, 6, 5), 0)


def test_a_context_knows_the_candidates_of_every_row() -> None:
    images = batch(4)
    clean, labels = unit(images[[2, 0]]), torch.tensor([1, 2])
    context = Context(
        budget=Budget(clean, [0.1, 0.1], norm="linf", rounding="inward"),
        goal=Goal(labels=labels),
        step_size=torch.ones(2, 1, 1, 1),
        steps=1,
        pool=linbp.Pool(images, [2, 1, 0, 2]),
    )
    assert context.candidates == ((0, 3), (1, 2))


# --- sizes and values


def test_images_of_the_same_size_come_as_they_are() -> None:
    images = batch(3)
    for dtype in (torch.float32, torch.float64):
        like = torch.zeros(3, 6, 5, dtype=dtype)
        assert torch.equal(linbp.Pool(images).image(1, like), images[1].to(dtype) / 255)


@pytest.mark.parametrize("size", [(40, 31), (7, 9), (20, 24)])
def test_other_sizes_are_resized_as_pillow_does(size: tuple[int, int]) -> None:
    """Bilinear, averaging where the image becomes smaller: within the rounding of Pillow's 8 bits."""
    own = (20, 24)
    pool = linbp.Pool([batch(1, seed=seed, size=size)[0] for seed in range(2)])
    found = pool.image(1, torch.zeros(3, *own, dtype=torch.float64)) * 255
    pixels = Image.fromarray(batch(1, seed=1, size=size)[0].permute(1, 2, 0).numpy())
    expected = np.asarray(pixels.resize((own[1], own[0]), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(found.numpy() - expected).max() < 1.1


def test_a_pool_may_hold_images_of_several_sizes() -> None:
    images = [batch(1, seed=seed, size=(5 + seed, 8 - seed))[0] for seed in range(3)]
    pool = linbp.Pool(images, [0, 1, 2])
    assert [tuple(image.shape) for image in pool.images] == [(3, 5, 8), (3, 6, 7), (3, 7, 6)]
    assert pool.candidates(unit(images[1]), 2) == (0,)
    assert len(pool) == 3


def test_floats_and_arrays_are_the_same_pool() -> None:
    images = batch(3)
    whole = linbp.Pool(images, [0, 1, 2])
    for other in (images.numpy(), unit(images), unit(images).float().numpy(), list(images)):
        assert linbp.Pool(other, (0, 1, 2)).sha256 == whole.sha256


def test_the_hash_tells_pixels_labels_order_and_shape_apart() -> None:
    images = batch(3)
    changed = images.clone()
    changed[2, 0, 0, 0] ^= 1
    pools = [
        linbp.Pool(images),
        linbp.Pool(images, [0, 1, 2]),
        linbp.Pool(images, [0, 1, 3]),
        linbp.Pool(changed),
        linbp.Pool(images.flip(0)),
        linbp.Pool(images[:2]),
        linbp.Pool(images.transpose(2, 3)),
        linbp.Pool(images.reshape(3, 3, 5, 6)),
    ]
    assert len({pool.sha256 for pool in pools}) == len(pools)
    assert linbp.Pool(images).sha256 == pools[0].sha256


def test_what_it_was_made_of_may_change() -> None:
    images = batch(2)
    pool = linbp.Pool(images)
    before = pool.images[0].clone()
    images.zero_()
    assert torch.equal(pool.images[0], before)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        ([], None, "no images"),
        (torch.zeros(3, 6, 5, dtype=torch.uint8), None, "shape"),
        (torch.zeros(2, 0, 6, 5, dtype=torch.uint8), None, "shape"),
        (torch.full((1, 3, 6, 5), 0.5), None, "8-bit grid"),
        (torch.full((1, 3, 6, 5), 2.0), None, "above 1"),
        (torch.zeros(1, 3, 6, 5, dtype=torch.int64), None, "int64"),
        ([batch(1)[0], batch(1)[0][:1]], None, "1 or 3 channels"),
        (batch(2), [1], "labels have shape"),
        (batch(2), [0.5, 1.0], "float"),
    ],
)
def test_bad_pools_are_refused(images: Any, labels: Any, words: str) -> None:
    with pytest.raises(ImageError) as caught:
        linbp.Pool(images, labels)
    assert words in caught.value.message
    assert caught.value.hint


# --- from files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, label in enumerate([2, 0, 2]):
        (tmp_path / str(label)).mkdir(exist_ok=True)
        pixels = batch(1, seed=number, size=(8 + number, 8))[0].permute(1, 2, 0).numpy()
        write_png(tmp_path / str(label) / f"i{number}.png", pixels)
    return tmp_path


def test_a_folder_becomes_a_pool_with_its_classes(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    pool = linbp.Pool.read(list_images(folder), threads=2, progress=lambda done, total: told.append((done, total)))
    assert pool.labels == (0, 2, 2)
    for image, seed in zip(pool.images, [1, 0, 2], strict=True):
        assert torch.equal(image, batch(1, seed=seed, size=(8 + seed, 8))[0])
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert linbp.Pool.read(list_images(folder / "2")).labels is None


def test_a_protocol_prepares_the_pool(folder: Path) -> None:
    preparation = Preparation(crop=(6, 4))
    pool = linbp.Pool.read(list_images(folder), prepare=preparation.apply)
    assert {tuple(image.shape) for image in pool.images} == {(3, 6, 4)}
    assert torch.equal(pool.images[0], batch(1, seed=1, size=(9, 8))[0][:, 2:8, 2:6])


# --- in an attack


@pytest.fixture(scope="module")
def surrogate() -> linbp.Surrogate:
    return linbp.Surrogate(tiny())


def test_the_images_under_attack_may_be_the_pool(surrogate: linbp.Surrogate) -> None:
    """With itself and one other in the pool, an image has that other as its partner, and companions change nothing."""
    images, labels = images_and_labels(3)

    def craft(rows: list[int], pool: linbp.Pool) -> torch.Tensor:
        ids = [f"image {row}" for row in rows]
        return linbp.craft(
            surrogate, images[rows], labels[rows], "admix(partners=1)", eps="8/255", steps=3, pool=pool, ids=ids
        )

    pair = linbp.Pool(images[:2])
    assert torch.equal(craft([0], pair), craft([0], linbp.Pool(images[1:2])))
    assert torch.equal(craft([1], pair), craft([1], linbp.Pool(images[:1])))
    whole = craft([0, 1, 2], pair)
    assert torch.equal(whole[:1], craft([0], pair))
    assert not torch.equal(craft([0], pair), craft([0], linbp.Pool(images[2:])))


def test_few_partners_are_drawn_again(surrogate: linbp.Surrogate) -> None:
    images, labels = images_and_labels(2)
    pool = linbp.Pool(images)
    adv = linbp.craft(surrogate, images, labels, "admix", eps="8/255", steps=2, pool=pool)
    one = linbp.craft(surrogate, images, labels, "admix(partners=1)", eps="8/255", steps=2, pool=pool)
    assert torch.equal(adv, one), "three times the same partner is that partner"


@pytest.mark.parametrize(("recipe", "pool", "words"), [("admix", False, "there is none"), ("mi", True, "no use")])
def test_a_pool_and_the_need_of_it_go_together(surrogate: linbp.Surrogate, recipe: str, pool: bool, words: str) -> None:
    images, labels = images_and_labels(2)
    given = linbp.Pool(images) if pool else None
    with pytest.raises(RecipeError, match=words):
        linbp.craft(surrogate, images, labels, Recipe.parse(recipe), eps="8/255", steps=2, pool=given)
