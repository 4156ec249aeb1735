"""Runs a suite in processes that are killed: `python killed_runs.py SUITE FOLDER KILLS SEED`.

First two processes do one run at once. Then a run is killed and started again until it is finished, then another
one, until there were so many kills.

One process imports everything and forks a child for each attempt, since importing takes longer than the run. A child
kills itself with SIGKILL before one of its operations on files of the run, whose number is drawn. Prints, as JSON, for
each attempt how it ended and which files of finished tasks it left.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from tiny_networks import tiny

import linbp
from linbp.bench.run import run_bench

EVENTS = ("open", "os.rename", "os.mkdir", "os.remove")


def main() -> None:
    suite, folder, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    draw, attempts = random.Random(seed), list[dict[str, Any]]()
    if _status(_start(suite, folder / "undisturbed", 0)):
        sys.exit("The undisturbed run failed.")
    # From the cache, which the child has filled: what is imported for this is imported once. A gradient here would
    # forbid the children theirs.
    linbp.Surrogate(tiny())
    both = [_start(suite, folder / "two-at-once", 0) for _ in range(2)]
    if [_status(child) for child in both] != [0, 0]:
        sys.exit("One of two processes at once failed.")
    run = 0
    while sum(attempt["killed"] for attempt in attempts) < kills:
        status = _status(_start(suite, folder / f"killed-{run}", draw.randint(1, 150)))
        files = finished(folder / f"killed-{run}")
        attempts.append({"run": run, "killed": os.WIFSIGNALED(status), "status": status, "files": files})
        if status and not os.WIFSIGNALED(status):
            break
        run += status == 0
    last = _status(_start(suite, folder / f"killed-{run}", 0))
    attempts.append({"run": run, "killed": False, "status": last, "files": finished(folder / f"killed-{run}")})
    print(json.dumps(attempts))


def _start(suite: str, out: Path, after: int) -> int:
    """Run the suite in a process of its own; its number."""
    child = os.fork()
    if not child:
        _run(suite, out, after)
    return child


def _status(child: int) -> int:
    """How a process ended; waits for it."""
    return os.waitpid(child, 0)[1]


def _run(suite: str, out: Path, after: int) -> None:
    """Run until the operation of that number; 0: to the end."""
    left = after

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        if event in EVENTS and isinstance(args[0], str | os.PathLike) and str(out) in os.fspath(args[0]):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    try:
        run_bench(suite, out)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}"[:500], file=sys.stderr)
        os._exit(3)
    os._exit(0)


def finished(out: Path) -> dict[str, tuple[int, int]]:
    """Size and time of the files that finished tasks left."""
    files = [*out.glob("attacks/*/shards/*"), *out.glob("answers/*")]
    return {
        str(path.relative_to(out)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in files
        if not path.name.startswith(".")
    }


if __name__ == "__main__":
    main()
