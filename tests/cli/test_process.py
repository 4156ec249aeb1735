"""The command line as a process of its own: killed, interrupted, out of disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import Answer, Run, two_lines

import linbp.cli
from linbp.data.images import write_png

COUNT = 16

# float32, as users run it: the adversarial images of a rerun must be the same bits all the same.
NETWORK = """
import torch
from torch import nn
import linbp


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()]
        head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 6)]
        return linbp.Model(nn.Sequential(*layers, *head), input_size=(3, 12, 12), name="net")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a network, and sixteen images in `photos`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "networks.py").write_text(NETWORK)
    (tmp_path / "photos").mkdir()
    lines = ["file,label"]
    for number in range(COUNT):
        pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        write_png(tmp_path / "photos" / f"i{number}.png", pixels)
        lines.append(f"i{number}.png,{number % 6}")
    (tmp_path / "photos" / "images.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def craft(out: str, steps: int) -> list[str]:
    return [
        *("craft", "--surrogate", "file:networks.py:net"),
        *("--recipe", "linbp(start=0.5) + pgd + di + mi", "--data", "photos", "--out", out),
        *("--steps", str(steps), "--batch-size", "2"),
    ]


def start(words: list[str], folder: Path, **options: object) -> subprocess.Popen[str]:
    """The command line as a process of its own; what nobody kills runs in the test's own process, which is faster."""
    command = [sys.executable, "-m", "linbp.cli", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def wait_for_adversarial_images(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Until so many records are there; fails if the process ends before."""
    records = folder / "out" / "records.jsonl"
    while not (records.exists() and records.read_bytes().count(b"\n") >= count):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".png", ".jsonl")}


@pytest.mark.slow
def test_killed_or_interrupted_jobs_go_on_to_the_same_bits(folder: Path, run: Run) -> None:
    # Steps enough that a batch takes some tenths of a second, so that the signals come in the middle.
    steps = 60
    killed = start(craft("out", steps), folder)
    wait_for_adversarial_images(folder, 3, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    kept = (folder / "out" / "records.jsonl").read_bytes().count(b"\n")
    assert 3 <= kept < COUNT

    for name in (signal.SIGINT, signal.SIGTERM):  # the second is what schedulers send
        interrupted = start(craft("out", steps), folder)
        wait_for_adversarial_images(folder, kept + 2, interrupted)
        interrupted.send_signal(name)
        out, err = interrupted.communicate()
        assert interrupted.returncode == 130, err
        assert out == ""
        kept = (folder / "out" / "records.jsonl").read_bytes().count(b"\n")
        (line,) = err.splitlines()
        assert line.startswith(f"Interrupted: {kept} of {COUNT} ")
        assert kept < COUNT

    last = run(*craft("out", steps), "--json")
    assert (last.status, last.err) == (0, "")
    assert (last.facts["made"], last.facts["kept"]) == (COUNT - kept, kept)
    assert len(last.facts["manifest"]["runs"]) == 4
    assert run(*craft("whole", steps)).status == 0
    assert contents(folder / "out") == contents(folder / "whole")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_limit_on_file_sizes_gives_two_lines(folder: Path, run: Run) -> None:
    import resource

    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    write_png(folder / "photos" / "i5.png", pixels)
    assert run(*craft("warm", 2)).err == ""  # fills the cache of programs, whose files are large too

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    process = start(craft("out", 2), folder, preexec_fn=limit)
    out, err = process.communicate()
    two_lines(Answer(process.returncode, out, err), "i5.png", "File too large")
    again = run(*craft("out", 2), "--json")
    assert (again.status, again.err) == (0, "")
    assert again.facts["kept"] > 0
    assert contents(folder / "out") == contents(folder / "warm")


# Loads torch once: a copy of the process for each command, which ends as a process of its own does.
SEVERAL = """
import json, os, sys
import linbp.attack, linbp.cli

for words in json.loads(sys.argv[1]):
    if not os.fork():
        sys.argv = ["linbp", *words]
        linbp.cli.main()
    print(os.waitstatus_to_exitcode(os.wait()[1]), file=sys.stderr)
"""


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs a device that is always full")
def test_a_full_standard_output_gives_two_lines() -> None:
    commands = [["list", "recipes"], ["list", "recipes", "--json"], ["show", "linbp"]]
    with Path("/dev/full").open("w") as full:
        script = [sys.executable, "-W", "ignore", "-c", SEVERAL, json.dumps(commands)]
        ended = subprocess.run(script, check=True, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    lines = ended.stderr.splitlines()
    assert len(lines) == 3 * len(commands), ended.stderr
    for error, hint, status in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        assert error.startswith("Error: ")
        assert "No space left on device" in error
        assert hint.startswith("Hint: ")
        assert status == "2"


def test_help_does_not_wait_for_torch() -> None:
    script = "import sys, linbp.cli.app; print([name for name in ('torch', 'timm', 'scipy') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_ctrl_c_while_the_command_line_loads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("linbp.cli.app.main", interrupted)
    with pytest.raises(SystemExit) as left:
        linbp.cli.main()
    assert left.value.code == 130
    assert capsys.readouterr().err.startswith("Interrupted: ")


BRANCHING = """
import torch
from torch import nn


class Net(nn.Module):
    input_size = (3, 8, 8)

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 5)

    def forward(self, x):
        y = self.layer(x.mean((2, 3)))
        return y * 2 if y.abs().sum() > 0 else y
"""


@pytest.mark.slow
def test_a_network_that_cannot_be_captured_gives_two_lines(tmp_path: Path) -> None:
    # Of a process of its own, since torch logs and prints past what a test of this process sees.
    (tmp_path / "branching.py").write_text(BRANCHING)
    process = start(["inspect", "file:branching.py:Net"], tmp_path)
    out, err = process.communicate()
    two_lines(Answer(process.returncode, out, err), "captured", "branching")
