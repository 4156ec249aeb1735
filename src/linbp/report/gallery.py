"""Pictures for the page: clean images, adversarial images, differences, and what each network sees."""

from __future__ import annotations

import base64
import dataclasses
import io
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from linbp.bench.pictures import magnified_difference
from linbp.report.result import Report

if TYPE_CHECKING:
    from linbp.data.images import Pixels

__all__ = ["Answer", "Files", "Gallery", "Picture", "data_url", "decoded", "read_gallery"]

SHOWN = 256
"""The longer side of a picture on the page, at most: what counts is the file, which stays as it is."""

SMALL = 96
"""Smaller images are stored without loss, and enlarged by the page."""


class Files(Protocol):
    """The files of a run by name."""

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one network predicts for the clean and for the adversarial image."""

    network: str
    clean: str
    adv: str
    clean_right: bool
    adv_right: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """One image of the gallery.

    Attributes:
        image_id, label: the image's name, and its class in words.
        counted, fooled: how many victims had it right, and how many of these the attack fools.
        clean, adv, difference: as data URLs; empty where there is no file.
        width, height: of the images, in pixels.
        factor: what the difference is multiplied by.
        answers: the surrogate's and each victim's.
    """

    image_id: str
    label: str
    counted: int
    fooled: int
    clean: str
    adv: str
    difference: str
    width: int
    height: int
    factor: int
    answers: tuple[Answer, ...]

    @property
    def outcome(self) -> str:
        """What the filter calls it."""
        return "all" if self.fooled == self.counted else "some" if self.fooled else "none"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gallery:
    """The pictures under the headline's attack.

    Attributes:
        attack: its name.
        pictures: of some images, spread over those that fool many and few victims.
        total: how many images there are.
        missing: how many of the chosen images have no files any more.
    """

    attack: str = ""
    pictures: tuple[Picture, ...] = ()
    total: int = 0
    missing: int = 0


def read_gallery(report: Report, files: Files, most: int = 24) -> Gallery:
    """The pictures of some images under the headline's attack, spread evenly from those that fool most victims to those
    that fool fewest, so that they are no better than the rest.

    Args:
        report: whose headline chooses the attack.
        files: of the run.
        most: how many.
    """
    if report.headline is None or most < 1:
        return Gallery()
    attack = report.outcomes.attacks[report.headline.best]
    order = sorted(report.images, key=lambda one: (-one.fooled / one.counted, -one.fooled, one.image))
    chosen = [
        order[row] for row in np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int))
    ]
    factor = max(1, 127 // max(1, round(255 * attack.eps))) if attack.norm == "linf" else 8
    answers = _Answers(report, report.headline.best)
    pictures, missing = [], 0
    for one in chosen:
        name = report.outcomes.images[one.image]
        adv = decoded(files.read(f"attacks/{attack.attack}/{name}.png"))
        clean = decoded(files.read(report.outcomes.files[one.image]))
        if adv is None:
            missing += 1
            continue
        same = clean is not None and clean.shape == adv.shape
        pictures.append(
            Picture(
                image_id=name,
                label=report.label(int(report.outcomes.labels[one.image])),
                counted=one.counted,
                fooled=one.fooled,
                clean="" if clean is None else data_url(clean),
                adv=data_url(adv),
                difference=data_url(magnified_difference(clean, adv, factor)) if clean is not None and same else "",
                width=adv.shape[1],
                height=adv.shape[0],
                factor=factor,
                answers=answers.of(one.image),
            )
        )
    return Gallery(attack=report.name_of(attack), pictures=tuple(pictures), total=len(report.images), missing=missing)


class _Answers:
    """What the surrogate and the victims predict under one attack."""

    def __init__(self, report: Report, attack: int) -> None:
        outcomes = report.outcomes
        self._report = report
        self._labels = outcomes.labels
        surrogate = outcomes.attacks[attack].surrogate
        asked = [number for number in range(len(outcomes.victims)) if outcomes.asked[attack, number]]
        columns = [
            (
                f"{surrogate} (surrogate)",
                outcomes.column("surrogate_clean", attack, asked[0]),
                outcomes.column("surrogate_adv", attack, asked[0]),
            )
        ]
        for number in asked:
            if not outcomes.white_box[attack, number]:
                adv = outcomes.column("adv_prediction", attack, number)
                columns.append((outcomes.victims[number], outcomes.clean[number], adv))
        self._columns = columns

    def of(self, image: int) -> tuple[Answer, ...]:
        """The networks' predictions of one image, the surrogate's first."""
        label = int(self._labels[image])
        return tuple(
            Answer(
                network=name,
                clean=self._report.label(int(clean[image])),
                adv=self._report.label(int(adv[image])),
                clean_right=int(clean[image]) == label,
                adv_right=int(adv[image]) == label,
            )
            for name, clean, adv in self._columns
            if clean[image] >= 0 and adv[image] >= 0
        )


def decoded(content: bytes | None) -> Pixels | None:
    """An image file as RGB levels; None if there is none, or it cannot be read."""
    if content is None:
        return None
    try:
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except OSError:
        return None


def data_url(pixels: Pixels) -> str:
    """A picture for the page: small ones as they are, larger ones reduced, as WebP."""
    image, file = Image.fromarray(pixels), io.BytesIO()
    if max(image.size) <= SMALL:
        image.save(file, "PNG", optimize=True)
        kind = "png"
    else:
        image.thumbnail((SHOWN, SHOWN), Image.Resampling.LANCZOS)
        image.save(file, "WEBP", quality=82)
        kind = "webp"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
