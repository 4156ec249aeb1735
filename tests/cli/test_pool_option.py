"""`linbp craft --pool` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Answer, Run, two_lines
from PIL import Image

import linbp as library
from linbp.data.image_list import list_images
from linbp.data.images import read_image, write_png
from linbp.data.preprocessing import Preparation

NETWORKS = """
import torch
from torch import nn
import linbp


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 6)]
        module = nn.Sequential(*layers).double()
    return linbp.Model(module, input_size=(3, 8, 8), name="tiny")
"""
RECIPE = "admix(partners=2, scales=2) + mi"
COUNT = 5


@pytest.fixture
def linbp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Run:
    """Runs `craft` in a folder with a network, labelled `photos` of one size and unlabelled `others` of several."""
    monkeypatch.chdir(tmp_path)
    Path("networks.py").write_text(NETWORKS)
    Path("photos").mkdir()
    Path("others").mkdir()
    lines = ["file,label"]
    for number in range(COUNT):
        draw = np.random.default_rng(number)
        write_png(f"photos/i{number}.png", draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        write_png(f"others/o{number}.png", draw.integers(0, 256, (8 + number, 12 - number, 3), dtype=np.uint8))
        lines.append(f"i{number}.png,{number % 3}")
    Path("photos/images.csv").write_text("\n".join(lines) + "\n")

    def craft(**options: Any) -> Answer:
        given = {"surrogate": "file:networks.py:net", "recipe": RECIPE, "data": "photos", "out": "out", **options}
        given.setdefault("steps", 3)
        words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        return run("craft", *words)

    return craft


def manifest(folder: str) -> dict[str, Any]:
    return json.loads((Path(folder) / "manifest.json").read_text())


def pixels(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.png")}


@pytest.mark.parametrize("pool", ["photos", "others"])
def test_adversarial_images_are_those_of_python(linbp: Run, pool: str) -> None:
    """The pool may be the folder under attack; another one may have other sizes and no labels."""
    answer = linbp(pool=pool)
    assert answer.status == 0, answer.err
    for words in ("5 made now", "0 kept", "12 gradients per image"):  # 3 steps of 2 partners and 2 scales
        assert words in answer.text
    files = sorted(Path(pool).glob("*.png"))
    images = [torch.from_numpy(np.asarray(Image.open(path)).transpose(2, 0, 1).copy()) for path in files]
    mixed = library.Pool(images, [number % 3 for number in range(COUNT)] if pool == "photos" else None)
    assert manifest("out")["settings"]["pool"] == mixed.sha256
    namespace: dict[str, Any] = {}
    exec(NETWORKS, namespace)
    surrogate = library.Surrogate(namespace["net"]())
    for number in range(COUNT):
        clean = read_image(f"photos/i{number}.png").transpose(2, 0, 1)[None]
        options = {"ids": [f"i{number}"], "eps": "8/255", "steps": 3, "pool": mixed}
        alone = library.craft(surrogate, clean, [number % 3], RECIPE, **options)
        adv_image = read_image(f"out/i{number}.png").transpose(2, 0, 1)[None]
        assert np.array_equal(adv_image, np.round(alone * 255))


def test_labels_of_the_pool_decide_and_batches_do_not(linbp: Run) -> None:
    assert linbp(pool="photos").status == 0
    assert linbp(pool="photos", out="by two", batch_size=2, threads=1).status == 0
    assert pixels("by two") == pixels("out")
    Path("photos/files.csv").write_text("file\n" + "".join(f"i{number}.png\n" for number in range(COUNT)))
    assert linbp(pool="photos/files.csv", out="without labels").status == 0
    assert manifest("without labels")["settings"]["pool"] != manifest("out")["settings"]["pool"]
    assert pixels("without labels") != pixels("out")


def test_another_pool_is_another_job(linbp: Run) -> None:
    assert linbp(pool="photos").status == 0
    before = pixels("out")
    (Path("out") / "i1.png").unlink()
    assert "1 made now, 4 kept" in linbp(pool="photos").text
    assert pixels("out") == before
    two_lines(linbp(pool="others"), "other settings", "pool")


def test_a_protocol_prepares_the_pool_as_it_prepares_the_images(linbp: Run) -> None:
    """LinBP's ImageNet protocol resizes photographs to 224 x 224."""
    answer = linbp(pool="others", protocol="linbp-2020-imagenet", steps=1, recipe="fgsm + admix(scales=1)")
    assert answer.status == 0, answer.err
    preparation = Preparation.from_dict(manifest("out")["settings"]["preparation"])
    prepared = library.Pool.read(list_images("others"), prepare=preparation.apply)
    assert manifest("out")["settings"]["pool"] == prepared.sha256
    assert {tuple(image.shape) for image in prepared.images} == {(3, 224, 224)}
    assert prepared.sha256 != library.Pool.read(list_images("others")).sha256


def test_what_is_wrong_with_a_pool_is_told_in_two_lines(linbp: Run) -> None:
    two_lines(linbp(), "admix", "--pool")
    two_lines(linbp(pool="photos", recipe="mi"), "mi", "pool")
    two_lines(linbp(pool="nowhere"), "nowhere")
    Path("others/o1.png").write_bytes(b"no image")
    two_lines(linbp(pool="others"), "o1.png")
    Path("single").mkdir()
    write_png("single/one.png", read_image("photos/i0.png"))
    two_lines(linbp(pool="single"), "class 0", "images")
    assert not Path("out").exists()
