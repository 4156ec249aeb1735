"""`linbp linearize` as a user types it: killed, interrupted, out of disk, misused; and its result in other commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from linbp import load_model
from linbp.cli.app import main
from linbp.data.images import write_png

NETWORK = """
import torch
from torch import nn
import linbp


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(8 * 16, 4)

    def forward(self, x):
        x = nn.functional.gelu(self.norm(self.stem(x)))
        x = nn.functional.adaptive_avg_pool2d(torch.relu(self.block(x) + x), 4)
        return self.head(self.drop(x.flatten(1)))


def build(dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net()
        for norm in (net.norm, net.block[1]):
            norm.running_mean.normal_(0, 0.1)
        return linbp.Model(net.to(dtype), input_size=(3, 12, 12), mean=(0.5,) * 3, std=(0.25,) * 3, name="net")


def net(): return build()
def wide(): return build(torch.float64)


def knowing():
    model = build()
    model.module = Knowing()
    return model


class Knowing(nn.Module):
    '''Its class is the level of the first pixel, and it has a site.'''

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        level = (x[:, 0, 0, :1] * 0.25 + 0.5) * 255
        return -torch.relu((self.scale * level - torch.arange(40.0)).abs())
"""


class Answer(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Answer]
COUNT = 22


@pytest.fixture
def linbp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `linbp WORDS` in a folder with a network and photographs of four classes."""
    write_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["linbp", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Answer(int(ended.value.code or 0), captured.out, captured.err)

    return run


def write_inputs(folder: Path) -> None:
    (folder / "net.py").write_text(NETWORK)
    for number in range(COUNT):
        label = number % 4
        pixels = np.random.default_rng(number).integers(0, 120, (12, 12, 3), dtype=np.uint8)
        pixels[6 * (label // 2) : 6 * (label // 2) + 6, 6 * (label % 2) : 6 * (label % 2) + 6] += 100
        (folder / "photos" / str(label)).mkdir(parents=True, exist_ok=True)
        write_png(folder / "photos" / str(label) / f"{number}.png", pixels)


def words(out: str, *more: str, network: str = "net", start: str = "block") -> list[str]:
    given = ["linearize", f"file:net.py:{network}", "--start", start, "--data", "photos", "--out", out]
    return [*given, "--batch-size", "4", "--learning-rate", "0.05", *more]


def two_lines(answer: Answer) -> str:
    """The message of a fault: status 2, an error and a hint, nothing else."""
    assert (answer.status, answer.out) == (2, "")
    error, hint = answer.err.splitlines()
    assert error.startswith("Error: ")
    assert hint.startswith("Hint: ")
    return error


def test_from_the_network_to_adversarial_images_of_its_linear_form(linbp: Run) -> None:
    more = ["--epochs", "3", "--augment", "flip+crop", "--validation", "0.3"]
    status, out, err = linbp(*words("lins", *more, start="stem"))
    assert (status, err) == (0, "")
    assert "2 of 3 activations removed, 12 steps on 15 images" in out
    for row in ("before", "activations removed", "batch norms recalibrated", "fine-tuned"):
        assert f"\n {row} " in out
    assert "Next: linbp craft --surrogate lins/model.pt2 --recipe mi" in out

    status, out, _ = linbp("inspect", "lins/model.pt2", "--json")
    facts = json.loads(out)
    assert status == 0
    assert facts["model"]["mean"] == [0.5] * 3
    # What was removed is no site any more; the one after the sum has the path that it had.
    before = json.loads(linbp("inspect", "file:net.py:net", "--json").out)["sites"]
    assert [one["module_path"] for one in before] == ["", "block.2", ""]
    assert [(one["op"], one["module_path"]) for one in facts["sites"]] == [("relu", "")]

    craft = ["--recipe", "linbp(start=block, sites=all) + mi", "--data", "photos", "--out", "adv", "--steps", "2"]
    status, out, err = linbp("craft", "--surrogate", "lins/model.pt2", *craft, "--batch-size", "7")
    assert (status, err) == (0, "")
    assert f"{COUNT} adversarial images in adv" in out
    status, out, _ = linbp("evaluate", "adv", "--victim", "lins/model.pt2", "--victim", "file:net.py:net")
    assert status == 0

    status, out, err = linbp(*words("again", "--epochs", "0", start="0"), "--json")
    assert json.loads(out)["manifest"]["progress"] == {"step": 0, "steps": 0}


def test_the_help_teaches_by_example(linbp: Run) -> None:
    answer = linbp("linearize", "--help")
    assert answer.status == 0
    assert "linbp linearize timm:resnet18.a1_in1k --start layer3.1" in answer.out
    assert "Examples" in answer.out
    assert "[bold]" not in answer.out


def test_json_and_a_second_call(linbp: Run) -> None:
    status, out, err = linbp(*words("lins", "--epochs", "1", "--optimizer", "adamw", "--clip", "1"), "--json")
    assert (status, err) == (0, "")
    facts = json.loads(out)
    assert {"format": "linearize 1", **facts["manifest"]} == json.loads(Path("lins/manifest.json").read_text())
    assert facts["manifest"]["runs"][0]["command"].startswith("linbp linearize file:net.py:net --start block")
    assert (facts["resumed_at_step"], facts["already_finished"]) == (None, False)
    status, out, err = linbp(*words("lins", "--epochs", "1", "--optimizer", "adamw", "--clip", "1"))
    assert (status, err) == (0, "")
    assert "lins was finished before; nothing was done." in out
    assert "tuning.clip: 1.0 -> 2.0" in two_lines(
        linbp(*words("lins", "--epochs", "1", "--optimizer", "adamw", "--clip", "2"))
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--start", "9"], "There is no site 9"),
        (["--start", "1.0"], "The fraction 1.0 is outside"),
        (["--start", "'1.0'"], "runs no module called '1.0'"),
        (["--start", "blok"], "runs no module called 'blok'"),
        (["--start", "head"], "No site is executed at or after 'head'"),
        (["--sites", "outside"], "reaches no site"),
        (["--sites", "every"], "--sites every is not known"),
        (["--sites", "0,1"], "There is no site 0 from 'block' on"),
        (["--train-from", "tail"], "runs no module called 'tail'"),
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--data", "photos/0"], "has no label"),
        (["--validation", "1.5"], "1.5 of the images cannot be held out"),
        (["--validation", "0"], "0 of the images cannot be held out"),
        (["--validation", "nowhere"], "nowhere does not exist"),
        (["--first-label", "1"], "The label in sub-folder 0 of photos is 0"),
        (["--learning-rate", "-1"], "The learning rate is -1.0"),
        (["--epochs", "-1"], "Epochs are -1"),
        (["--batch-size", "1"], "which need two images in every batch"),
        (["--checkpoint-every", "0"], "Checkpoints cannot be 0 steps apart"),
        (["--device", "nonsense"], "There is no device 'nonsense'"),
        (["--out", "net.py"], "net.py cannot be written"),
        (["--out", "photos"], "photos is not empty and holds no manifest.json"),
    ],
)
def test_misuse_gives_two_lines(linbp: Run, more: list[str], message: str) -> None:
    assert message in two_lines(linbp(*words("out", *more)))
    assert not Path("out").exists()


def test_networks_and_labels_that_do_not_fit(linbp: Run) -> None:
    Path("net.onnx").write_bytes(b"no network")
    assert "net.onnx" in two_lines(linbp("linearize", "net.onnx", *words("out")[2:]))
    two_lines(linbp("linearize", "net.pth", *words("out")[2:]))
    assert "Mixed precision is for float32" in two_lines(linbp(*words("out", "--precision", "mixed", network="wide")))
    Path("photos/3").rename("photos/4")
    assert "but net has the classes 0 to 3" in two_lines(linbp(*words("out")))
    assert not Path("out").exists()


def test_an_onnx_file_without_activations(linbp: Run) -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["logits"], axes=[2, 3], keepdims=0)],
        "g",
        [helper.make_tensor_value_info("x", floats, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", floats, ["N", 3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), "net.onnx")
    assert "no activation" in two_lines(linbp("linearize", "net.onnx", *words("out")[2:]))


def test_labels_that_count_from_one(linbp: Run) -> None:
    lines = ["file,label"]
    for number in range(20):
        pixels = np.full((12, 12, 3), number, np.uint8)
        write_png(Path("photos") / f"k{number}.png", pixels)
        lines.append(f"k{number}.png,{number + 1}")
    Path("photos/list.csv").write_text("\n".join(lines) + "\n")
    given = words("out", "--data", "photos/list.csv", "--epochs", "1", network="knowing", start="0")
    assert "20 as label - 1 and 0 as label" in two_lines(linbp(*given))
    assert linbp(*given, "--trust-labels", "--out", "trusted").status == 0
    status, out, err = linbp(*given, "--first-label", "1", "--out", "from-one", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["manifest"]["accuracy"]["before"]["training"]["accuracy"] == 1.0


def test_a_folder_of_adversarial_images_is_another_job(linbp: Run) -> None:
    attack = ["--recipe", "fgsm", "--data", "photos"]
    assert linbp("craft", "--surrogate", "file:net.py:net", *attack, "--out", "adv").status == 0
    assert "adv holds another job" in two_lines(linbp(*words("adv")))
    assert linbp(*words("lins", "--epochs", "0")).status == 0
    two_lines(linbp("craft", "--surrogate", "file:net.py:net", *attack, "--out", "lins"))
    two_lines(linbp("evaluate", "lins", "--victim", "file:net.py:net"))


def test_a_loss_that_leaves_the_range_of_floats(linbp: Run) -> None:
    answer = linbp(*words("out", "--learning-rate", "1e30", "--warm-up", "0", "--checkpoint-every", "1"))
    assert "the tuning diverged" in two_lines(answer)
    assert Path("out/checkpoint.pt").is_file()


def test_bars_with_loss_and_accuracy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from linbp.cli.output import progress_bars

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    for quiet in (False, True):
        with progress_bars(quiet) as tell:
            tell("tuning", 4, 10, "loss 1.234, accuracy 45.6%")
            tell("tuning", 10, 10, "loss 0.987, accuracy 65.4%")
        out, err = capsys.readouterr()
        assert out == ""
        assert ("tuning" in err and "loss 0.987, accuracy 65.4%" in err) is not quiet


# As processes of their own.

Process = subprocess.Popen[str]


def begin(folder: Path, *arguments: str, **options: Any) -> Process:
    environment = {**os.environ, "LINBP_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "linbp.cli", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def wait_for_step(out: Path, step: int, process: Process) -> None:
    """Until the manifest says that a checkpoint of that step or a later one is there."""
    while True:
        assert process.poll() is None, process.communicate()
        try:
            if json.loads((out / "manifest.json").read_bytes())["progress"]["step"] >= step:
                return
        except (FileNotFoundError, ValueError):
            pass
        time.sleep(0.002)


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_model(out / "model.pt2").module.state_dict()


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("network", ["net", "wide"])
def test_sigkill_and_ctrl_c_and_the_same_bits(tmp_path: Path, network: str) -> None:
    write_inputs(tmp_path)
    more = ["--epochs", "60", "--augment", "flip+crop", "--checkpoint-every", "3", "--validation", "0.3"]
    given = words("out", *more, network=network)
    killed = begin(tmp_path, *given)
    wait_for_step(tmp_path / "out", 17, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert not manifest["finished"]
    assert manifest["progress"]["step"] < 240
    assert not (tmp_path / "out" / "model.pt2").exists()

    stopped = begin(tmp_path, *given)
    wait_for_step(tmp_path / "out", manifest["progress"]["step"] + 9, stopped)
    stopped.send_signal(signal.SIGINT)
    out, err = stopped.communicate()
    assert (stopped.returncode, out) == (130, ""), err
    at = json.loads((tmp_path / "out" / "manifest.json").read_text())["progress"]["step"]
    assert err.splitlines() == [f"Interrupted: {at} of 240 steps are kept in out; the same command goes on from there."]

    last = begin(tmp_path, *given, "--json")
    out, err = last.communicate()
    assert (last.returncode, err) == (0, "")
    facts = json.loads(out)
    assert facts["resumed_at_step"] in range(at, at + 4)  # the checkpoint may be one ahead of the manifest
    assert len(facts["manifest"]["runs"]) == 3

    whole = begin(tmp_path, *words("whole", *more, network=network))
    assert whole.communicate()[1] == ""
    first, second = weights(tmp_path / "out"), weights(tmp_path / "whole")
    assert all(torch.equal(first[name], second[name]) for name in second)
    assert first["head.weight"].dtype == (torch.float32 if network == "net" else torch.float64)
    uninterrupted = json.loads((tmp_path / "whole" / "manifest.json").read_text())
    for fact in ("accuracy", "history", "removed"):
        assert facts["manifest"][fact] == uninterrupted[fact]
    assert facts["manifest"]["result"]["weights_sha256"] == uninterrupted["result"]["weights_sha256"]


def test_ctrl_c_before_anything_is_kept(tmp_path: Path) -> None:
    from linbp.cli.tuning_run import _kept

    assert _kept(tmp_path) == "nothing is kept yet; the same command starts again."
    (tmp_path / "answers.jsonl").write_text("{}\n")  # of linbp substitute, which was still asking
    assert "answers" in _kept(tmp_path)


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk_gives_two_lines_and_loses_nothing(tmp_path: Path) -> None:
    import resource

    write_inputs(tmp_path)
    given = words("out", "--epochs", "2")
    warm = begin(tmp_path, *words("warm", "--epochs", "2"))  # fills the cache of programs
    assert warm.communicate()[1] == ""

    def limit() -> None:
        # The first checkpoint fits; those that hold the optimizer's momentum do not.
        resource.setrlimit(resource.RLIMIT_FSIZE, (17_000, 17_000))

    full = begin(tmp_path, *given, preexec_fn=limit)
    out, err = full.communicate()
    assert (full.returncode, out) == (2, "")
    error, hint = err.splitlines()
    assert "checkpoint.pt cannot be written: File too large" in error
    assert "run the same command again" in hint
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [".lock", "checkpoint.pt", "manifest.json"]
    again = begin(tmp_path, *given, "--json")
    out, err = again.communicate()
    assert (err, json.loads(out)["resumed_at_step"]) == ("", 0)
    first, second = weights(tmp_path / "out"), weights(tmp_path / "warm")
    assert all(torch.equal(first[name], second[name]) for name in second)
