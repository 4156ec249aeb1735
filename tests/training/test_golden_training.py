"""No bit of a trained weight is computed differently: weights have the hashes that were recorded.

`python tests/training/test_golden_training.py` records those of this processor in `golden_training.json`. Float64
weights, to a millionth of each tensor's largest, hold on every machine; bits of float32 hold for one kind of processor.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from eager_networks import images_and_labels, model
from golden_hashes import processor
from safetensors.torch import load_file

from linbp import load_model
from linbp.data.cifar10 import Cifar10
from linbp.data.image_list import list_images
from linbp.data.images import write_png
from linbp.training.cifar10 import train
from linbp.training.lins import Tuning, linearize_folder
from linbp.zoo import Training

HASHES = Path(__file__).with_name("golden_training.json")
QUANTA = 1_000_000
ZOO: dict[str, dict[str, Any]] = {
    "sgd": {},
    "adamw, cutmix": {"optimizer": "adamw", "learning_rate": 1e-3, "cutmix": 0.5, "average": 2.0},
    "mixed precision": {"precision": "mixed", "unshifted": 0.5},
}
TUNINGS: dict[str, dict[str, Any]] = {
    "sgd": {"learning_rate": 0.05, "augment": ("flip", "crop")},
    "adamw": {"optimizer": "adamw", "learning_rate": 2e-3, "clip": 1.0, "label_smoothing": 0.1, "train_from": "norm1"},
}
DTYPES = {"float64": torch.float64, "float32": torch.float32}


class Killed(BaseException):
    """What no code catches."""


def killed_at(stage: str, step: int) -> Callable[..., None]:
    """A listener that ends the run at a step."""

    def listen(now: str, done: int, *_: object) -> None:
        if (now, done) == (stage, step):
            raise Killed

    return listen


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """The SHA-256 of all tensors' bits, by name."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()[:32]


def rounded(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors to a millionth of their largest value."""
    largest = {name: tensor.detach().double().abs().max().clamp(min=1e-9) for name, tensor in tensors.items()}
    return {name: (tensor.detach() / largest[name] * QUANTA).round().long() for name, tensor in tensors.items()}


def zoo(case: str, folder: Path, killed: bool) -> str:
    """The hash of the weights that a training of the zoo ships, and of its last log's loss."""
    draw = np.random.default_rng(0)
    labels = np.arange(400) % 10
    colours = draw.integers(0, 200, (10, 1, 1, 3))
    pixels = torch.from_numpy((colours[labels] + draw.integers(0, 56, (400, 32, 32, 3))).astype(np.uint8))
    classes = torch.from_numpy(labels)
    data = Cifar10(pixels[:320], classes[:320], pixels[320:], classes[320:])
    settings = Training(**{"architecture": "plain", "width": 0.25, "epochs": 2, "batch_size": 32, **ZOO[case]})
    if killed:
        for step in (4, 13):
            with pytest.raises(Killed):
                train(data, settings, folder, checkpoint_minutes=0, progress=killed_at("plain", step))
    report = train(data, settings, folder)
    return digest({**load_file(report.weights), "loss": torch.tensor(report.card["last_epoch"]["loss"])})


def lins(case: str, dtype: torch.dtype, folder: Path, killed: bool) -> tuple[str, str]:
    """The hashes of the weights of a tuned network: of their bits, and of their values to a millionth."""
    photos, out = folder / "photos", folder / "out"
    photos.mkdir()
    images, labels = images_and_labels(20)
    lines = ["file,label"]
    for number, (image, label) in enumerate(zip(images.numpy(), labels.tolist(), strict=True)):
        write_png(photos / f"i{number}.png", np.ascontiguousarray(image.transpose(1, 2, 0)))
        lines.append(f"i{number}.png,{label}")
    (photos / "images.csv").write_text("\n".join(lines) + "\n")
    options: dict[str, Any] = {
        "tuning": Tuning(epochs=2, batch_size=4, warm_up=0.2, **TUNINGS[case]),
        "checkpoint_every": 3,
    }
    if killed:
        for step in (4, 9):
            with pytest.raises(Killed):
                linearize_folder(
                    model(dtype), 0, list_images(photos), out, **options, progress=killed_at("tuning", step)
                )
    report = linearize_folder(model(dtype), 0, list_images(photos), out, **options)
    found = load_model(report.model_path).module.state_dict()
    return digest(found), digest(rounded(found))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums are taken in another order with several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recorded(kind: str) -> dict[str, str]:
    found = json.loads(HASHES.read_text(encoding="utf-8"))
    if kind == "float64":
        return dict(found["every machine"])
    if processor() not in found["processors"]:
        pytest.skip(f"no float32 hashes of this processor ({processor()}) are recorded; the float64 ones decide")
    return dict(found["processors"][processor()])


@pytest.mark.parametrize("killed", [False, True], ids=["whole", "killed and resumed"])
@pytest.mark.parametrize("case", ZOO)
def test_networks_of_the_zoo_have_the_weights_that_were_recorded(tmp_path: Path, case: str, killed: bool) -> None:
    assert zoo(case, tmp_path, killed) == recorded("float32")[f"zoo: {case}"]


@pytest.mark.parametrize("killed", [False, True], ids=["whole", "killed and resumed"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", TUNINGS)
def test_tuned_networks_have_the_weights_that_were_recorded(
    tmp_path: Path, case: str, dtype: str, killed: bool
) -> None:
    wanted = recorded(dtype)[f"lins: {case}"]
    bits, values = lins(case, DTYPES[dtype], tmp_path, killed)
    assert (values if dtype == "float64" else bits) == wanted


def test_the_recorded_trainings_differ_from_each_other() -> None:
    found = json.loads(HASHES.read_text(encoding="utf-8"))
    every = [value for kind in (found["every machine"], *found["processors"].values()) for value in kind.values()]
    assert len(set(every)) == len(every) >= len(ZOO) + 2 * len(TUNINGS)


def record() -> dict[str, Any]:
    """All hashes of this machine, as the file holds them."""
    torch.set_num_threads(1)
    found: dict[str, dict[str, str]] = {"float64": {}, "float32": {}}
    for case in ZOO:
        with tempfile.TemporaryDirectory() as folder:
            found["float32"][f"zoo: {case}"] = zoo(case, Path(folder), False)
    for case in TUNINGS:
        for name, dtype in DTYPES.items():
            with tempfile.TemporaryDirectory() as folder:
                bits, values = lins(case, dtype, Path(folder), False)
                found[name][f"lins: {case}"] = values if name == "float64" else bits
    return {"every machine": found["float64"], "processors": {processor(): found["float32"]}}


if __name__ == "__main__":
    fresh = record()
    if HASHES.is_file():
        known = json.loads(HASHES.read_text(encoding="utf-8"))
        if known["every machine"] != fresh["every machine"]:
            sys.exit("the float64 weights differ from those that were recorded")
        fresh["processors"] = {**known["processors"], **fresh["processors"]}
    HASHES.write_text(json.dumps(fresh, indent=1, sort_keys=True) + "\n", encoding="utf-8")
