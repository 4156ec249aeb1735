"""The picture of clean images, adversarial images and answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from linbp.bench import Answer, PictureRow, draw_picture
from linbp.bench.pictures import (
    ENLARGED,
    GAP,
    LINE_HEIGHT,
    MARGIN,
    NETWORK_WIDTH,
    TOP,
    WORDS_WIDTH,
    magnified_difference,
)
from linbp.data.images import read_image
from linbp.errors import StoreError

ANSWER = Answer(
    network="Network",
    clean="beaker",
    clean_probability=0.9,
    clean_right=True,
    adv="a name of a class that is far too long for the room that there is for it",
    adv_probability=0.5,
    adv_right=False,
)
ORANGE = (0xC2, 0x41, 0x0C)


def row(size: int = 224) -> PictureRow:
    draws = np.random.default_rng(0)
    clean = draws.integers(16, 240, (size, size, 3)).astype(np.uint8)
    adv = (clean + draws.integers(-16, 17, clean.shape)).astype(np.uint8)
    return PictureRow(label="beaker", clean=clean, adv=adv, answers=(ANSWER, ANSWER))


def test_the_difference_is_magnified_around_grey() -> None:
    clean = np.array([[[0, 10, 255]]], dtype=np.uint8)
    adv = np.array([[[16, 8, 200]]], dtype=np.uint8)
    assert magnified_difference(clean, adv, 7).tolist() == [[[240, 114, 0]]]


def test_images_are_shown_pixel_by_pixel(tmp_path: Path) -> None:
    pictured = row()
    draw_picture(tmp_path / "picture.png", [pictured, pictured], title="title", remark="remark", levels=16)
    picture = read_image(tmp_path / "picture.png")
    top = TOP + GAP // 2
    for column, pixels in enumerate(
        (pictured.clean, pictured.adv, magnified_difference(pictured.clean, pictured.adv, 7))
    ):
        left = MARGIN + column * (ENLARGED + GAP)
        np.testing.assert_array_equal(picture[top : top + 224, left : left + 224], pixels)


def test_only_wrong_answers_are_orange_and_words_stay_inside(tmp_path: Path) -> None:
    draw_picture(tmp_path / "wrong.png", [row()], title="title", remark="remark", levels=16)
    right = dataclasses.replace(row(), answers=(dataclasses.replace(ANSWER, adv_right=True),))
    draw_picture(tmp_path / "right.png", [right], title="title", remark="remark", levels=16)
    left = MARGIN + 3 * (ENLARGED + GAP) + GAP
    wrong_picture, right_picture = (read_image(tmp_path / f"{name}.png") for name in ("wrong", "right"))
    orange = (wrong_picture[:, left:] == ORANGE).all(2)
    assert not (right_picture[:, left:] == ORANGE).all(2).any()
    columns = np.flatnonzero(orange.any(0))
    names = NETWORK_WIDTH[0]  # "Network" is short
    assert names + WORDS_WIDTH <= columns.min() < columns.max() < names + 2 * WORDS_WIDTH
    lines = np.flatnonzero(orange.any(1)) - TOP - GAP // 2
    assert LINE_HEIGHT <= lines.min() < lines.max() < 3 * LINE_HEIGHT + 8


def test_long_names_of_networks_get_more_room_up_to_a_limit(tmp_path: Path) -> None:
    widths = []
    for length in (1, 30, 200):
        named = dataclasses.replace(ANSWER, network="n" * length)
        shown = dataclasses.replace(row(), answers=(named,))
        draw_picture(tmp_path / "p.png", [shown], title="t" * 300, remark="remark", levels=16)
        picture = read_image(tmp_path / "p.png")
        assert (picture[:, 1 - MARGIN :] == 255).all()
        widths.append(picture.shape[1])
    assert widths[0] < widths[1] < widths[2] == widths[0] + NETWORK_WIDTH[1] - NETWORK_WIDTH[0]


def test_small_images_are_enlarged_and_large_ones_reduced(tmp_path: Path) -> None:
    for size in (32, 299):
        draw_picture(tmp_path / f"{size}.png", [row(size)], title="title", remark="remark", levels=8)
    assert read_image(tmp_path / "32.png").shape == read_image(tmp_path / "299.png").shape


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        draw_picture(tmp_path / "missing" / "picture.png", [row()], title="", remark="", levels=8)
