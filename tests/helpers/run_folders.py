"""Folders of runs with pictures, made up: for tests of what reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from result_tables import synthetic

from linbp.bench.table import results_bytes

CLASSES = [f"kind {number}" for number in range(10)]


def write_run(folder: Path, *, side: int = 24, table: pa.Table | None = None, **facts: Any) -> pa.Table:
    """A folder as the bench leaves it: the table, clean and adversarial images of that many pixels, and its facts.

    Args:
        folder: new.
        side: of the images.
        table: of results; default: two surrogates, three recipes, two radii, three victims, 30 images.
        facts: in the table's metadata, besides the suite's name.
    """
    if table is None:
        names = {"surrogates": ("vgg", "resnet"), "recipes": ("mi", "linbp", "di"), "victims": ("one", "two", "three")}
        table = synthetic(images=30, **names)
    (folder / "images").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for image in table["image_id"].unique().to_pylist():
        pixels = draw.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{image}.png")
        for attack in table["attack"].unique().to_pylist():
            (folder / "attacks" / attack).mkdir(parents=True, exist_ok=True)
            noise = draw.integers(-8, 9, pixels.shape)
            adv = np.clip(pixels.astype(int) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(adv).save(folder / "attacks" / attack / f"{image}.png")
    (folder / "results.parquet").write_bytes(results_bytes(table, {"suite": "tonight", "complete": "true", **facts}))
    (folder / "suite.toml").write_text("# the suite\n", encoding="utf-8")
    run = {"command": "linbp bench a.toml", "device": "cpu", "versions": {"linbp": "9.9"}}
    content = {"runs": [run], "class_names": CLASSES}
    (folder / "run.json").write_text(json.dumps(content), encoding="utf-8")
    return table
