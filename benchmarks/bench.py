"""What a run of the bench costs over its computing, what workers gain, and what resuming and reporting take.

    python benchmarks/bench.py overhead     # 64 images x 20 steps on SqueezeNet against the same by hand
    python benchmarks/bench.py workers      # two workers against one, one thread each
    python benchmarks/bench.py resume       # a finished run of 10,000 tasks, as a process of its own
    python benchmarks/bench.py report       # the page of a table of a million rows, as a process of its own

Each prints one JSON object, and with --save adds it to benchmarks/results/bench.json. The figures mean nothing on a
machine that is busy with other things: its load is part of them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from linbp.attack import AttackConfig, Goal, attack_batch, prepare
from linbp.bench.run import run_bench
from linbp.bench.table import RESULTS as TABLE
from linbp.bench.table import results_bytes
from linbp.data.images import read_ahead, to_unit
from linbp.evaluation.predict import predict
from linbp.jobs.provenance import versions
from linbp.models import load_model

NETWORK, RECIPE = "demo:squeezenet1_1", "linbp(start=3) + mi"
RESULTS = Path(__file__).parent / "results" / "bench.json"

SMALL_NETWORKS = """
import torch, linbp

def small(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 5)
        )
    return linbp.Model(module, input_size=(3, 8, 8), name=f"small{seed}")

def source(): return small(0)
def first(): return small(1)
def second(): return small(2)
"""


def write_photographs(folder: Path, count: int, side: int) -> Path:
    """Smooth random images with a little noise, which compress as photographs do, and a list of them."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    with (folder / "images.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["file", "label"])
        for number in range(count):
            coarse = Image.fromarray(draw.integers(0, 256, (max(2, side // 28), max(2, side // 28), 3), dtype=np.uint8))
            smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=np.int64)
            pixels = (smooth + draw.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:05}.png")
            lines.writerow([f"{number:05}.png", draw.integers(0, 5)])
    return folder / "images.csv"


def write_suite(folder: Path, **keys: Any) -> Path:
    """A suite's file."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items() if not isinstance(value, dict)]
    for key, table in keys.items():
        if isinstance(table, dict):
            lines += [f"[{key}]", *(f"{name} = {json.dumps(value)}" for name, value in table.items())]
    (folder / "suite.toml").write_text("\n".join(lines))
    return folder / "suite.toml"


def photographs_suite(folder: Path, options: argparse.Namespace, **more: Any) -> Path:
    """One attack and one victim on photographs of the network's size."""
    write_photographs(folder / "photos", options.images, options.side)
    return write_suite(
        folder,
        name="cost",
        eps="8/255",
        surrogates=[NETWORK],
        recipes=[RECIPE],
        victims=[NETWORK],
        trust_labels=True,
        **more,
        data={"kind": "csv", "path": "photos/images.csv"},
        cost={"steps": options.steps},
    )


def by_hand(folder: Path, steps: int) -> None:
    """What a script of one's own would do: load, capture, attack in batches, ask; nothing is written."""
    model = load_model(NETWORK)
    config = AttackConfig.resolve(RECIPE, eps="8/255", steps=steps)
    prepared = prepare(model, config.recipe)
    with (folder / "photos" / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    clean = np.stack(list(read_ahead([folder / "photos" / row["file"] for row in rows])))
    labels, adv = torch.tensor([int(row["label"]) for row in rows]), []
    for at in range(0, len(clean), config.batch_size):
        part = slice(at, at + config.batch_size)
        images = to_unit(clean[part], prepared.ensemble.dtype)
        ids = [row["file"] for row in rows[part]]
        found = attack_batch(prepared.stages, config, images, Goal(labels=labels[part]), ids)
        adv.append((found * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    for pixels in (clean, np.concatenate(adv)):
        predict(model, (pixels[at : at + 32] for at in range(0, len(pixels), 32)))


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    call()
    return clock() - started


def overhead(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    torch.set_num_threads(1)
    suite = photographs_suite(folder, options)
    by_hand(folder, 2)  # fills the cache of captured programs
    found: dict[str, Any] = {}
    # Processor time of this process, which is what is added; the clock on the wall also counts other programs.
    for name, clock in (("processor", time.process_time), ("wall", time.perf_counter)):
        rounds = [
            (
                seconds(lambda: by_hand(folder, options.steps), clock),
                seconds(lambda: run_bench(suite, folder / f"{name}{number}"), clock),  # noqa: B023
            )
            for number in range(options.rounds)
        ]
        hand, bench = (statistics.median(times) for times in zip(*rounds, strict=True))
        found[name] = {"by_hand_s": hand, "bench_s": bench, "overhead": bench / hand - 1, "rounds_s": rounds}
    return found


def workers(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    suite = photographs_suite(folder, options, shard_size=16)
    by_hand(folder, 2)
    rounds = [
        [seconds(lambda: run_bench(suite, folder / f"run{number}-{count}", workers=count)) for count in (1, 2)]  # noqa: B023
        for number in range(options.rounds)
    ]
    one, two = (statistics.median(times) for times in zip(*rounds, strict=True))
    return {"one_s": one, "two_s": two, "gain": one / two, "rounds_s": rounds}


def resume(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    write_photographs(folder / "photos", options.images, 8)
    (folder / "nets.py").write_text(SMALL_NETWORKS)
    name = f"file:{folder / 'nets.py'}:"
    suite = write_suite(
        folder,
        name="many",
        eps="8/255",
        surrogates=[f"{name}source"],
        recipes=["mifgsm"],
        victims=[f"{name}first", f"{name}second"],
        trust_labels=True,
        shard_size=1,
        data={"kind": "csv", "path": "photos/images.csv"},
        cost={"steps": 2},
    )
    made = run_bench(suite, folder / "run").made
    command = [sys.executable, "-m", "linbp.cli", "bench", str(suite), "--out", str(folder / "run"), "--json"]

    def again() -> None:
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        if json.loads(answer.stdout)["tasks_done"]:
            raise SystemExit("The run was not finished.")

    in_process = statistics.median([seconds(lambda: run_bench(suite, folder / "run")) for _ in range(options.rounds)])
    whole = statistics.median([seconds(again) for _ in range(options.rounds)])
    return {"tasks": made, "process_s": whole, "in_process_s": in_process}


TABLES: dict[str, dict[str, Any]] = {
    "many attacks": {
        "images": 1_000,
        "surrogates": [f"surrogate {number}" for number in range(2)],
        "recipes": [f"recipe {number}" for number in range(10)],
        "eps": ["2/255", "4/255", "8/255", "12/255", "16/255"],
        "victims": [f"victim {number}" for number in range(10)],
    },
    "many images": {"images": 100_000, "eps": ["8/255"], "victims": [f"victim {number}" for number in range(5)]},
}
"""A million rows each."""


def report(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
    from result_tables import synthetic

    found: dict[str, Any] = {}
    for name, shape in TABLES.items():
        place = folder / name.replace(" ", "-")
        place.mkdir()
        table = synthetic(**{**shape, **({"images": options.images} if options.images else {})})
        (place / TABLE).write_bytes(results_bytes(table, {"suite": name}))
        command = [sys.executable, "-m", "linbp.cli", "report", str(place)]
        rounds = [_measured(command) for _ in range(options.rounds)]
        found[name] = {
            "rows": table.num_rows,
            "wall_s": statistics.median(one[0] for one in rounds),
            "processor_s": statistics.median(one[1] for one in rounds),
            "memory_mib": max(one[2] for one in rounds),
            "page_mib": (place / "report.html").stat().st_size / 2**20,
        }
    return found


MEASURE = """
import json, os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
print(json.dumps([time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss]))
sys.exit(status != 0)
"""
"""A small process, because a large one's memory would be counted as that of what it starts."""


def _measured(command: list[str]) -> tuple[float, float, float]:
    """Seconds on the wall, seconds of processors, and MiB at most, of a command in a process of its own."""
    answer = subprocess.run([sys.executable, "-c", MEASURE, *command], check=True, capture_output=True, text=True)
    wall, processor, memory = json.loads(answer.stdout)
    return wall, processor, memory / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overhead", "workers", "resume", "report"])
    parser.add_argument(
        "--images", type=int, help="default: 64; of a resumed run 2,000, of a report what makes a million rows"
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--side", type=int, default=227)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="add the figures to benchmarks/results/bench.json")
    options = parser.parse_args()
    if options.what != "report":
        options.images = options.images or (2000 if options.what == "resume" else 64)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        found = {"overhead": overhead, "workers": workers, "resume": resume, "report": report}[options.what](
            options, Path(name)
        )
    facts = {
        "command": shlex.join(["python", "benchmarks/bench.py", *(one for one in sys.argv[1:] if one != "--save")]),
        **found,
        "images": options.images,
        "steps": options.steps,
        "cores": os.cpu_count(),
        "load_before": load,
        "versions": versions(),
    }
    print(json.dumps(facts, indent=2))
    if options.save:
        before = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({**before, options.what: facts}, indent=2) + "\n")


if __name__ == "__main__":
    main()
