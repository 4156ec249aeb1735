"""Clean images beside their adversarial images, with what networks predict for them, in one picture file."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from linbp.data.files import write_atomically
from linbp.data.images import Pixels

__all__ = ["Answer", "PictureRow", "draw_picture", "magnified_difference"]

INK, PALE, LINE = "#1c1c1c", "#6a6a6a", "#d8d8d8"
RIGHT, WRONG = "#1c1c1c", "#c2410c"
MARGIN, GAP, TOP, BOTTOM = 28, 14, 92, 48
WORDS_WIDTH, LINE_HEIGHT, TEXT = 232, 34, 16
NETWORK_WIDTH = 222, 380
"""At least and at most, for the names of the networks."""
ENLARGED = 224
"""Images are shown pixel by pixel at this height; smaller ones are enlarged to it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What one network predicts for an image and for its adversarial image.

    Attributes:
        network: its name.
        clean, adv: the class that it finds most probable, in words.
        clean_probability, adv_probability: of these classes, in [0, 1]; None where nobody knows.
        clean_right, adv_right: whether the class is the image's label.
    """

    network: str
    clean: str
    clean_probability: float | None
    clean_right: bool
    adv: str
    adv_probability: float | None
    adv_right: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureRow:
    """One line of the picture.

    Attributes:
        label: the image's class in words.
        clean, adv: uint8 (H, W, 3).
        answers: one a network.
    """

    label: str
    clean: Pixels
    adv: Pixels
    answers: tuple[Answer, ...]


def magnified_difference(clean: Pixels, adv: Pixels, factor: int) -> Pixels:
    """Mid-grey plus `factor` times (adversarial image - clean), cut off at 0 and 255: uint8 (H, W, 3)."""
    difference = adv.astype(np.int64) - clean.astype(np.int64)
    return np.clip(128 + factor * difference, 0, 255).astype(np.uint8)


def draw_picture(
    path: str | os.PathLike[str], rows: Sequence[PictureRow], *, title: str, remark: str, levels: int
) -> None:
    """Write a PNG with one line for each row: clean, adversarial image, magnified difference, and the networks'
    answers.

    Wrong answers are orange and marked with a cross, so that the picture can be read without colours.

    Args:
        path: the PNG file.
        rows: at least one.
        title: what was done.
        remark: a sentence below the rows.
        levels: the attack's radius in levels; the difference is magnified so that it just fills the range.

    Raises:
        StoreError: the file cannot be written.
    """
    factor = max(1, 127 // max(1, levels))
    heads = ["clean", "adversarial image", f"difference, {factor} times"]
    height = max(ENLARGED, LINE_HEIGHT * (1 + max(len(row.answers) for row in rows)))
    left = MARGIN + 3 * (ENLARGED + GAP) + GAP
    least, most = NETWORK_WIDTH
    longest = max((_font(TEXT).getlength(answer.network) for row in rows for answer in row.answers), default=0)
    names = min(most, max(least, int(longest) + 1 + GAP))
    width = left + names + 2 * WORDS_WIDTH + MARGIN
    canvas = Image.new("RGB", (width, TOP + len(rows) * (height + 2 * GAP) + BOTTOM), "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((MARGIN, 20), _cut(title, width - 2 * MARGIN, TEXT + 4), fill=INK, font=_font(TEXT + 4))
    for column, head in enumerate(heads):
        pen.text((MARGIN + column * (ENLARGED + GAP), TOP - 30), head, fill=PALE, font=_font(TEXT))
    for column, head in enumerate(["sees in the clean image", "sees in the adversarial image"]):
        pen.text((left + names + column * WORDS_WIDTH, TOP - 30), head, fill=PALE, font=_font(TEXT))
    for number, row in enumerate(rows):
        top = TOP + number * (height + 2 * GAP)
        pen.line((MARGIN, top - GAP // 2, width - MARGIN, top - GAP // 2), fill=LINE)
        for column, pixels in enumerate((row.clean, row.adv, magnified_difference(row.clean, row.adv, factor))):
            canvas.paste(_scaled(pixels), (MARGIN + column * (ENLARGED + GAP), top + GAP // 2))
        _answers(pen, row, left, names, top + GAP // 2)
    pen.text((MARGIN, canvas.height - BOTTOM + 8), remark, fill=PALE, font=_font(TEXT))
    content = io.BytesIO()
    canvas.save(content, "PNG", optimize=True)
    write_atomically(path, content.getvalue())


def _answers(pen: ImageDraw.ImageDraw, row: PictureRow, left: int, names: int, top: int) -> None:
    """The label, and below it one line for each network, whose names have so many pixels."""
    pen.text(
        (left, top), _cut(f"label: {row.label}", names + 2 * WORDS_WIDTH, TEXT + 2), fill=INK, font=_font(TEXT + 2)
    )
    for number, answer in enumerate(row.answers, 1):
        y = top + number * LINE_HEIGHT + 8
        pen.text((left, y), _cut(answer.network, names - GAP), fill=PALE, font=_font(TEXT))
        columns = (
            (answer.clean, answer.clean_probability, answer.clean_right),
            (answer.adv, answer.adv_probability, answer.adv_right),
        )
        for column, (words, probability, right) in enumerate(columns):
            share = "" if probability is None else f" {probability:.0%}"
            x = left + names + column * WORDS_WIDTH
            room = WORDS_WIDTH - GAP - 16 - int(_font(TEXT).getlength(share))
            colour = RIGHT if right else WRONG
            if not right:
                middle = y + 10
                pen.line((x + 2, middle - 4, x + 10, middle + 4), fill=WRONG, width=2)
                pen.line((x + 2, middle + 4, x + 10, middle - 4), fill=WRONG, width=2)
            pen.text((x + 16, y), _cut(words, room) + share, fill=colour, font=_font(TEXT))


def _scaled(pixels: Pixels) -> Image.Image:
    """The image at `ENLARGED` pixels; enlarged pixels stay squares, larger images are reduced."""
    image = Image.fromarray(pixels)
    if image.size == (ENLARGED, ENLARGED):
        return image
    method = Image.Resampling.NEAREST if image.width < ENLARGED else Image.Resampling.LANCZOS
    return image.resize((ENLARGED, ENLARGED), method)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _cut(words: str, room: int, size: int = TEXT) -> str:
    """The words, shortened with an ellipsis to `room` pixels."""
    if _font(size).getlength(words) <= room:
        return words
    while words and _font(size).getlength(words + "...") > room:
        words = words[:-1]
    return words.rstrip() + "..."
