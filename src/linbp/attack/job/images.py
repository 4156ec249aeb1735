"""The images of a job: read once before anything is computed, and once more when their turn comes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from linbp.attack.pool import Pool
from linbp.data.image_list import ImageRecord
from linbp.data.images import Pixels, is_turned, pixel_sha256, read_ahead
from linbp.data.preprocessing import Preparation
from linbp.jobs.progress import Progress

__all__ = ["JobImages", "read_pool", "scan", "turned_note"]


@dataclasses.dataclass(frozen=True)
class JobImages:
    """The list with what was found in the files.

    Attributes:
        records: the images' entries.
        preparation: what a protocol does to them first.
        threads: that decode them.
        sizes: (height, width) of each, once they were scanned.
        hashes: of their prepared pixels, once they were scanned.
    """

    records: tuple[ImageRecord, ...]
    preparation: Preparation | None
    threads: int
    sizes: tuple[tuple[int, int], ...] = ()
    hashes: tuple[str, ...] = ()

    @property
    def ids(self) -> list[str]:
        """Their names."""
        return [record.image_id for record in self.records]

    def pixels(self, rows: Iterable[int]) -> Iterator[Pixels]:
        """The clean images of some rows, prepared, in the order of the rows."""
        prepare = None if self.preparation is None else self.preparation.apply
        return read_ahead([self.records[row].path for row in rows], self.threads, prepare)


def read_pool(records: Sequence[ImageRecord], preparation: Preparation | None, threads: int, tell: Progress) -> Pool:
    """The pool of a job, prepared as its images are."""
    tell("reading the pool", 0, len(records))
    return Pool.read(
        records,
        threads=threads,
        prepare=None if preparation is None else preparation.apply,
        progress=lambda done, total: tell("reading the pool", done, total),
    )


def scan(images: JobImages, tell: Progress) -> JobImages:
    """Read every image once before anything is computed: a broken one is found now and not after hours."""
    sizes, hashes, total = [], [], len(images.records)
    tell("reading images", 0, total)
    for done, pixels in enumerate(images.pixels(range(total)), 1):
        sizes.append((pixels.shape[0], pixels.shape[1]))
        hashes.append(pixel_sha256(pixels))
        tell("reading images", done, total)
    return dataclasses.replace(images, sizes=tuple(sizes), hashes=tuple(hashes))


def turned_note(images: Sequence[ImageRecord]) -> list[str]:
    """A note if viewers show some of the images otherwise than they are attacked."""
    turned = [image.path.name for image in images if is_turned(image.path)]
    if not turned:
        return []
    what = "1 image was" if len(turned) == 1 else f"{len(turned)} images were"
    return [
        f"{what} taken with the camera turned (EXIF orientation of {turned[0]}), which is not applied: pixels are "
        "attacked as they are stored, as torchvision and timm load them. Save upright what should stand upright."
    ]
