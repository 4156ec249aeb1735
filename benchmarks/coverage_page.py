"""docs/coverage.md and its table, from the rows of `capture_coverage.py`."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from architectures import SHARED

MOST_MIB, MOST_SECONDS = 8192, 180
"""Of memory, and of processor time, for an architecture."""
DOCS = Path(__file__).parents[1] / "docs"
TABLE, PAGE = DOCS / "tables" / "coverage.csv", DOCS / "coverage.md"
COUNTS = ("sites", "blocks", "pools", "attentions")
COLUMNS = (
    *("library", "name", "family", "outcome", "gradients", *COUNTS, "linbp", "side", "parameters", "seconds", "mib"),
    *("reason", "versions"),
)
LIBRARIES = {"timm": "timm", "torchvision": "torchvision", "transformers": "transformers"}
OUTCOMES = {
    "refused": "linbp refuses it",
    "not tried": "not tried",
    "not built": "the library's own constructor or forward pass fails",
    "too slow": "it took too long",
    "too large": "it took too much memory",
    "crashed": "the process crashed",
}

TEXT = """# Captured architectures

A network can be a surrogate where its forward pass can be written down as a graph, with the module's own logits and
gradients. This page says for which networks of three libraries that is so. Each was built with random weights, captured
as any surrogate is, and compared with its module: logits and gradients of four images, in batches of two sizes, have to
agree to 1e-3 relative, image by image, where float32 leaves a doubt in float64.

{totals}

- **Tried**: so far; the next run goes on with the others. What took too long or too much memory was tried.
- **Captured**: those whose graph has the module's logits and gradients; the share is that of those that were tried.
- **Gradients equal**: compared as above, and not zero.
- **LinBP**: with LinBP from the middle of the network on, logits stay the same, and there is a gradient.

Every architecture is a row of [coverage.csv](tables/coverage.csv), with its sites, residual blocks, max-pools and
attentions, and the versions of the libraries.

## How it was measured

The networks have ten classes. Images have 64 px, or 96 px, or the side that an architecture is built for, the first of
them that it takes; a network for large images has fewer windows then, and the same operations. Weights come from each
library's constructor. Zeros that a block begins with and LayerScale's 1e-6 got noise, so that no branch is hidden from
the comparison, and batch norms got the statistics of images of noise.{shared} Each architecture had a process of
its own, limited to {limit}; the median took {median:.0f} s, the longest {longest:.0f} s.

```sh
python benchmarks/capture_coverage.py try --out found.jsonl     # what the table does not have yet
python benchmarks/capture_coverage.py write --out found.jsonl   # this page and its table
```

## What is not captured

{failures}

## By family

A family is a module of the library. Sites, blocks, max-pools and attentions are those of the captured architectures,
from the fewest to the most.

{families}
"""


def read_table(table: Path = TABLE) -> list[dict[str, Any]]:
    """The rows of the table of architectures that were tried."""
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if was_tried(row)]


def write(rows: Sequence[dict[str, Any]], table: Path = TABLE, page: Path = PAGE) -> None:
    """Write the table and the page."""
    ordered = sorted(rows, key=lambda row: (list(LIBRARIES).index(row["library"]), row["family"], row["name"]))
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(ordered)
    page.write_text(text_of(ordered), encoding="utf-8")


def text_of(rows: Sequence[dict[str, Any]]) -> str:
    """The page."""
    spent = sorted(float(row["seconds"]) for row in rows if was_tried(row))
    large = [row for row in rows if row.get("parameters") and int(row["parameters"]) > SHARED]
    shared = f" In the {len(large)} of more than 400 million parameters, weights of one shape share memory."
    return TEXT.format(
        totals="\n".join(totals(rows)),
        failures="\n".join(failures(rows)),
        families="\n".join(families(rows)),
        shared=shared if large else "",
        limit=limits(rows),
        median=spent[len(spent) // 2],
        longest=spent[-1],
    )


def limits(rows: Sequence[dict[str, Any]]) -> str:
    """What each process could take, and which were captured with more."""
    more = [
        f"`{row['name']}` ({float(row['seconds']):.0f} s, {int(row['mib']) / 1024:.0f} GiB)"
        for row in rows
        if is_captured(row) and (int(row["mib"]) > MOST_MIB or float(row["seconds"]) > MOST_SECONDS)
    ]
    needed = f" (with more: {', '.join(more)})" if more else ""
    return f"{MOST_SECONDS} s of processor time and {MOST_MIB // 1024} GiB{needed}"


def was_tried(row: dict[str, Any]) -> bool:
    """Whether a row says what became of an architecture."""
    return bool(row["outcome"] != "not tried")


def is_captured(row: dict[str, Any]) -> bool:
    """Whether a row counts as captured."""
    return bool(row["outcome"] == "captured")


def totals(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One line for each library."""
    lines = [
        "| library | architectures | tried | captured | share | gradients equal | with LinBP |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for library in LIBRARIES:
        of_it = [row for row in rows if row["library"] == library]
        if not of_it:
            continue
        tried, taken = [row for row in of_it if was_tried(row)], [row for row in of_it if is_captured(row)]
        equal = sum(row["gradients"] == "equal" for row in taken)
        ruled = sum(row["linbp"] == "yes" for row in taken)
        version = next(part for part in of_it[0]["versions"].split(", ") if part.startswith(library))
        counts = f"{len(of_it)} | {len(tried)} | {len(taken)}"
        lines.append(f"| {version} | {counts} | {len(taken) / max(1, len(tried)):.1%} | {equal} | {ruled} |")
    return lines


def failures(rows: Iterable[dict[str, Any]]) -> list[str]:
    """One line for each architecture that is not captured, or with whose gradients something is odd."""
    lines = []
    for row in rows:
        if not was_tried(row):
            continue
        if not is_captured(row):
            lines.append(f"- {row['library']} `{row['name']}`: {OUTCOMES[row['outcome']]}: {_plain(row['reason'])}")
        elif row["gradients"] != "equal":
            lines.append(f"- {row['library']} `{row['name']}`: captured, but its gradient is {row['gradients']}")
        elif row["linbp"] != "yes":
            lines.append(f"- {row['library']} `{row['name']}`: captured, but without LinBP: {_plain(row['linbp'])}")
    return lines or ["Nothing."]


def families(rows: Iterable[dict[str, Any]]) -> list[str]:
    """One line for each family."""
    by_family: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_family[row["library"], row["family"]].append(row)
    lines = [
        "| library | family | architectures | tried | captured | gradients equal "
        "| sites | blocks | max-pools | attentions |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (library, family), of_it in by_family.items():
        taken = [row for row in of_it if is_captured(row)]
        equal = sum(row["gradients"] == "equal" for row in taken)
        counts = " | ".join(_range([int(row[count]) for row in taken]) for count in COUNTS)
        tried = sum(map(was_tried, of_it))
        lines.append(f"| {library} | {family} | {len(of_it)} | {tried} | {len(taken)} | {equal} | {counts} |")
    return lines


def _range(numbers: Sequence[int]) -> str:
    if not numbers:
        return ""
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least} to {most}"


def _plain(reason: str) -> str:
    """A reason on one line of Markdown."""
    return " ".join(reason.split()).replace("<", "&lt;").replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
