"""The job on disk: it goes on after an end at any moment, refuses other jobs, and says what it did."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from eager_networks import CLASSES, SIZE, eager, images_and_labels, model
from stopped_pools import Stopped
from torch import nn

from linbp import Model, Surrogate, craft, load_model
from linbp.data.image_list import ImageRecord, list_images
from linbp.data.images import write_png
from linbp.errors import ImageError, LinbpError, ModelError, StoreError
from linbp.models import weights_sha256
from linbp.training.lins import LinearizeReport, Tuning, linearize, linearize_folder
from linbp.training.lins.folder import LinearizeFolder

TUNING = Tuning(epochs=2, batch_size=4, learning_rate=0.05, warm_up=0.2, augment=("flip", "crop"))
"""18 images: five steps an epoch, the last of two images; and two images held out."""
STEPS = 10


class Killed(BaseException):
    """What no code catches."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    images, labels = images_and_labels(20)
    folder = tmp_path / "photos"
    folder.mkdir()
    lines = ["file,label"]
    for number, (image, label) in enumerate(zip(images.numpy(), labels.tolist(), strict=True)):
        # Every third is larger than the network's input.
        pixels = np.ascontiguousarray(image.transpose(1, 2, 0).repeat(2 if number % 3 == 0 else 1, axis=0))
        write_png(folder / f"i{number}.png", pixels)
        lines.append(f"i{number}.png,{label}")
    (folder / "images.csv").write_text("\n".join(lines) + "\n")
    return folder


def job(photos: Path, out: Path, dtype: torch.dtype = torch.float32, **options: Any) -> LinearizeReport:
    options = {"tuning": TUNING, "checkpoint_every": 3, **options}
    start = options.pop("start", 0)
    given = options.pop("model", None) or model(dtype)
    return linearize_folder(given, start, list_images(photos), out, **options)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder / "model.pt2").module.state_dict()


def same_bits(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def killed_at(stage: str, step: int, time: int = 1) -> Any:
    """An end when a stage tells of a step for the first, second, ... time."""
    told = 0

    def tell(now: str, done: int, total: int, words: str) -> None:
        nonlocal told
        told += (now, done) == (stage, step)
        if told == time:
            raise Killed

    return tell


@pytest.mark.exhaustive
def test_ctrl_c_is_not_lost_while_threads_are_let_go(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Stopped(monkeypatch)
    stopped.during(0)
    job(photos, tmp_path / "whole")
    count = stopped.seen
    assert count > TUNING.epochs
    for number in range(1, count + 1):
        stopped.during(number)
        with pytest.raises(KeyboardInterrupt):
            job(photos, tmp_path / f"stopped at {number}")


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.exhaustive)])
@pytest.mark.slow
def test_a_job_killed_at_any_step_ends_with_the_same_bits(photos: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    whole = job(photos, tmp_path / "whole", dtype)
    expected = weights(tmp_path / "whole")
    assert (whole.resumed_at, whole.already_finished) == (None, False)
    # Checkpoints are at 0, 3, 5 (the end of an epoch), 6, 9 and 10; the kill comes before that of its step.
    for step, kept in {0: 0, 3: 0, 4: 3, 6: 5, 7: 6, 10: 9}.items():
        out = tmp_path / f"out {step}"
        with pytest.raises(Killed):
            job(photos, out, dtype, progress=killed_at("tuning", step))
        report = job(photos, out, dtype)
        assert report.resumed_at == kept
        assert same_bits(weights(out), expected)
        for fact in ("accuracy", "history", "settings", "removed"):
            assert report.manifest[fact] == whole.manifest[fact]
        assert [run["resumed_at_step"] for run in report.manifest["runs"]] == [None, kept]
        assert sorted(path.name for path in out.iterdir()) == [".lock", "manifest.json", "model.json", "model.pt2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "time"),
    [
        ("accuracy before (validation)", 1),
        ("recalibrating", 1),
        ("validation", 1),
        ("validation", 2),
        ("accuracy tuned (training)", 1),
    ],
)
def test_a_job_killed_outside_of_steps(photos: Path, tmp_path: Path, stage: str, time: int) -> None:
    job(photos, tmp_path / "whole")
    with pytest.raises(Killed):
        job(photos, tmp_path / "out", progress=killed_at(stage, 1, time))
    with pytest.raises(Killed):  # and the run that goes on, at the first such place
        job(photos, tmp_path / "out", progress=killed_at(stage, 1))
    job(photos, tmp_path / "out")
    assert same_bits(weights(tmp_path / "out"), weights(tmp_path / "whole"))


def test_files_and_arrays_give_the_same(photos: Path, tmp_path: Path) -> None:
    records = list_images(photos)
    small = [record for number, record in enumerate(records) if number % 3]
    images, labels = images_and_labels(20)
    rows = [number for number in range(20) if number % 3]
    report = linearize_folder(model(), 0, small, tmp_path / "out", tuning=TUNING)
    found = linearize(model(), 0, images[rows], labels[rows], ids=[record.image_id for record in small], tuning=TUNING)
    assert same_bits(weights(tmp_path / "out"), found.model.module.state_dict())
    assert report.manifest["accuracy"] == found.accuracy
    assert report.manifest["history"] == list(found.history)
    assert [one["index"] for one in report.manifest["removed"]] == list(found.removed)


def test_the_manifest_says_what_made_the_weights(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = model()
    given.source["spec"] = "file:net.py:net"
    given.class_names = ("a", "b", "c", "d")
    report = job(photos, out, model=given, start="inner", sites=(2, 5), command="linbp linearize ...")
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest == {"format": "linearize 1", **report.manifest}
    settings = manifest["settings"]
    assert settings["model"]["weights_sha256"] == weights_sha256(given.module.state_dict())
    assert "spec" not in settings["model"]
    assert (settings["start"], settings["sites"], settings["held_out"]) == ("inner", [2, 5], 0.1)
    assert settings["tuning"] == {**dataclasses.asdict(TUNING), "augment": ["flip", "crop"]}
    assert manifest["removed"] == [
        {"index": 2, "op": "relu", "module_path": "inner"},
        {"index": 5, "op": "gelu", "module_path": "last"},
    ]
    assert (manifest["sites"], manifest["training_images"], manifest["validation_images"]) == (6, 18, 2)
    assert set(manifest["accuracy"]) == {"before", "removed", "recalibrated", "tuned"}
    assert manifest["accuracy"]["tuned"]["training"]["n"] == 18
    assert len(manifest["history"]) == 2
    assert manifest["progress"] == {"step": STEPS, "steps": STEPS}
    assert manifest["seconds"] > 0
    (run,) = manifest["runs"]
    assert (run["command"], run["device"], run["mixed_precision"]) == ("linbp linearize ...", "cpu", "off")
    assert torch.__version__.startswith(run["versions"]["torch"])
    loaded = load_model(report.model_path)
    assert weights_sha256(loaded.module.state_dict()) == manifest["result"]["weights_sha256"]
    assert loaded.source["file_sha256"] == manifest["result"]["file_sha256"]
    assert (loaded.mean, loaded.std, loaded.input_size) == (given.mean, given.std, given.input_size)
    assert loaded.class_names == given.class_names
    images, labels = images_and_labels(5)
    adv = craft(Surrogate(loaded), images.numpy(), labels.numpy(), "linbp(start=first) + mi", eps=4 / 255, steps=2)
    assert adv.shape == images.shape


def test_a_finished_job_is_not_done_again(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = job(photos, out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    again = job(photos, out, command="again")
    assert again.already_finished
    assert again.manifest == first.manifest
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    (out / "model.pt2").write_bytes(b"damaged")
    mended = job(photos, out)
    assert not mended.already_finished
    assert mended.manifest["result"]["weights_sha256"] == first.manifest["result"]["weights_sha256"]
    load_model(out / "model.pt2")


def test_other_settings_are_refused_and_named(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    job(photos, out)
    for options, words in [
        ({"tuning": dataclasses.replace(TUNING, epochs=3)}, "tuning.epochs: 2 -> 3"),
        ({"start": 2}, "start: 0 -> 2"),
        ({"sites": "all"}, "sites: null -> all"),
        ({"model": model(torch.float64)}, "model.dtype: float32 -> float64"),
        ({"validation": list_images(photos)}, "the validation images or their labels"),
    ]:
        with pytest.raises(StoreError, match="other settings") as refused:
            job(photos, out, **options)
        assert words in refused.value.message
    changed = np.zeros((SIZE, SIZE, 3), np.uint8)
    write_png(photos / "i4.png", changed)
    with pytest.raises(StoreError, match=r"training images.*labels"):
        job(photos, out)


def test_folders_of_something_else(photos: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "checkpoint.pt").write_text("somebody's")
    with pytest.raises(StoreError, match=r"manifest\.json.*checkpoint\.pt"):
        job(photos, full)
    assert (full / "checkpoint.pt").read_text() == "somebody's"
    (full / "manifest.json").write_text('{"format": 1, "settings": {}}')
    with pytest.raises(StoreError, match="holds another job"):
        job(photos, full)
    (full / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        job(photos, full)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        job(photos, tmp_path / "file")
    with pytest.raises(StoreError, match="0 steps apart"):
        job(photos, tmp_path / "new", checkpoint_every=0)
    assert not (tmp_path / "new").exists()


def test_a_damaged_checkpoint_is_named(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Killed):
        job(photos, out, progress=killed_at("tuning", 7))
    whole = (out / "checkpoint.pt").read_bytes()
    (out / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match=r"checkpoint\.pt") as refused:
        job(photos, out)
    assert "Delete it" in refused.value.hint
    (out / "checkpoint.pt").unlink()
    assert job(photos, out).resumed_at is None


def test_a_diverged_job_keeps_its_last_good_checkpoint(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    wild = dataclasses.replace(TUNING, learning_rate=1e30, warm_up=0.0)
    for _ in range(2):
        with pytest.raises(ModelError, match="diverged") as refused:
            job(photos, out, tuning=wild, checkpoint_every=1)
        assert "lower --learning-rate" in refused.value.hint
        kept = torch.load(out / "checkpoint.pt", weights_only=True)
        assert all(bool(torch.isfinite(tensor).all()) for tensor in kept["trainer"]["weights"].values())
        assert json.loads((out / "manifest.json").read_text())["finished"] is False


def test_labels_and_images_that_are_refused(photos: Path, tmp_path: Path) -> None:
    records: Sequence[ImageRecord] = list_images(photos)
    for faulty, words in [
        ([], "holds no images"),
        ([*records[:-1], dataclasses.replace(records[-1], label=None, class_name=None)], "'i19' has no label"),
        ([*records[:-1], dataclasses.replace(records[-1], label=CLASSES)], f"label of image 'i19' is {CLASSES}"),
    ]:
        for options in ({"images": faulty}, {"images": records, "validation": faulty}):
            with pytest.raises(ImageError, match=words):
                linearize_folder(model(), 0, folder=tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    (photos / "i7.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"i7.png cannot be read"):
        job(photos, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    grey = Model(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), input_size=(1, 8, 8), mean=(0,), std=(1,))
    with pytest.raises(ModelError, match="takes 1 channels"):
        job(photos, tmp_path / "out", model=grey)


def test_labels_in_words_are_the_networks_own_names(photos: Path, tmp_path: Path) -> None:
    once = dataclasses.replace(TUNING, epochs=1)
    numbers = job(photos, tmp_path / "numbers", tuning=once).manifest["settings"]["training_sha256"]
    table = photos / "images.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()[1:]]
    table.write_text("file,label\n" + "".join(f"{file},Tier_{'dbca'[int(label)]}\n" for file, label in lines))
    named = model()
    named.class_names = tuple(f"tier {letter}" for letter in "dbca")
    words = job(photos, tmp_path / "words", tuning=once, model=named).manifest["settings"]["training_sha256"]
    assert words == numbers


def test_validation_images_of_their_own(photos: Path, tmp_path: Path) -> None:
    records = list_images(photos)
    report = linearize_folder(
        model(),
        0,
        records[:12],
        tmp_path / "out",
        validation=records[10:],
        tuning=dataclasses.replace(TUNING, epochs=0),
    )
    manifest = report.manifest
    assert (manifest["training_images"], manifest["validation_images"]) == (12, 10)
    assert manifest["settings"]["held_out"] is None
    assert manifest["notes"] == ["2 validation images are among the training images too, pixel for pixel"]
    assert manifest["history"] == []
    assert set(manifest["accuracy"]) == {"before", "removed", "recalibrated"}
    # Nothing was tuned: only the statistics moved.
    old, new = eager(dtype=torch.float64).state_dict(), weights(tmp_path / "out")
    moved = {name.rpartition(".")[2] for name in old if not torch.equal(old[name], new[name])}
    assert moved == {"running_mean", "running_var", "num_batches_tracked"}


def test_a_second_process_is_kept_out(photos: Path, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match=r"[Aa]nother process"):
            job(photos, out)
    (out / ".checkpoint.pt.123.tmp").write_bytes(b"left over")
    job(photos, out)
    assert not (out / ".checkpoint.pt.123.tmp").exists()


def test_every_error_has_a_hint(photos: Path, tmp_path: Path) -> None:
    for options in ({"start": 99}, {"sites": (77,)}, {"validation": 2.0}, {"tuning": Tuning(batch_size=1)}):
        with pytest.raises(LinbpError) as refused:
            job(photos, tmp_path / "out", **options)  # type: ignore[arg-type]
        assert refused.value.hint
        assert "\n" not in refused.value.message


@pytest.mark.parametrize("count", range(1, 16, 2))
def test_ctrl_c_while_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    store = LinearizeFolder(tmp_path)
    store.write_checkpoint({"step": 1})
    before = (tmp_path / "checkpoint.pt").read_bytes()

    class CutShort(io.BytesIO):
        calls = 0

        def write(self, content: Any) -> int:
            CutShort.calls += 1
            if CutShort.calls == count:
                raise KeyboardInterrupt
            return super().write(content)

    monkeypatch.setattr(io, "BytesIO", CutShort)
    with pytest.raises(KeyboardInterrupt):
        store.write_checkpoint({"step": 2, "weights": torch.zeros(10), "more": torch.ones(3)})
    assert CutShort.calls >= count
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
