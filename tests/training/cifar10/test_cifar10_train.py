"""A whole training: what it writes, how it goes on, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from linbp import Model
from linbp.data.cifar10 import Cifar10
from linbp.errors import ImageError, ModelError, StoreError
from linbp.jobs import folder as job_folder
from linbp.jobs import rows as job_rows
from linbp.models import cifar10 as trained
from linbp.models import load_model
from linbp.training.cifar10 import TrainReport, train
from linbp.training.loop import TrainingProgress
from linbp.zoo import Training
from linbp.zoo.architectures import build

PER_EPOCH, EPOCHS = 5, 3
STEPS = PER_EPOCH * EPOCHS


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture(scope="module")
def data() -> Cifar10:
    """Images whose colour tells the class, nearly."""
    draw = np.random.default_rng(0)
    labels = np.arange(130) % 10
    colours = draw.integers(0, 200, (10, 1, 1, 3))
    pixels = (colours[labels] + draw.integers(0, 56, (130, 32, 32, 3))).astype(np.uint8)
    images, classes = torch.from_numpy(pixels), torch.from_numpy(labels)
    return Cifar10(images[:90], classes[:90], images[90:], classes[90:])


def settings(**changes: Any) -> Training:
    return Training(
        **{"architecture": "plain", "width": 0.1, "epochs": EPOCHS, "batch_size": 16, "learning_rate": 0.4, **changes}
    )


def contents(report: TrainReport) -> bytes:
    return report.weights.read_bytes()


def killed_after(steps: int) -> TrainingProgress:
    def progress(stage: str, done: int, total: int, words: str) -> None:
        assert (stage, total) == ("plain", STEPS)
        if done >= steps and not words:
            raise Killed

    return progress


@pytest.fixture(scope="module")
def whole(data: Cifar10, tmp_path_factory: pytest.TempPathFactory) -> TrainReport:
    """An uninterrupted training."""
    return train(data, settings(), tmp_path_factory.mktemp("whole") / "plain", command="the command")


def test_card_log_and_weights_agree(data: Cifar10, whole: TrainReport) -> None:
    card, folder = whole.card, whole.weights.parent
    assert sorted(path.name for path in folder.iterdir() if path.name != ".lock") == [
        "log.jsonl",
        "plain.json",
        "plain.md",
        "plain.safetensors",
    ]
    assert json.loads((folder / "plain.json").read_text()) == card
    assert card["file_sha256"] == hashlib.sha256(whole.weights.read_bytes()).hexdigest()
    assert card["bytes"] == whole.weights.stat().st_size
    tensors = load_file(whole.weights)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    # The accuracy again, from the file alone and image by image.
    network = build("plain", 0.1).eval()
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=False)
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])
    right = 0
    with torch.no_grad():
        for image, label in zip(data.test_images, data.test_labels, strict=True):
            pixels = ((image / 255 - mean) / std).permute(2, 0, 1)
            right += int(network(pixels[None]).argmax() == label)
    assert card["accuracy"] == {"right": right, "n": 40, "share": right / 40}
    assert right > 12  # chance is 4
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in log] == [1, 2, 3]
    assert log[-1] == card["last_epoch"]
    assert log[-1]["loss"] < log[0]["loss"]
    assert abs(log[-1]["test"]["right"] - right) <= 1  # the same weights before they were rounded
    assert card["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert (card["seed"], card["epochs"], card["device"], card["command"]) == (0, EPOCHS, "cpu", "the command")
    assert card["data"] == "not the whole of CIFAR-10"
    assert card["minutes"] >= 0
    assert {"torch", "linbp", "python"} <= card["versions"].keys()
    page = (folder / "plain.md").read_text()
    for words in (card["file_sha256"], f"{right / 40:.2%}", "the command", "SGD, Nesterov's momentum 0.9", "Seed | 0"):
        assert words in page


def test_the_weights_load_as_a_model(data: Cifar10, whole: TrainReport) -> None:
    model = load_model(f"cifar10:{whole.weights}")
    assert isinstance(model, Model)
    images = data.test_images.permute(0, 3, 1, 2) / 255
    assert int((model.logits(images).argmax(1) == data.test_labels).sum()) == whole.card["accuracy"]["right"]
    facts = model.identity()
    assert facts["weights_sha256"] == whole.card["weights_sha256"]
    assert facts["file_sha256"] == whole.card["file_sha256"]
    assert facts["dtype"] == "float32"


@pytest.mark.parametrize("kills", [[1], [PER_EPOCH - 1, PER_EPOCH, PER_EPOCH + 1], [7, 7, 12], [STEPS]])
def test_killed_trainings_end_with_the_same_bits(
    data: Cifar10, whole: TrainReport, tmp_path: Path, kills: list[int]
) -> None:
    for steps in kills:
        with pytest.raises(Killed):
            train(data, settings(), tmp_path / "plain", checkpoint_minutes=0, progress=killed_after(steps))
    report = train(data, settings(), tmp_path / "plain", checkpoint_minutes=0)
    # A step is told before its checkpoint is made, so the one it was killed in is taken again.
    assert report.resumed_at == (kills[-1] - 1 or None)
    assert contents(report) == contents(whole)
    assert report.card["accuracy"] == whole.card["accuracy"]
    strip = [{key: value for key, value in entry.items() if key != "seconds"} for entry in log_of(report)]
    assert strip == [{key: value for key, value in entry.items() if key != "seconds"} for entry in log_of(whole)]
    # A run of which nothing was kept took no part.
    assert len(report.card["runs"]) == len({steps for steps in kills if steps > 1}) + 1


def log_of(report: TrainReport) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (report.weights.parent / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_end_while_results_are_written(
    data: Cifar10, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    """The process ends before each of the files that a training writes, one after the other."""
    chosen = settings(epochs=1, optimizer=optimizer, learning_rate=0.01, cutmix=0.5, precision="mixed")
    wanted = contents(train(data, chosen, tmp_path / "whole"))
    write, written = job_folder.write_atomically, []

    def write_until(path: Path, content: bytes) -> None:
        if path.name not in written:
            written.append(path.name)
            (path.parent / f".{path.name}.1.tmp").write_bytes(content[:10])  # as a kill in the middle leaves it
            raise Killed
        write(path, content)

    for module in (job_folder, job_rows):
        monkeypatch.setattr(module, "write_atomically", write_until)
    for _ in range(5):
        with pytest.raises(Killed):
            train(data, chosen, tmp_path / "plain", checkpoint_minutes=0)
    assert written == ["checkpoint.pt", "log.jsonl", "plain.safetensors", "plain.md", "plain.json"]
    report = train(data, chosen, tmp_path / "plain")
    assert contents(report) == wanted
    assert not [path for path in report.weights.parent.iterdir() if path.suffix == ".tmp" or path.suffix == ".pt"]
    assert len(log_of(report)) == 1


def test_a_finished_training_is_left_alone(data: Cifar10, whole: TrainReport) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in whole.weights.parent.iterdir() if path.name != ".lock"}
    again = train(data, settings(), whole.weights.parent)
    assert again.already_finished
    assert again.card == whole.card
    after = {path.name: path.stat().st_mtime_ns for path in whole.weights.parent.iterdir() if path.name != ".lock"}
    assert after == before


def test_a_folder_of_a_version_that_knew_fewer_settings(data: Cifar10, whole: TrainReport, tmp_path: Path) -> None:
    folder = shutil.copytree(whole.weights.parent, tmp_path / "plain")
    card = json.loads((folder / "plain.json").read_text())
    del card["settings"]["unshifted"]
    (folder / "plain.json").write_text(json.dumps(card))
    assert train(data, settings(), folder).already_finished
    with pytest.raises(StoreError, match=r"unshifted: 0\.0 -> 0\.5"):
        train(data, settings(unshifted=0.5), folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"epochs": 4}, "epochs: 3 -> 4"),
        ({"width": 0.2}, "width: 0.1 -> 0.2"),
        ({"batch_size": 8, "learning_rate": 0.05}, "batch_size: 16 -> 8; learning_rate: 0.4 -> 0.05"),
    ],
)
def test_other_settings_are_refused(
    data: Cifar10, whole: TrainReport, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(Killed):
        train(data, settings(), tmp_path / "started", checkpoint_minutes=0, progress=killed_after(3))
    kept = (tmp_path / "started" / "checkpoint.pt").read_bytes()
    for folder in (tmp_path / "started", whole.weights.parent):
        with pytest.raises(StoreError, match="other settings") as caught:
            train(data, settings(**changes), folder)
        assert words in caught.value.message
    assert (tmp_path / "started" / "checkpoint.pt").read_bytes() == kept


def test_other_data_are_refused(data: Cifar10, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(data, settings(), tmp_path / "started", checkpoint_minutes=0, progress=killed_after(3))
    with pytest.raises(StoreError, match="data_sha256: "):
        train(data.first(80, None), settings(), tmp_path / "started")


def test_a_checkpoint_of_another_architecture_is_refused(data: Cifar10, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(data, settings(), tmp_path / "plain", checkpoint_minutes=0, progress=killed_after(3))
    with pytest.raises(StoreError, match="architecture: plain -> vgg19_bn"):
        train(data, settings(architecture="vgg19_bn"), tmp_path / "plain")


def test_damaged_checkpoints(data: Cifar10, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(data, settings(), tmp_path / "plain", checkpoint_minutes=0, progress=killed_after(3))
    path = tmp_path / "plain" / "checkpoint.pt"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match=r"checkpoint\.pt") as caught:
        train(data, settings(), tmp_path / "plain")
    assert "Delete it" in caught.value.hint
    torch.save({"something": "else"}, path)
    with pytest.raises(StoreError, match="linbp zoo train"):
        train(data, settings(), tmp_path / "plain")


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "cannot be read"), ("[]", "was not written by linbp zoo train"), ("{}", "is no card of linbp zoo train")],
)
def test_damaged_cards(data: Cifar10, tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "plain.json").write_text(content)
    with pytest.raises(StoreError, match=rf"plain.json {words}"):
        train(data, settings(), tmp_path)


def test_folders_of_something_else_are_refused(data: Cifar10, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"checkpoint\.pt.*plain\.json.*notes\.txt"):
        train(data, settings(), tmp_path)
    with pytest.raises(StoreError, match="cannot be written"):
        train(data, settings(), tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_two_processes_at_once_are_refused(data: Cifar10, tmp_path: Path) -> None:
    def second(stage: str, done: int, total: int, words: str) -> None:
        if done == 2:
            with pytest.raises(StoreError, match=r"[Aa]nother process"):
                train(data, settings(), tmp_path / "plain")
            raise Killed

    with pytest.raises(Killed):
        train(data, settings(), tmp_path / "plain", progress=second)


def test_a_training_that_diverges_keeps_its_last_checkpoint(data: Cifar10, tmp_path: Path) -> None:
    chosen = settings(learning_rate=1e30, warm_up=0.9)
    with pytest.raises(ModelError, match=r"plain.*diverged") as caught:
        train(data, chosen, tmp_path / "plain", checkpoint_minutes=0)
    assert "--learning-rate" in caught.value.hint
    state = torch.load(tmp_path / "plain" / "checkpoint.pt", weights_only=True)
    assert torch.isfinite(state["trainer"]["loss"])
    assert state["step"] < STEPS


def test_too_few_images(data: Cifar10, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"10 .*16"):
        train(data.first(10, None), settings(), tmp_path / "plain")
    report = train(data.first(16, 1), settings(epochs=1), tmp_path / "one")
    assert report.card["accuracy"]["n"] == 1


def test_a_training_that_starts_from_weights_and_with_another_activation(
    data: Cifar10, whole: TrainReport, tmp_path: Path
) -> None:
    """With steps too small to change a 16-bit weight, the network is the first one with GELU for ReLU."""
    first, slow = load_file(whole.weights), settings(activation="gelu", epochs=1, learning_rate=1e-9)
    report = train(data, slow, tmp_path / "plain", first_weights=first)
    trained_weights = load_file(report.weights)
    parameters = [name for name in first if "running" not in name]
    assert all(torch.equal(trained_weights[name], first[name]) for name in parameters)
    assert any(not torch.equal(trained_weights[name], first[name]) for name in first)  # batch norms have seen GELU's
    model = load_model(f"cifar10:{report.weights}")
    assert isinstance(model, Model)
    network = build("plain", 0.1).eval()
    network.load_state_dict({name: tensor.float() for name, tensor in trained_weights.items()}, strict=False)
    for layer in network.modules():
        if isinstance(layer, torch.nn.ReLU):
            layer.register_forward_pre_hook(lambda _, given: (given[0].clone(),))
            layer.register_forward_hook(lambda _, given, __: torch.nn.functional.gelu(given[0]))
            layer.inplace = False
    images = data.test_images[:4].permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]))
    with torch.no_grad():
        torch.testing.assert_close(model.logits(images), network((images - mean) / std), rtol=1e-4, atol=1e-4)
    page = report.weights.with_suffix(".md").read_text()
    assert report.card["settings"]["first_weights"] in page
    assert "every activation is GELU" in page
    for other in (settings(activation="gelu", epochs=1, learning_rate=1e-9), settings(epochs=1, learning_rate=1e-9)):
        with pytest.raises(StoreError, match="other settings"):
            train(data, other, tmp_path / "plain")
    with pytest.raises(ModelError, match=r"not those of plain with width 0\.2"):
        train(data, settings(width=0.2), tmp_path / "wide", first_weights=first)


def test_weights_that_ship_fit_and_have_cards() -> None:
    """At most 12 MB in all, each with the card that made it."""
    found = trained.packaged()
    assert sum(path.stat().st_size for path in found.values()) <= 12_000_000
    for name, path in found.items():
        card = trained.read_card(path)
        assert (card["data"], card["accuracy"]["n"]) == ("CIFAR-10", 10_000)
        assert isinstance(load_model(f"demo:cifar10/{name}"), Model)


def test_weights_in_the_package_have_names(whole: TrainReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "PACKAGE", tmp_path)
    with pytest.raises(ModelError, match="CIFAR-10 weights") as caught:
        load_model("demo:cifar10/plain")
    assert "linbp zoo train plain" in caught.value.hint
    for end in ("safetensors", "json"):
        (tmp_path / f"plain_narrow.{end}").write_bytes(whole.weights.with_suffix(f".{end}").read_bytes())
    model = load_model("demo:cifar10/plain_narrow")
    assert isinstance(model, Model)
    assert (model.name, model.input_size, model.class_names[0]) == (
        "demo:cifar10/plain_narrow",
        (3, 32, 32),
        "airplane",
    )
    with pytest.raises(ModelError, match="demo:cifar10/plain_narow") as caught:
        load_model("demo:cifar10/plain_narow")
    assert "Did you mean 'plain_narrow'?" in caught.value.hint


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.with_suffix(".json").unlink(), r"has no card plain.json beside it"),
        (lambda path: path.with_suffix(".json").write_text("{"), r"plain.json is not readable as JSON"),
        (lambda path: path.with_suffix(".json").write_text("{}"), r"plain.json is no card of linbp zoo train"),
        (lambda path: path.write_bytes(path.read_bytes()[:-4]), r"is not the file that its card plain.json describes"),
        (lambda path: path.unlink(), r"is not there"),
    ],
)
def test_weights_without_their_card(whole: TrainReport, tmp_path: Path, damage: Any, words: str) -> None:
    for end in ("safetensors", "json"):
        (tmp_path / f"plain.{end}").write_bytes(whole.weights.with_suffix(f".{end}").read_bytes())
    assert isinstance(load_model(f"cifar10:{tmp_path / 'plain.safetensors'}"), Model)
    damage(tmp_path / "plain.safetensors")
    with pytest.raises(ModelError, match=words):
        load_model(f"cifar10:{tmp_path / 'plain.safetensors'}")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cifar10:plain", "Which weights of 'plain'"),
        ("cifar10:", "Which weights of ''"),
        ("cifar10:some/net.pth", "'some/net.pth' is not there"),
    ],
)
def test_names_without_weights(name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_model(name)
