"""`linbp zoo` as a user types it: in this process, and as one of its own, killed, interrupted, out of disk."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Answer, Run
from torchvision.datasets import CIFAR10

from linbp.zoo import PRESETS

SMALL = ("--width", "0.1", "--epochs", "2", "--batch-size", "20", "--learning-rate", "0.4")


@pytest.fixture
def linbp(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """120 coloured images in torchvision's layout, which it takes for the original."""
    inside = tmp_path / "cifar10" / "cifar-10-batches-py"
    inside.mkdir(parents=True)
    draw, sums = np.random.default_rng(0), []
    colours = draw.integers(0, 256, (10, 3, 1), dtype=np.uint8)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"):
        pixels = np.broadcast_to(np.tile(colours, (2, 1, 1)), (20, 3, 1024)).reshape(20, -1)
        content = {"data": pixels.copy(), "labels": [*range(10)] * 2, "label_names": ["a"]}
        (inside / name).write_bytes(pickle.dumps(content))
        sums.append([name, hashlib.md5((inside / name).read_bytes()).hexdigest()])
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:6])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums[6][1]})
    return "cifar10"


def error(answer: Answer) -> tuple[str, str]:
    """The two lines of a fault of the user's."""
    assert (answer.status, answer.out) == (2, ""), answer
    lines = answer.err.splitlines()
    assert len(lines) == 2, answer.err
    assert lines[0].startswith("Error: ")
    assert lines[1].startswith("Hint: ")
    return lines[0].removeprefix("Error: "), lines[1].removeprefix("Hint: ")


def test_the_list(linbp: Run) -> None:
    shown = linbp("zoo", "list")
    assert shown.status == 0
    own = PRESETS["cpu"]["vgg19_bn"]
    for words in ("20,040,522", "Wide ResNet 28-10", f"width {own['width']:g}, {own['epochs']} epochs"):
        assert words in " ".join(shown.out.split())
    found = json.loads(linbp("zoo", "list", "--json").out)
    networks = {entry["name"]: entry for entry in found["architectures"]}
    assert networks["wrn28_10"]["parameters"] == 36_479_194
    assert networks["wrn28_10"]["presets"].keys() == {"gpu"}
    assert networks["plain"]["presets"]["cpu"]["width"] < networks["plain"]["presets"]["gpu"]["width"] == 1
    assert all(entry["accuracy"] > 0.5 for entry in found["weights"])


def test_networks_are_trained_listed_and_used(linbp: Run, data: str) -> None:
    first = linbp("zoo", "train", "plain", "resnet18", "--data", data, "--out", "zoo", *SMALL)
    assert (first.status, first.err) == (0, "")
    lines = first.out.splitlines()
    assert [line.partition(":")[0] for line in lines if " epoch " in line] == [
        f"{name} epoch {number} of 2" for name in ("plain", "resnet18") for number in (1, 2)
    ]
    assert "plain, width 0.1, seed 0" in first.out
    assert "linbp inspect cifar10:zoo/resnet18/resnet18.safetensors" in first.out
    again = json.loads(linbp("zoo", "train", "plain", "resnet18", "--data", data, "--out", "zoo", *SMALL, "--json").out)
    for entry, name in zip(again["networks"], ("plain", "resnet18"), strict=True):
        assert entry["already_finished"]
        assert entry["card"]["architecture"] == name
        assert entry["card"]["command"] == "linbp " + " ".join(
            ["zoo", "train", "plain", "resnet18", "--data", data, "--out", "zoo", *SMALL]
        )
        assert entry["card"]["accuracy"]["n"] == 20
        assert Path(entry["weights"]).is_file()
        assert Path(entry["weights"]).with_suffix(".md").is_file()
    assert linbp("zoo", "train", "plain", "resnet18", "--data", data, "--out", "zoo", *SMALL).out.count(
        "finished before"
    )
    inspected = linbp("inspect", "cifar10:zoo/plain/plain.safetensors", "--json")
    assert inspected.status == 0
    assert len(json.loads(inspected.out)["sites"]) == 7


def test_all_means_all_of_the_preset(linbp: Run, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from linbp.zoo import presets

    monkeypatch.setitem(presets.PRESETS, "cpu", {"plain": {"width": 0.1}, "cct2_3x2": {"optimizer": "adamw"}})
    answer = linbp(
        *("zoo", "train", "--all", "--data", data, "--out", "zoo", "--epochs", "1", "--batch-size", "20", "--json"),
        *("--train-images", "40", "--test-images", "7", "--seed", "3", "--precision", "mixed", "--unshifted", "1"),
    )
    assert (answer.status, answer.err) == (0, "")
    cards = [entry["card"] for entry in json.loads(answer.out)["networks"]]
    assert [card["architecture"] for card in cards] == ["plain", "cct2_3x2"]
    assert {(card["seed"], card["training_images"], card["accuracy"]["n"]) for card in cards} == {(3, 40, 7)}
    assert [card["settings"]["optimizer"] for card in cards] == ["sgd", "adamw"]
    assert [card["settings"]["unshifted"] for card in cards] == [1, 1]
    assert "epochs without shifts, the last ones: 1;" in Path("zoo/plain/plain.md").read_text()
    assert {card["settings"]["precision"] for card in cards} == {"mixed"}


def test_a_training_goes_on_from_a_network_with_another_activation(linbp: Run, data: str) -> None:
    from linbp.models import load_model

    train = ("zoo", "train", "plain", "--data", data, "--epochs", "1", "--batch-size", "20", "--width", "0.5")
    answer = linbp(*train, "--out", "gelu", "--from", "demo:cifar10/plain", "--activation", "gelu", "--json")
    assert (answer.status, answer.err) == (0, "")
    (entry,) = json.loads(answer.out)["networks"]
    settings = entry["card"]["settings"]
    first = load_model("demo:cifar10/plain").identity()["weights_sha256"]
    assert (settings["activation"], settings["first_weights"]) == ("gelu", first)
    answer = linbp("inspect", f"cifar10:{entry['weights']}", "--json")
    assert {site["op"] for site in json.loads(answer.out)["sites"]} == {"gelu"}


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ((), "No network was named.", "or --all"),
        (("plain", "--all"), "Names and --all were both given.", "linbp zoo list"),
        (("plan",), "There is no CIFAR-10 architecture 'plan'.", "Did you mean 'plain'?"),
        (("wrn28_10",), "wrn28_10 has no settings in the preset cpu.", "--width and --epochs"),
        (("plain", "--epochs", "0"), "Epochs are 0.", "at least 1"),
        (("plain", "--width", "-1"), "The width is -1.0.", "above 0"),
        (("plain", "--batch-size", "1"), "The batch size is 1.", "at least 2"),
        (("plain", "--batch-size", "101"), "100 training images do not fill a batch of 101.", "--batch-size"),
        (
            ("plain", "vgg19_bn", "--from", "demo:cifar10/plain"),
            "--from starts one network, and 2 are named.",
            "its own",
        ),
        (
            ("plain", "--batch-size", "9", "--from", "demo:cifar10/vgg19_bn"),
            "The weights to start from are not those of plain",
            "--width",
        ),
        (("plain", "--from", "demo:cifar10/plan"), "There is no demo:cifar10/plan.", "Did you mean 'plain'?"),
        (("plain", "--train-images", "0"), "--train-images is 0.", "at least 1"),
        (("plain", "--device", "nowhere"), "There is no device 'nowhere' here", "PyTorch have: cpu"),
    ],
)
def test_what_cannot_be_trained(linbp: Run, data: str, arguments: tuple[str, ...], message: str, hint: str) -> None:
    lines = error(linbp("zoo", "train", *arguments, "--data", data, "--out", "zoo"))
    assert message in lines[0]
    assert hint in lines[1]
    assert not list(Path("zoo").glob("*/*.safetensors"))


def test_missing_and_partial_data(linbp: Run, data: str) -> None:
    message, hint = error(linbp("zoo", "train", "plain", "--data", "nowhere", "--out", "zoo"))
    assert (message, hint) == ("The folder 'nowhere' is not there.", "Check --data, or let --download fetch CIFAR-10.")
    (Path(data) / "cifar-10-batches-py" / "data_batch_4").unlink()
    message, _ = error(linbp("zoo", "train", "plain", "--data", data, "--out", "zoo"))
    assert message == "cifar10/cifar-10-batches-py holds a part of CIFAR-10 only: data_batch_4 is missing."
    shutil.rmtree(data)
    Path(data).mkdir()
    message, _ = error(linbp("zoo", "train", "plain", "--data", data, "--out", "zoo"))
    assert message == "cifar10 holds no CIFAR-10."
    (Path(data) / "train_0.webp").write_bytes(b"")
    message, _ = error(linbp("zoo", "train", "plain", "--data", data, "--out", "zoo"))
    assert message.startswith("cifar10 holds a part of CIFAR-10 only: train_1.webp, ")
    assert not Path("zoo").exists()


def test_a_download_that_fails(linbp: Run, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(data)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")  # nobody listens there
    message, hint = error(linbp("zoo", "train", "plain", "--data", data, "--download", "--out", "zoo"))
    assert message.startswith("CIFAR-10 could not be fetched: ")
    assert "Run the same command again" in hint


def test_other_settings_and_other_checkpoints(linbp: Run, data: str) -> None:
    assert linbp("zoo", "train", "plain", "resnet18", "--data", data, "--out", "zoo", *SMALL).status == 0
    message, hint = error(linbp("zoo", "train", "plain", "--data", data, "--out", "zoo", *SMALL, "--seed", "1"))
    assert message == "zoo/plain was started with other settings: seed: 0 -> 1."
    assert "--out" in hint
    torch.save({"format": "zoo 1", "settings": {"architecture": "vgg19_bn"}}, "zoo/resnet18/checkpoint.pt")
    message, _ = error(linbp("zoo", "train", "resnet18", "--data", data, "--out", "zoo", *SMALL))
    assert "architecture: vgg19_bn -> resnet18" in message
    Path("zoo/resnet18/checkpoint.pt").write_bytes(b"half a file")
    message, hint = error(linbp("zoo", "train", "resnet18", "--data", data, "--out", "zoo", *SMALL))
    assert message.startswith("zoo/resnet18/checkpoint.pt cannot be read: ")
    assert hint.startswith("Delete it")
    assert Path("zoo/resnet18/resnet18.safetensors").is_file()


def test_a_demonstration_that_is_not_there(linbp: Run) -> None:
    message, hint = error(linbp("inspect", "demo:cifar10/nothing"))
    assert message.startswith("There is no demo:cifar10/nothing")
    assert hint


class Process:
    """`linbp zoo train` on the mosaics, as a process of its own."""

    def __init__(self, folder: Path, mosaics: Path) -> None:
        self.folder, self.mosaics = folder, mosaics

    def start(self, out: str, *options: str, **how: Any) -> subprocess.Popen[str]:
        command = [
            *(sys.executable, "-m", "linbp.cli", "zoo", "train", "plain", "--data", str(self.mosaics), "--out", out),
            *("--width", "0.1", "--epochs", "4", "--batch-size", "40", "--train-images", "400"),
            *("--test-images", "50", "--checkpoint-minutes", "0", *options),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how
        )

    def wait_for(self, process: subprocess.Popen[str], what: Callable[[], bool]) -> None:
        """Until something is true; fails if the process ends before."""
        while not what():
            assert process.poll() is None, process.communicate()
            time.sleep(0.001)

    def weights(self, out: str) -> bytes:
        return (self.folder / out / "plain" / "plain.safetensors").read_bytes()

    def epochs(self, out: str) -> int:
        log = self.folder / out / "plain" / "log.jsonl"
        return log.read_bytes().count(b"\n") if log.exists() else 0

    def version(self, out: str) -> int:
        """Another number for each checkpoint; 0 for none."""
        try:
            return (self.folder / out / "plain" / "checkpoint.pt").stat().st_ino
        except FileNotFoundError:
            return 0


@pytest.fixture
def train(tmp_path: Path, cifar_mosaics: Path) -> Process:
    return Process(tmp_path, cifar_mosaics)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_killed_and_interrupted_trainings_go_on_to_the_same_bits(train: Process) -> None:
    whole = train.start("whole", "--json")
    out, err = whole.communicate()
    assert (whole.returncode, err) == (0, "")
    for_comparison = json.loads(out)["networks"][0]["card"]

    # Killed with the first checkpoint of all, inside an epoch, and behind one.
    for when in (lambda: train.version("out") > 0, lambda: train.epochs("out") >= 1, lambda: train.epochs("out") >= 2):
        process = train.start("out")
        before = train.version("out")
        train.wait_for(process, lambda before=before, when=when: train.version("out") != before and when())
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert train.version("out")
        assert not (train.folder / "out" / "plain" / "plain.json").exists()

    interrupted = train.start("out")
    before = train.version("out")
    train.wait_for(interrupted, lambda: train.version("out") != before)
    interrupted.send_signal(signal.SIGINT)
    out, err = interrupted.communicate()
    assert interrupted.returncode == 130, err
    step = torch.load(train.folder / "out" / "plain" / "checkpoint.pt", weights_only=True)["step"]
    (line,) = err.splitlines()
    assert line == f"Interrupted: {step} steps of plain are kept in out/plain; the same command goes on from there."

    last = train.start("out", "--json")
    out, err = last.communicate()
    assert (last.returncode, err) == (0, "")
    (entry,) = json.loads(out)["networks"]
    assert entry["resumed_at_step"] == step
    assert train.weights("out") == train.weights("whole")
    assert entry["card"]["accuracy"] == for_comparison["accuracy"]
    assert entry["card"]["accuracy"]["share"] > 0.2  # it has learnt something: chance is 0.1
    assert train.epochs("out") == 4


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk_loses_nothing(train: Process) -> None:
    import resource

    process = train.start("out")
    train.wait_for(process, lambda: train.epochs("out") >= 1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    checkpoint = train.folder / "out" / "plain" / "checkpoint.pt"
    before = checkpoint.read_bytes()

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    full = train.start("out", preexec_fn=limit)
    out, err = full.communicate()
    assert full.returncode == 2, err
    lines = err.splitlines()
    assert len(lines) == 2, err
    assert lines[0] == "Error: out/plain/checkpoint.pt cannot be written: File too large."
    assert "run the same command again" in lines[1]
    assert checkpoint.read_bytes() == before
    assert not list(checkpoint.parent.glob(".*.tmp"))

    last = train.start("out")
    out, err = last.communicate()
    assert (last.returncode, err) == (0, "")
    assert "went on from step" in " ".join(out.split())
