"""Which classifiers of timm, torchvision and transformers linbp captures: every architecture, with random weights.

    python benchmarks/capture_coverage.py try --out found.jsonl       # what the table and the file do not have yet
    python benchmarks/capture_coverage.py write --out found.jsonl     # docs/tables/coverage.csv and docs/coverage.md

Each architecture gets a process of its own, forked from one that has imported the libraries, with a limit on time and
on memory: a crash, a hang or a lack of memory becomes one line of the results.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.metadata
import json
import os
import re
import signal
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from architectures import MEAN, SHARED, STD, Architecture, architectures, build, count_parameters
from coverage_page import MOST_MIB, MOST_SECONDS, read_table, write

import linbp
from linbp.errors import LinbpError
from linbp.graph.capture.graph import OVERWRITES
from linbp.graph.capture.where import first_line

LIBRARIES = ("timm", "torchvision", "transformers")
POSTPONED = 60_000_000
"""Parameters: larger networks are tried behind the others, in order of size."""
PACKAGES = ("linbp", "torch")
SIZES = (
    *(
        "atto",
        "femto",
        "zepto",
        "pico",
        "nano",
        "xxt",
        "test",
        "xxtiny",
        "xxs",
        "xtiny",
        "xt",
        "xs",
        "tiny",
        "t",
        "micro",
    ),
    *("mini", "little", "lite", "s", "small", "n", "", "m", "medium", "mediumd", "betwixt", "b", "base", "l", "large"),
    *("x", "xl", "xlarge", "h", "huge", "xxl", "xxlarge", "so", "g", "giant", "giantopt", "gigantic", "enormous"),
)
"""Words for sizes in names, from small to large."""
IMPORTED = ("torch._dynamo", "torch.export", "torch._export", "torch.onnx", "linbp.graph.surrogate")


def tried(architecture: Architecture, parameters: int | None) -> dict[str, Any]:
    """What became of one architecture, as plain values.

    `outcome` is `captured`, `refused` (by linbp), or `not built` (by the library itself); `reason` says why.
    """
    row: dict[str, Any] = {"outcome": "not built", "parameters": parameters}
    try:
        built = build(architecture, shared=parameters is not None and parameters > SHARED)
        row |= {"outcome": "refused", "side": built.side, "parameters": built.parameters}
        row |= captured(built.module, built.side, architecture.name)
    except LinbpError as fault:
        row["reason"] = fault.message
    except Exception as fault:
        row["reason"] = first_line(fault)
    return row


def captured(module: torch.nn.Module, side: int, name: str) -> dict[str, Any]:
    """The facts of a captured network, whose logits and gradients `Surrogate` has compared with its module's."""
    model = linbp.Model(module, input_size=side, mean=MEAN, std=STD, name=name)
    surrogate = linbp.Surrogate(model, cache=False)
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(3))
    logits, gradient = logits_and_gradient(surrogate, images)
    return {
        "outcome": "captured",
        "gradients": "none to compare" if OVERWRITES in surrogate.notes else "equal" if gradient.any() else "zero",
        "sites": len(surrogate.sites),
        "blocks": len(surrogate.junctions),
        "pools": len(surrogate.pools),
        "attentions": len(surrogate.attentions),
        "linbp": with_rule(surrogate, images, logits),
    }


def with_rule(surrogate: linbp.Surrogate, images: torch.Tensor, expected: torch.Tensor) -> str:
    """`yes` where LinBP from the middle on leaves the logits as they are and has a gradient, else why not."""
    try:
        logits, gradient = logits_and_gradient(surrogate.with_rule(linbp.LinBP(start=0.5)), images)
    except LinbpError as fault:
        return fault.message
    except Exception as fault:
        return first_line(fault)
    off = float((logits - expected).norm() / expected.norm())
    if off > 1e-4 or not bool(gradient.isfinite().all()):
        return f"its logits are off by {off:.1e}" if off > 1e-4 else "its gradient is not finite"
    return "yes" if bool(gradient.any()) else "its gradient is zero"


def logits_and_gradient(surrogate: linbp.Surrogate, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the gradient of each image's cross-entropy with its least likely class."""
    leaf = images.clone().requires_grad_()
    logits = surrogate.run(leaf)
    loss = torch.nn.functional.cross_entropy(logits, logits.detach().argmin(1), reduction="sum")
    return logits.detach(), torch.autograd.grad(loss, leaf)[0]


def in_process(
    architecture: Architecture, seconds: float, wait: float, mib: float, postpone: bool = False
) -> dict[str, Any]:
    """`tried` in a forked process, within limits.

    Args:
        architecture: what is tried.
        seconds: of processor time.
        wait: seconds by the clock.
        mib: of memory.
        postpone: large networks only say `{"later": parameters}`.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer, begin = Path(folder) / "row.json", time.monotonic()
        child = os.fork()
        if child == 0:
            _in_child(architecture, answer, postpone)
        row: dict[str, Any] = {"outcome": "crashed"}
        while True:
            ended, status, usage = os.wait4(child, os.WNOHANG)
            if ended:
                if os.WIFSIGNALED(status):
                    row["reason"] = f"signal {os.WTERMSIG(status)}"
                break
            late = time.monotonic() - begin > wait
            if late or _seconds(child) > seconds or _mib(child) > mib:
                large = _mib(child) > mib
                os.kill(child, signal.SIGKILL)
                _, _, usage = os.wait4(child, 0)
                slow = f"no end in {wait:.0f} s" if late else f"more than {seconds:.0f} s of processor time"
                row = {"outcome": "too large", "reason": f"more than {mib:.0f} MiB"}
                row = row if large else {"outcome": "too slow", "reason": slow}
                break
            time.sleep(0.05)
        if answer.is_file():
            row |= json.loads(answer.read_text())
        spent = usage.ru_utime + usage.ru_stime
        return {**row, "seconds": round(spent, 1), "mib": round(usage.ru_maxrss / 1024)}


def _in_child(architecture: Architecture, answer: Path, postpone: bool) -> None:
    """Write the row, and end the process without any clean-up."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    gc.set_threshold(100_000)  # tracing makes many objects, which live as long as the process
    parameters = count_parameters(architecture)
    if postpone and parameters is not None and parameters > POSTPONED:
        row: dict[str, Any] = {"later": parameters}
    else:
        answer.write_text(json.dumps({"parameters": parameters}))  # of a process that does not come to an end
        row = tried(architecture, parameters)
    whole = answer.with_suffix(".whole")
    whole.write_text(json.dumps(row))
    os.replace(whole, answer)
    os._exit(0)


def _seconds(process: int) -> float:
    """The processor time that a process has taken."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _mib(process: int) -> float:
    """The memory that a process has at present."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def try_all(options: argparse.Namespace) -> None:
    """Append a line for each architecture that neither table nor file holds yet with the same versions."""
    found = {(row["library"], row["name"]): row for row in (*read_table(), *read(options.out))}
    for module in (*IMPORTED, *options.libraries):
        importlib.import_module(module)
    torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))  # imports what it needs, for all processes
    gc.collect()
    gc.freeze()
    waiting, postponed = [], []
    for library in options.libraries:
        facts = {"versions": versions(library)}
        for architecture in by_turns(architectures(library)):
            row = found.get((library, architecture.name))
            if options.names and architecture.name not in options.names:
                continue
            known = row is not None and row["versions"] == facts["versions"]
            if not known or (options.again and row and row["outcome"] != "captured"):
                waiting.append((architecture, facts))
    with options.out.open("a+") as file:
        _end_line(file)
        for one in waiting[: options.first]:
            row = _try_one(*one, options, postpone=True)
            if "later" in row:
                postponed.append((row["later"], *one))
            else:
                _append(file, row)
        for _, *rest in sorted(postponed, key=lambda one: one[0]):
            _append(file, _try_one(*rest, options, postpone=False))


def _try_one(architecture: Architecture, facts: dict[str, Any], options: Any, postpone: bool) -> dict[str, Any]:
    row = in_process(architecture, options.seconds, options.wait, options.mib, postpone)
    return {**vars(architecture), **row, **facts}


def _append(file: Any, row: dict[str, Any]) -> None:
    file.write(json.dumps(row) + "\n")
    file.flush()
    print(row["library"], row["name"], row["outcome"], row["seconds"], row.get("reason", ""), flush=True)


def _end_line(file: Any) -> None:
    """End a line that was cut off, so that the next one is not lost with it."""
    if file.tell():
        file.seek(file.tell() - 1)
        if file.read() != "\n":
            file.write("\n")


def by_turns(given: Iterable[Architecture]) -> Iterator[Architecture]:
    """One of each family, then the next of each: what goes wrong with a family is seen early."""
    families: dict[str, list[Architecture]] = defaultdict(list)
    for one in sorted(given, key=size_by_name):
        families[one.family].append(one)
    for number in range(max(map(len, families.values()), default=0)):
        yield from (family[number] for family in families.values() if number < len(family))


def size_by_name(architecture: Architecture) -> int:
    """Where a name's word for a size stands among such words; those without one lie between small and large."""
    words = re.split(r"[_\d]+", architecture.name)
    known = [SIZES.index(word) for word in words if word in SIZES]
    return known[0] if known else SIZES.index("")


def versions(library: str) -> str:
    """Of what a row depends on."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in (*PACKAGES, library))


def read(path: Path) -> list[dict[str, Any]]:
    """The newest row of each architecture, in the order of the file; a line that is cut off is left out."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows[row["library"], row["name"]] = row
    return list(rows.values())


def everything(path: Path) -> list[dict[str, Any]]:
    """A row for each architecture of the installed libraries, from the file, else from the table, else `not tried`."""
    found = {(row["library"], row["name"]): row for row in (*read_table(), *read(path))}
    rows = []
    for library in LIBRARIES:
        for one in architectures(library):
            untried = {**vars(one), "outcome": "not tried", "versions": versions(library)}
            rows.append(found.get((library, one.name), untried))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("try", "write"))
    parser.add_argument("--out", type=Path, required=True, help="a JSON line for each architecture")
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--names", nargs="+", help="these architectures only")
    parser.add_argument("--first", type=int, help="no more architectures than this")
    parser.add_argument("--again", action="store_true", help="also those that failed")
    parser.add_argument("--seconds", type=float, default=MOST_SECONDS, help="of processor time, for each architecture")
    parser.add_argument("--wait", type=float, default=3600, help="by the clock, for each architecture")
    parser.add_argument("--mib", type=float, default=MOST_MIB, help="of memory, for each architecture")
    options = parser.parse_args()
    if options.what == "try":
        try_all(options)
    else:
        write(everything(options.out))


if __name__ == "__main__":
    main()
