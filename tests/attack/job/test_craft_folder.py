"""The resumable job: what it writes, what it keeps, what it refuses."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from counted_checks import counted
from resolved_jobs import craft_folder
from stopped_pools import Stopped
from torch import nn

import linbp
from linbp import Model, Recipe, craft
from linbp.attack.job import resume as job
from linbp.attack.job.adversarial_folder import AdversarialFolder
from linbp.attack.job.report import FolderReport
from linbp.data.image_list import ImageRecord, list_images
from linbp.data.images import Pixels, pixel_sha256, read_image, write_png
from linbp.errors import BudgetError, ImageError, RecipeError, StoreError
from linbp.evaluation import evaluate_folder
from linbp.jobs.lock import locked

COUNT = 7


def network(seed: int = 0, classes: int = 6) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, classes)]
        return Model(nn.Sequential(*layers).double(), input_size=(3, 8, 8), name=f"tiny{seed}")


@pytest.fixture(scope="module")
def model() -> Model:
    return network()


@pytest.fixture
def images(tmp_path: Path) -> tuple[ImageRecord, ...]:
    """Seven images of two sizes, their sizes mixed."""
    (tmp_path / "clean").mkdir()
    lines = ["file,label,target"]
    for number in range(COUNT):
        size = (8, 8) if number % 3 else (10, 9)
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        write_png(tmp_path / "clean" / f"i{number}.png", pixels)
        lines.append(f"i{number}.png,{number % 6},{(number + 1) % 6}")
    (tmp_path / "clean" / "images.csv").write_text("\n".join(lines))
    return list_images(tmp_path / "clean")


SETTINGS: dict[str, Any] = {"recipe": "pgd + mi", "eps": 4 / 255, "steps": 4, "batch_size": 2}


def run(model: Model, images: tuple[ImageRecord, ...], folder: Path, **changes: Any) -> FolderReport:
    return craft_folder(model, images, folder, **{**SETTINGS, **changes})


def test_ctrl_c_is_not_lost_while_threads_are_let_go(
    model: Model, images: tuple[ImageRecord, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = Stopped(monkeypatch)
    stopped.during(0)
    run(model, images, tmp_path / "whole")
    count = stopped.seen
    assert count >= 2  # the files are read once before the job, and once in it
    for number in range(1, count + 1):
        stopped.during(number)
        with pytest.raises(KeyboardInterrupt):
            run(model, images, tmp_path / f"stopped at {number}")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the manifest, which tells when it was made."""
    files = [path for path in folder.iterdir() if path.name not in ("manifest.json", ".lock")]
    return {path.name: path.read_bytes() for path in files}


def test_adversarial_images_are_those_of_craft_and_everything_is_recorded(
    model: Model, images: tuple[ImageRecord, ...], tmp_path: Path
) -> None:
    report = run(model, images, tmp_path / "out", command="the command")
    assert (report.made, report.kept) == (COUNT, 0)
    lines = (tmp_path / "out" / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["image_id"] for line in lines] == [image.image_id for image in images]
    for image, line in zip(images, lines, strict=True):
        clean, adv_image = read_image(image.path), read_image(tmp_path / "out" / f"{image.image_id}.png")
        alone = craft(
            model,
            clean.transpose(2, 0, 1)[None],
            [image.label],
            "pgd + mi",
            eps=4 / 255,
            steps=4,
            ids=[image.image_id],
        )
        assert np.array_equal(np.rint(255 * alone[0]).transpose(1, 2, 0), adv_image)
        record = json.loads(line)
        assert (record["label"], record["target"], record["gradients"]) == (image.label, None, 4)
        assert (record["sha256"], record["clean_sha256"]) == (pixel_sha256(adv_image), pixel_sha256(clean))
        difference = clean.astype(float) - adv_image
        assert record["linf"] == np.abs(difference).max() <= 4
        assert record["l2"] == pytest.approx(np.linalg.norm(difference / 255))
        for name, pixels in (("clean", clean), ("adv", adv_image)):
            logits = model.logits(torch.from_numpy(pixels.transpose(2, 0, 1)[None] / 255))
            assert record[f"prediction_{name}"] == int(logits.argmax())
            assert record[f"loss_{name}"] == pytest.approx(float(-logits.log_softmax(1)[0, image.label]))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["settings"]["recipe"] == str(Recipe.parse("pgd + mi"))
    assert manifest["settings"]["eps"] == 4 / 255
    assert manifest["settings"]["step_size"] == 1 / 255
    assert manifest["settings"]["surrogate"]["weights_sha256"] == model.identity()["weights_sha256"]
    assert manifest["gradients_per_image"] == 4
    assert manifest["runs"][0]["command"] == "the command"
    assert {"python", "linbp", "torch", "torchvision", "timm", "numpy"} <= set(manifest["runs"][0]["versions"])


def test_a_target_that_is_the_label_is_refused(model: Model, images: tuple[ImageRecord, ...], tmp_path: Path) -> None:
    own = [dataclasses.replace(image, target=image.label) for image in images]
    with pytest.raises(ImageError, match="its label"):
        craft_folder(model, own, tmp_path / "out", "ifgsm", eps="8/255", steps=2, trust_labels=True)
    assert not (tmp_path / "out").exists()


def test_targets_make_the_attack_targeted(model: Model, images: tuple[ImageRecord, ...], tmp_path: Path) -> None:
    aimed = list_images(tmp_path / "clean", targets="target")
    report = run(model, aimed, tmp_path / "out", steps=8, eps=32 / 255, recipe="mi")
    assert report.manifest["settings"]["targeted"]
    assert [record["target"] for record in report.records] == [image.target for image in aimed]
    assert all(record["loss_adv"] < record["loss_clean"] for record in report.records)


class Stop(BaseException):
    """Stands for a signal: nothing in the job may catch it."""


@pytest.mark.parametrize("place", ["before the PNG", "between PNG and record", "within the record", "after the record"])
@pytest.mark.parametrize("number", [0, 1, 4])
def test_a_job_that_ends_anywhere_goes_on_to_the_same_bytes(
    model: Model,
    images: tuple[ImageRecord, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    number: int,
) -> None:
    run(model, images, tmp_path / "whole")
    done, add = 0, AdversarialFolder.add

    def stopping(self: AdversarialFolder, adv_image: Pixels, record: dict[str, Any]) -> None:
        nonlocal done
        done += 1
        if done <= number:
            add(self, adv_image, record)
            return
        if place == "within the record":
            write_png(self.adv_path(record["image_id"]), adv_image)
            with (self.path / "records.jsonl").open("ab") as file:
                file.write(json.dumps(record).encode()[:50])
        elif place == "between PNG and record":
            write_png(self.adv_path(record["image_id"]), adv_image)
        elif place == "after the record":
            add(self, adv_image, record)
        (self.path / ".left-over.png.1.tmp").write_bytes(b"half a file")
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(AdversarialFolder, "add", stopping)
        with pytest.raises(Stop):
            run(model, images, tmp_path / "out")
    kept = number + (place == "after the record")
    report = run(model, images, tmp_path / "out")
    assert (report.made, report.kept) == (COUNT - kept, kept)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert [one["kept"] for one in report.manifest["runs"]] == [0, kept]


def test_a_finished_job_computes_nothing(
    model: Model, images: tuple[ImageRecord, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(model, images, tmp_path / "out")
    before = (tmp_path / "out" / "manifest.json").read_bytes()

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(job, "craft_batch", never)
    report = run(model, images, tmp_path / "out", batch_size=5, threads=1, command="another")
    assert (report.made, report.kept) == (0, COUNT)
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before


def test_lost_and_changed_pngs_are_made_again(model: Model, images: tuple[ImageRecord, ...], tmp_path: Path) -> None:
    run(model, images, tmp_path / "out")
    whole = contents(tmp_path / "out")
    (tmp_path / "out" / "i1.png").unlink()
    (tmp_path / "out" / "i2.png").write_bytes(b"broken")
    write_png(tmp_path / "out" / "i3.png", np.zeros((10, 9, 3), np.uint8))
    report = run(model, images, tmp_path / "out")
    assert (report.made, report.kept) == (3, COUNT - 3)
    assert contents(tmp_path / "out") == whole


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 99, "threads": 1}, {"threads": 9}])
def test_batch_size_and_threads_change_nothing(
    model: Model, images: tuple[ImageRecord, ...], tmp_path: Path, options: dict[str, Any]
) -> None:
    run(model, images, tmp_path / "a")
    run(model, images, tmp_path / "b", **options)
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    # Losses of float64 logits may differ in their last digit between batches; pixels may not.
    assert {name: first[name] for name in first if name.endswith(".png")} == {
        name: second[name] for name in second if name.endswith(".png")
    }


def test_the_group_size_is_recorded_and_may_not_change(images: tuple[ImageRecord, ...], tmp_path: Path) -> None:
    single = Model(network().module.float(), input_size=(3, 8, 8), name="tiny0")
    run(single, images, tmp_path / "one", group_size=1)
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    assert manifest["settings"]["surrogate"]["group_size"] == 1
    with pytest.raises(StoreError, match=r"surrogate\.group_size: 1 -> 4"):
        run(single, images, tmp_path / "one")
    run(single, images, tmp_path / "four")
    with pytest.raises(StoreError, match=r"surrogate\.group_size: 4 -> 1"):
        run(single, images, tmp_path / "four", group_size=1)
    assert run(single, images, tmp_path / "four", group_size=4).made == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": "mi"}, r"recipe: .* -> mi"),
        ({"eps": 3 / 255}, r"eps: 0\.0156.* -> 0\.0117"),
        ({"steps": 5}, r"steps: 4 -> 5"),
        ({"step_size": 2 / 255}, r"step_size: 0\.0039.* -> 0\.0078"),
        ({"norm": "l2", "step_size": 1 / 255}, r"norm: linf -> l2"),
        ({"seed": 1}, r"seed: 0 -> 1"),
        ({"rounding": "nearest"}, r"rounding: inward -> nearest"),
        ({"labels": "predicted"}, r"labels: given -> predicted"),
    ],
)
def test_a_changed_setting_is_refused_and_named(
    model: Model, images: tuple[ImageRecord, ...], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    run(model, images, tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(StoreError, match=words) as caught:
        run(model, images, tmp_path / "out", **changes)
    assert ";" not in caught.value.message
    assert contents(tmp_path / "out") == before


def test_another_surrogate_and_other_images_are_refused(
    model: Model, images: tuple[ImageRecord, ...], tmp_path: Path
) -> None:
    run(model, images, tmp_path / "out")
    with pytest.raises(StoreError, match=r"surrogate\.name: tiny0 -> tiny1; surrogate\.weights_sha256: "):
        run(network(1), images, tmp_path / "out")
    with pytest.raises(StoreError, match=r"images.*labels.*targets"):
        run(model, images[:-1], tmp_path / "out")
    write_png(images[0].path, np.zeros((10, 9, 3), np.uint8))
    with pytest.raises(StoreError, match=r"images.*labels.*targets"):
        run(model, images, tmp_path / "out")


def test_settings_that_are_refused_do_not_bind_the_folder(
    model: Model, images: tuple[ImageRecord, ...], tmp_path: Path
) -> None:
    with pytest.raises(BudgetError):
        run(model, images, tmp_path / "out", eps=6)
    with pytest.raises(RecipeError):
        run(model, images, tmp_path / "out", recipe="fgsm", steps=3)
    with pytest.raises(RecipeError):
        run(model, images, tmp_path / "out", recipe="fgsm", steps=None, step_size=0.1)
    assert run(model, images, tmp_path / "out").made == COUNT
    assert run(model, images, tmp_path / "fgsm", recipe="fgsm", steps=None).manifest["settings"]["steps"] == 1


def test_a_folder_of_other_files_is_left_alone(model: Model, images: tuple[ImageRecord, ...], tmp_path: Path) -> None:
    before = contents(tmp_path / "clean")
    with pytest.raises(StoreError, match=r"manifest\.json"):
        run(model, images, tmp_path / "clean")
    assert contents(tmp_path / "clean") == before
    with pytest.raises(StoreError, match="cannot be written") as caught:
        run(model, images, tmp_path / "clean" / "i1.png")
    assert "file" in caught.value.hint
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match=r"manifest\.json"):
        run(model, images, tmp_path / "broken")
    (tmp_path / "broken" / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(StoreError, match="another version"):
        run(model, images, tmp_path / "broken")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_loses_nothing(
    model: Model, images: tuple[ImageRecord, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    replaced, replace = 0, os.replace

    def full(source: Any, target: Any) -> None:
        nonlocal replaced
        replaced += 1
        if replaced > 5:  # manifest, records, three adversarial images
            raise OSError(code, os.strerror(code))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(StoreError, match=os.strerror(code)) as caught:
            run(model, images, tmp_path / "out")
    assert caught.value.hint
    assert not list((tmp_path / "out").glob(".*.tmp"))
    report = run(model, images, tmp_path / "out")
    assert (report.made, report.kept) == (COUNT - 3, 3)


def test_a_folder_of_an_earlier_layout_is_refused_and_left_alone(
    model: Model, images: tuple[ImageRecord, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "adv"
    run(model, images, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 1}))
    before = contents(folder)
    for use in (lambda: run(model, images, folder), lambda: evaluate_folder(folder, [model])):
        with pytest.raises(StoreError, match="another version did"):
            use()
    assert contents(folder) == before


def test_two_processes_do_not_write_one_folder(model: Model, images: tuple[ImageRecord, ...], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"), pytest.raises(StoreError, match="Another process"):
        run(model, images, tmp_path / "out")
    assert run(model, images, tmp_path / "out").made == COUNT


def test_a_lock_whose_file_was_taken_away_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    flock = fcntl.flock

    def late(file: Any, operation: int) -> None:
        """Another job ends without an adversarial image between this one's opening and locking of the file."""
        (tmp_path / ".lock").unlink()
        flock(file, operation)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", late)
        with pytest.raises(StoreError, match="has just released"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


def test_a_job_that_ends_without_an_adversarial_image_leaves_no_folder(
    model: Model, images: tuple[ImageRecord, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(job, "craft_batch", stop)
        with pytest.raises(Stop):
            run(model, images, tmp_path / "deep" / "out")
    assert not (tmp_path / "deep").exists()
    assert run(model, images, tmp_path / "deep" / "out").made == COUNT
    (tmp_path / "deep" / "out" / "i1.png").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(job, "craft_batch", stop)
        with pytest.raises(Stop):
            run(model, images, tmp_path / "deep" / "out")
    assert len(list((tmp_path / "deep" / "out").glob("*.png"))) == COUNT - 1


def test_faulty_lists_are_refused(model: Model, images: tuple[ImageRecord, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ImageError, match="no images"):
        run(model, (), out)
    plain = tuple(ImageRecord(image_id=image.image_id, path=image.path) for image in images)
    with pytest.raises(ImageError, match="'i0' has no label") as caught:
        run(model, plain, out)
    assert "--labels predicted" in caught.value.hint
    with pytest.raises(ImageError, match=r"'i5' is 5.*tiny0.*0 to 4"):
        run(network(classes=5), images, out)
    with pytest.raises(ImageError, match=r"target.*'i4' is 5"):
        run(network(classes=5), list_images(tmp_path / "clean", targets="target"), out, labels="predicted")
    with pytest.raises(ImageError, match="1 of 2"):
        run(model, (images[0], list_images(tmp_path / "clean", targets="target")[1]), out)
    images[6].path.write_bytes(images[6].path.read_bytes()[:60])
    with pytest.raises(ImageError, match=r"i6\.png cannot be read"):
        run(model, images, out)
    assert not out.exists()


def test_predicted_labels_are_the_surrogates(model: Model, images: tuple[ImageRecord, ...], tmp_path: Path) -> None:
    plain = tuple(ImageRecord(image_id=image.image_id, path=image.path) for image in images)
    report = run(model, plain, tmp_path / "out", labels="predicted")
    assert all(record["label"] == record["prediction_clean"] for record in report.records)
    assert report.manifest["settings"]["labels"] == "predicted"


def test_labels_from_one_are_suspected_unless_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FirstPixel(nn.Module):
        """Knows every image: its class is its first red level."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return -(255 * x[:, 0, 0, :1] - torch.arange(40)).abs()

    knowing = Model(FirstPixel(), input_size=(3, 4, 4), name="knowing")
    records = []
    for label in range(1, 31):
        pixels = np.zeros((4, 4, 3), np.uint8)
        pixels[0, 0, 0] = label - 1
        write_png(tmp_path / f"{label}.png", pixels)
        records.append(ImageRecord(image_id=str(label), path=tmp_path / f"{label}.png", label=label))
    asked: list[int] = []
    logits = linbp.Surrogate.logits

    def noted(self: linbp.Surrogate, images: torch.Tensor) -> torch.Tensor:
        asked.append(len(images))
        return logits(self, images)

    monkeypatch.setattr(linbp.Surrogate, "logits", noted)
    counted_from_one = tuple(records)
    with pytest.raises(ImageError, match="count from 1"):
        run(knowing, counted_from_one, tmp_path / "out", steps=2)
    assert asked[-2:] == [16, 14], "the surrogate is asked in batches"
    assert not (tmp_path / "out").exists()
    assert run(knowing, counted_from_one, tmp_path / "out", steps=2, trust_labels=True).made == 30


def test_progress_counts_every_image_and_step(model: Model, images: tuple[ImageRecord, ...], tmp_path: Path) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    run(model, images, tmp_path / "out", progress=lambda stage, *at: seen.setdefault(stage, []).append(at))
    assert list(seen) == ["reading images", "capturing the surrogate", "crafting"]
    for stage, steps in seen.items():
        done = [now for now, _ in steps]
        assert done == sorted(done), stage
        assert steps[-1][0] == steps[-1][1], stage
    assert seen["crafting"][-1] == (4 * COUNT, 4 * COUNT)


def test_hits_are_counted_where_the_target_is_not_the_label(tmp_path: Path) -> None:
    class Reddest(nn.Module):
        """Its class is 0 where red is the strongest channel, 1 where green is, 2 where blue is."""

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.relu(image.mean((2, 3)))

    records = []
    for number in range(6):
        pixels = np.full((8, 8, 3), 100, np.uint8)
        pixels[..., number % 3] = 110 if number < 3 else 200
        write_png(tmp_path / f"{number}.png", pixels)
        records.append(ImageRecord(image_id=str(number), path=tmp_path / f"{number}.png", target=0))
    surrogate = Model(Reddest(), input_size=(3, 8, 8))
    found = run(surrogate, tuple(records), tmp_path / "out", labels="predicted", eps="16/255", steps=16).summary()
    # Two are red already; of the other four the two whose colours are near become red.
    assert (found["images"], found["aimed"], found["surrogate_hit"]) == (6, 4, 2)


def test_an_image_that_gets_another_size_during_the_job(
    model: Model, images: tuple[ImageRecord, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = job._craft_all

    def later(*given: Any) -> Any:
        write_png(images[1].path, np.zeros((5, 5, 3), np.uint8))
        return whole(*given)

    monkeypatch.setattr(job, "_craft_all", later)
    with pytest.raises(ImageError, match=r"i1\.png.*changed"):
        run(model, images, tmp_path / "out")


def test_folders_of_names_that_are_no_utf_8(model: Model, tmp_path: Path) -> None:
    odd = tmp_path / "l\udce9"
    try:
        odd.mkdir()
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system has no such names")
    write_png(odd / "a.png", np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    (odd / "list.csv").write_text("file,label\na.png,1\n")
    listed = list_images(odd / "list.csv")
    report = run(model, listed, odd / "out", command=f"linbp craft {odd}")
    assert (report.made, report.kept) == (1, 0)
    again = run(model, listed, odd / "out")
    assert (again.made, again.kept) == (0, 1)
    assert again.records[0]["file"] == str(odd.resolve() / "a.png")
    assert again.manifest["runs"][0]["command"] == f"linbp craft {odd}"


def test_an_empty_name_is_no_folder_of_adversarial_images(
    model: Model, images: tuple[ImageRecord, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(StoreError, match="is empty"):
        craft_folder(model, images, "", "ifgsm", eps="8/255", steps=2)
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("text", "old", "asked"),
    [
        ("mdi2fgsm(scale=8/6)", "di(scale=1.3333333333333333) + mi", ["di(scale=8/6) + mifgsm", "mi + di(scale=8/6)"]),
        ("pgd >> ila(at='1')", "random-start >> ila(at='1')", ["pgd >> ila(at='1')"]),
    ],
)
def test_a_folder_goes_on_with_its_recipe_however_it_is_written(
    model: Model, images: tuple[ImageRecord, ...], tmp_path: Path, text: str, old: str, asked: list[str]
) -> None:
    """Manifests of before have parts without names, long numbers, and the stage before under `guide`."""
    run(model, images, tmp_path / "out", recipe=text)
    whole = contents(tmp_path / "out")
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["settings"]["recipe"] == text
    guide = None
    for stage in manifest["recipe"]["stages"]:
        guide = {**stage, "guide": guide}
    path.write_text(json.dumps({**manifest, "recipe": guide, "settings": {**manifest["settings"], "recipe": old}}))
    assert Recipe.from_dict(json.loads(path.read_text())["recipe"]) == Recipe.parse(text)
    for number, again in enumerate([text, *asked]):
        (tmp_path / "out" / f"i{number}.png").unlink()
        report = run(model, images, tmp_path / "out", recipe=again)
        assert (report.made, report.kept) == (1, COUNT - 1)
        assert report.manifest["settings"]["recipe"] == old
        assert contents(tmp_path / "out") == whole
    with pytest.raises(StoreError, match=r"recipe: .* -> mifgsm"):
        run(model, images, tmp_path / "out", recipe="mifgsm")


def test_settings_are_resolved_once_a_job(
    model: Model, images: tuple[ImageRecord, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(monkeypatch)
    assert run(model, images, tmp_path / "out").made == COUNT
    assert run(model, images, tmp_path / "out").made == 0
    assert calls == {"resolve": 2, "check_steps": 2, "check_targets": 2, "check_pool": 2, "check_budget": 2, "parse": 2}
