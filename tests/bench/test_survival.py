"""Whatever ends a run: nothing finished is lost, nothing stale is scored, and the next run makes the same table."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_suites import small_suite
from tiny_networks import tiny, tiny_chain

from linbp.bench.run import BenchRun, run_bench
from linbp.bench.table import facts_of
from linbp.errors import ImageError, ModelError, StoreError, SuiteError

HELPERS = Path(__file__).parents[1] / "helpers"
KILLS = 20 if os.environ.get("LINBP_TEST_ALL") else 8


def small(folder: Path, **changes: Any) -> Path:
    """A suite of two attacks and two victims on twelve images."""
    return small_suite(folder, images=12, **{"shard_size": 3, "eps": "16/255", **changes})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A suite, and the bytes of its table."""
    suite = small(tmp_path_factory.mktemp("undisturbed"))
    run_bench(suite, suite.parent / "run")
    return suite, (suite.parent / "run" / "results.parquet").read_bytes()


def finished(out: Path) -> dict[Path, int]:
    """The files of finished tasks, with the time of their last change."""
    return {path: path.stat().st_mtime_ns for path in [*out.glob("attacks/*/shards/*"), *out.glob("answers/*")]}


@pytest.mark.slow
def test_sigkill_at_random_moments_and_two_runs_at_once(tmp_path: Path) -> None:
    suite = small(tmp_path)
    program = [sys.executable, str(HELPERS / "killed_runs.py"), str(suite), str(tmp_path / "runs"), str(KILLS), "3"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HELPERS), *sys.path])}
    answer = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    attempts = json.loads(answer.stdout)
    assert sum(attempt["killed"] for attempt in attempts) == KILLS
    assert {attempt["status"] for attempt in attempts if not attempt["killed"]} == {0}
    stages = set()
    for before, after in itertools.pairwise(attempts):
        if after["run"] == before["run"]:
            assert before["files"].items() <= after["files"].items()  # nothing is lost, and nothing is made again
        if before["killed"]:
            stages.add("asking" if any(name.startswith("answers") for name in before["files"]) else "crafting")
    assert stages == {"crafting", "asking"}
    runs = list((tmp_path / "runs").iterdir())
    assert len(runs) == attempts[-1]["run"] + 3
    assert len({(run / "results.parquet").read_bytes() for run in runs}) == 1


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("shards", "cut"),
        ("shards", "changed"),
        ("shards", "other"),
        ("answers", "cut"),
        ("answers", "changed"),
        ("answers", "other"),
        ("pngs", "empty"),
        ("pngs", "other"),
        ("results", "changed"),
        ("results", "empty"),
    ],
)
def test_broken_files_are_made_again(undisturbed: tuple[Path, bytes], tmp_path: Path, kind: str, what: str) -> None:
    suite, wanted = undisturbed
    out = tmp_path / "run"
    run_bench(suite, out)
    pattern = {"shards": "attacks/*/shards/*", "answers": "answers/*", "pngs": "attacks/*/*.png", "results": RESULTS}
    files = sorted(out.glob(pattern[kind]))
    path, other = files[len(files) // 2], files[0]
    content = path.read_bytes()
    place = len(content) // 2
    changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    with_fault = {"cut": content[:place], "changed": changed, "empty": b"", "other": other.read_bytes()}
    path.write_bytes(with_fault[what])
    if kind != "results":
        (out / RESULTS).unlink()
    if kind == "pngs":  # a PNG counts when somebody looks at it again
        for answers in out.glob("answers/*"):
            answers.unlink()
    before = finished(out)
    run = run_bench(suite, out)
    assert (out / RESULTS).read_bytes() == wanted
    kept = [one for one, time in before.items() if one.stat().st_mtime_ns == time]
    assert len(before) - len(kept) == (kind != "results")
    assert run.made == len(finished(out)) - len(kept)


RESULTS = "results.parquet"


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Inside, the operating system refuses to write larger files, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [300, 1200, 4000])
def test_a_disk_that_takes_no_more_is_one_line_and_nothing_is_lost(
    undisturbed: tuple[Path, bytes], tmp_path: Path, size: int
) -> None:
    suite, wanted = undisturbed
    out = tmp_path / "run"
    with largest_file(size), pytest.raises(StoreError) as caught:
        run_bench(suite, out)
    assert str(out) in caught.value.message
    assert "again" in caught.value.hint
    before = finished(out)
    run = run_bench(suite, out)
    assert run.kept == len(before)
    assert before.items() <= finished(out).items()
    assert (out / RESULTS).read_bytes() == wanted


class Dies:
    """A black-box victim that is gone after some images."""

    def __init__(self, after: int) -> None:
        self.name, self.after, self.asked, self.inner = "service", after, 0, tiny_chain()
        self.dtype = self.inner.dtype

    def identity(self) -> dict[str, Any]:
        return {"service": "https://example.org"}

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        self.asked += len(images)
        if self.asked > self.after:
            raise ConnectionError("the service is gone")
        return self.inner.logits(images)


def test_a_victim_that_fails_in_the_middle_loses_nothing_and_stops_nobody_else(tmp_path: Path) -> None:
    suite = small(tmp_path, victims=["service", "white"])
    models = {"white": tiny()}
    run_bench(suite, tmp_path / "undisturbed", models={**models, "service": Dies(10**6)})
    victim = Dies(20)
    with pytest.raises(ModelError, match=r"service.*the service is gone") as caught:
        run_bench(suite, tmp_path / "run", models={**models, "service": victim})
    assert "images" in caught.value.message
    partial = BenchRun.open(tmp_path / "run").results
    assert facts_of(partial)["complete"] == "false"
    assert set(partial["victim"].to_pylist()) == {"white"}
    assert partial.num_rows == 2 * 12
    again = Dies(10**6)
    run_bench(suite, tmp_path / "run", models={**models, "service": again})
    # Three images a task: eighteen of its first twenty were answered.
    assert again.asked == 12 + 2 * 12 - 18
    assert victim.asked == 21
    assert (tmp_path / "run" / RESULTS).read_bytes() == (tmp_path / "undisturbed" / RESULTS).read_bytes()


def test_faults_of_several_victims_are_all_told(tmp_path: Path) -> None:
    suite = small(tmp_path, victims=["one", "other"])
    with pytest.raises(SuiteError) as caught:
        run_bench(suite, tmp_path / "run", models={"one": Dies(5), "other": Dies(7)})
    assert len(caught.value.faults) == 2


def test_an_image_that_changes_during_the_run_is_told(tmp_path: Path) -> None:
    suite = small(tmp_path)
    photo = tmp_path / "photos" / "007.png"

    def change(stage: str, done: int, total: int) -> None:
        if stage == "crafting":
            photo.write_bytes((tmp_path / "photos" / "001.png").read_bytes())

    with pytest.raises(ImageError, match=r"007\.png"):
        run_bench(suite, tmp_path / "run", progress=change)
