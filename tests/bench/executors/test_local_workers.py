"""Workers of this machine: the same bytes as one process, also when one is killed; Ctrl-C ends all of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_suites import small_suite

from linbp.bench.run import run_bench

RESULTS = "results.parquet"


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A suite, and the bytes of the table that one process makes."""
    suite = small_suite(tmp_path_factory.mktemp("workers"), images=12, shard_size=2)
    run_bench(suite, suite.parent / "run")
    return suite, (suite.parent / "run" / RESULTS).read_bytes()


def processes() -> Iterator[tuple[int, int, int]]:
    """Number, parent and group of every process that is alive."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent, group, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            if state != "Z":
                yield int(folder.name), int(parent), int(group)


def workers() -> list[int]:
    """The worker processes that this one has started."""
    own = sorted(number for number, parent, _ in processes() if parent == os.getpid())
    return [number for number in own if "spawn_main" in Path(f"/proc/{number}/cmdline").read_text()]


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds worker processes as Linux shows them")


@pytest.mark.slow
@linux
def test_two_workers_of_which_one_is_killed_write_the_same_bytes(
    one_process: tuple[Path, bytes], tmp_path: Path
) -> None:
    suite, wanted = one_process
    killed = list[int]()

    def kill(stage: str, done: int, total: int) -> None:
        if stage == "crafting" and done and not killed:
            killed.append(workers()[0])
            os.kill(killed[0], signal.SIGKILL)

    run = run_bench(suite, tmp_path / "run", workers=2, progress=kill)
    assert killed
    # The killed worker may have finished its task before anybody heard of it.
    assert 4 * 6 + 2 * 5 * 6 - 1 <= run.made <= 4 * 6 + 2 * 5 * 6
    assert (tmp_path / "run" / RESULTS).read_bytes() == wanted
    assert not workers()


@pytest.mark.slow
@pytest.mark.exhaustive
@linux
def test_ctrl_c_ends_the_workers_and_the_same_command_finishes_the_run(
    one_process: tuple[Path, bytes], tmp_path: Path
) -> None:
    suite, wanted = one_process
    command = [sys.executable, "-m", "linbp.cli", "bench", str(suite), "--out", str(tmp_path / "run"), "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    shards = tmp_path / "run" / "attacks"
    while process.poll() is None and not list(shards.glob("*/shards/[!.]*")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=180)
    if process.returncode:  # it may have been faster than the signal
        assert process.returncode == 130, err
        (line,) = err.splitlines()
        assert str(tmp_path / "run") in line
    deadline = time.monotonic() + 60
    while (
        left := [number for number, _, group in processes() if group == process.pid]
    ) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
    run = run_bench(suite, tmp_path / "run")
    assert run.kept > 0
    assert (tmp_path / "run" / RESULTS).read_bytes() == wanted
