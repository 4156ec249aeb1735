"""CIFAR-10 from a folder: torchvision's download, or mosaics of tiles."""

from __future__ import annotations

import hashlib
import os
import pickle
import tarfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
from torchvision.datasets import CIFAR10  # type: ignore[import-untyped]

from linbp.data.files import store_error
from linbp.data.images import Pixels, read_ahead
from linbp.errors import ImageError

__all__ = ["CIFAR10_SHA256", "Cifar10", "load_cifar10"]

SIDE, TILES, CLASSES = 32, 100, 10
MOSAICS = (*(f"train_{number}.webp" for number in range(5)), "test_0.webp")
LABELS = "labels.u8"
IN_TORCHVISION = CIFAR10.base_folder

CIFAR10_SHA256 = "b461d3c181c04a01b54398efebfec163dc4c97d7f2da804ea953eb0e3cbbbb41"
"""SHA-256 of the whole data set in its original order, as `Cifar10.sha256` computes it."""


@dataclass(frozen=True)
class Cifar10:
    """Images and labels, in the order of the original files.

    Attributes:
        train_images: uint8 (N, 32, 32, 3), RGB.
        train_labels: int64 (N,), 0 to 9.
        test_images: uint8 (M, 32, 32, 3), RGB.
        test_labels: int64 (M,), 0 to 9.
    """

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor

    def first(self, train: int | None, test: int | None) -> Cifar10:
        """The first images only, for a quick trial; None: all.

        Raises:
            ImageError: fewer than one.
        """
        for name, count in (("--train-images", train), ("--test-images", test)):
            if count is not None and count < 1:
                raise ImageError(f"{name} is {count}.", "Give at least 1.")
        return Cifar10(
            self.train_images[:train], self.train_labels[:train], self.test_images[:test], self.test_labels[:test]
        )

    def sha256(self) -> str:
        """SHA-256 of pixels and labels, training images before test images."""
        digest = hashlib.sha256()
        for images, labels in ((self.train_images, self.train_labels), (self.test_images, self.test_labels)):
            digest.update(str(tuple(images.shape)).encode())
            digest.update(images.contiguous().numpy().data)
            digest.update(labels.to(torch.uint8).numpy().data)
        return digest.hexdigest()


def load_cifar10(folder: str | os.PathLike[str], download: bool = False) -> Cifar10:
    """CIFAR-10 from a folder in one of two layouts.

    Torchvision's: `cifar-10-batches-py/` with `data_batch_1` to `5` and `test_batch`; each file is checked against the
    MD5 of the original before it is unpickled. Mosaics: `train_0.webp` to `train_4.webp` and `test_0.webp`, each a
    lossless image of 100 x 100 tiles of 32 x 32 pixels, row by row in the original order, and `labels.u8`, one byte for
    each of the 60,000 images.

    Args:
        folder: that holds them.
        download: fetch what is missing, in torchvision's layout.

    Raises:
        ImageError: the folder is not there, holds neither layout or only a part of it; broken files; a download that
            broke off.
        StoreError: the download cannot be written.
    """
    place = Path(folder).expanduser()
    there = [name for name in (*MOSAICS, LABELS) if (place / name).is_file()]
    if there and not download:
        missing = [name for name in (*MOSAICS, LABELS) if name not in there]
        if missing:
            raise ImageError(
                f"{folder} holds a part of CIFAR-10 only: {_are(missing)} missing.",
                "Complete the folder, or let --download fetch CIFAR-10 into another one.",
            )
        return _mosaics(place)
    if not download and not place.is_dir():
        raise ImageError(f"The folder {str(folder)!r} is not there.", "Check --data, or let --download fetch CIFAR-10.")
    return _torchvision(place, download)


def _mosaics(place: Path) -> Cifar10:
    labels = np.frombuffer((place / LABELS).read_bytes(), dtype=np.uint8)
    count = TILES * TILES * len(MOSAICS)
    if len(labels) != count:
        raise ImageError(f"{place / LABELS} holds {len(labels)} labels, not {count}.", "Fetch the file again.")
    if labels.max() >= CLASSES:
        raise ImageError(f"{place / LABELS} holds a label {labels.max()}: CIFAR-10 has 0 to 9.", "Fetch it again.")
    paths = [place / name for name in MOSAICS]
    pixels = np.concatenate([_tiles(path, mosaic) for path, mosaic in zip(paths, read_ahead(paths), strict=True)])
    images, classes = torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64))
    split = TILES * TILES * (len(MOSAICS) - 1)
    return Cifar10(images[:split], classes[:split], images[split:], classes[split:])


def _tiles(path: Path, mosaic: Pixels) -> Pixels:
    side = TILES * SIDE
    if mosaic.shape != (side, side, 3):
        height, width, _ = mosaic.shape
        raise ImageError(
            f"{path} is {width} x {height} pixels, not {side} x {side}.", "Each mosaic holds 100 x 100 tiles."
        )
    tiles: Pixels = mosaic.reshape(TILES, SIDE, TILES, SIDE, 3).swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3)
    return tiles


def _torchvision(place: Path, download: bool) -> Cifar10:
    try:
        found = [CIFAR10(place, train=train, download=download and train) for train in (True, False)]
    except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
        # Before OSError, of which they are subclasses.
        raise ImageError(
            f"CIFAR-10 could not be fetched: {getattr(error, 'reason', error)}.",
            "Run the same command again, or fetch cifar-10-python.tar.gz elsewhere and put it into the folder.",
        ) from error
    except OSError as error:
        if download:
            raise store_error(place, error) from error
        raise ImageError(
            f"CIFAR-10 in {place} cannot be read: {error.strerror or error}.", "Check the disk."
        ) from error
    except (RuntimeError, tarfile.TarError, EOFError) as error:
        raise _incomplete(place, download) from error
    except (pickle.UnpicklingError, KeyError, ValueError) as error:
        raise ImageError(f"CIFAR-10 in {place} cannot be read: {error}.", "Delete it and use --download.") from error
    (train_images, train_labels), (test_images, test_labels) = (
        (torch.from_numpy(np.ascontiguousarray(part.data)), torch.tensor(part.targets)) for part in found
    )
    return Cifar10(train_images, train_labels, test_images, test_labels)


def _incomplete(place: Path, download: bool) -> ImageError:
    """What to say when torchvision finds no whole data set."""
    if download:
        return ImageError(
            "The download of CIFAR-10 broke off, or another file came than the original.",
            "Run the same command again: what is not whole is fetched anew.",
        )
    names = [name for name, _ in (*CIFAR10.train_list, *CIFAR10.test_list)] + [CIFAR10.meta["filename"]]
    folder = place / IN_TORCHVISION
    missing = [name for name in names if not (folder / name).is_file()]
    if len(missing) == len(names):
        return ImageError(
            f"{place} holds no CIFAR-10.",
            f"It holds either {IN_TORCHVISION}/, as torchvision keeps it, or mosaics ({MOSAICS[0]}, ...); "
            "--download fetches it.",
        )
    if missing:
        return ImageError(
            f"{folder} holds a part of CIFAR-10 only: {_are(missing)} missing.", "Fetch it again with --download."
        )
    return ImageError(
        f"The files in {folder} are not those of CIFAR-10, or are damaged.", "Fetch them again with --download."
    )


def _are(names: list[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
