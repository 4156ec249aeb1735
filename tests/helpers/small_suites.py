"""A suite that runs in a second: images of 12 x 12 pixels, and networks in float64 from a Python file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tiny_networks import images_and_labels

__all__ = ["NETWORKS", "small_suite", "write_images"]

NETWORKS = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import os, signal
import tiny_networks
from tiny_networks import tiny, tiny_chain


class Fails:
    \"\"\"A black-box victim that dies after some images.\"\"\"

    name, dtype = "fails", tiny().dtype

    def __init__(self, after):
        self.after, self.asked, self.inner = after, 0, tiny_chain()

    def identity(self):
        return {{"service": "fails"}}

    def logits(self, images):
        self.asked += len(images)
        if self.asked > self.after:
            raise ConnectionError("the service is gone")
        return self.inner.logits(images)


def fails():
    return Fails(int(os.environ.get("FAILS_AFTER", "1000000")))
"""


def write_images(folder: Path, count: int = 10, seed: int = 0) -> Path:
    """PNGs and a list of them; the CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = images_and_labels(count, seed)
    with (folder / "images.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "file", "label"])
        for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy())).save(folder / f"{number:03}.png")
            writer.writerow([f"i{number:03}", f"{number:03}.png", label])
    return folder / "images.csv"


def small_suite(folder: Path, *, images: int = 10, **changes: Any) -> Path:
    """Write images, networks and a suite into a folder; the suite's file.

    Args:
        folder: new or old.
        images: how many.
        changes: keys of the suite that are written instead of the usual ones; None leaves one out.
    """
    import tomli_w

    folder.mkdir(parents=True, exist_ok=True)
    write_images(folder / "photos", images)
    (folder / "nets.py").write_text(NETWORKS)
    content: dict[str, Any] = {
        "name": "small",
        "eps": ["8/255", "16/255"],
        "selection": "right-on-surrogate",
        "trust_labels": True,
        "shard_size": 4,
        "data": {"kind": "csv", "path": "photos/images.csv"},
        "surrogates": [{"name": "tiny", "model": f"file:{folder / 'nets.py'}:tiny"}],
        "recipes": {"mi": "mifgsm", "linbp": "linbp(start=1) + mi"},
        "victims": {"chain": f"file:{folder / 'nets.py'}:tiny_chain", "white": f"file:{folder / 'nets.py'}:tiny"},
        "cost": {"steps": 3},
    }
    content = {key: value for key, value in {**content, **changes}.items() if value is not None}
    (folder / "suite.toml").write_text(tomli_w.dumps(content))
    return folder / "suite.toml"
