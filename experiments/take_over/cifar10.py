"""Takes the lines of the first edition's CIFAR-10 experiments over into tables of results.

The lines, one attack on 250 images each, were `experiments/results/cifar10/attacks.jsonl` and `wide/*.jsonl`. They are
in this repository's history; the tables hold all that they said:

    git log --diff-filter=D --format=%H -- experiments/results/cifar10/attacks.jsonl    # the commit that removed them
    git worktree add lines COMMIT~
    python experiments/take_over/cifar10.py lines/experiments/results/cifar10
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from linbp.bench.keys import content_key
from linbp.bench.table import COLUMNS, VERSION, WORDS
from linbp.data.files import write_atomically

RESULTS = Path(__file__).parents[1] / "results"
PIECE = 250
WIDE = ("seed0", "seed1", "seed2", "shifted")
"""Files of the sources of full width; each is a VGG-19-BN of its own."""

MORE = {
    "loss": (pa.float64(), "the victim's mean cross-entropy over the images of the same piece, after the attack"),
    "clean_loss": (pa.float64(), "the victim's mean cross-entropy over all selected images, before the attack"),
    "levels": (pa.float64(), "mean absolute change of a channel of a pixel over the piece, in levels; null: not kept"),
    "piece": (pa.int32(), "which 250 images were attacked together"),
    "device": (WORDS, "where the attack ran"),
    "torch": (WORDS, "its version"),
    "linbp": (WORDS, "its version"),
    "pixels": (WORDS, "SHA-256 of the piece's adversarial pixels"),
}
"""Columns besides those of a table of results."""

LEFT_OUT = {"target", "rule", "protocol", "preprocessing", "surrogate_clean", "linf", "l2"}
"""Columns of a table of results that the lines do not know."""


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """The images and networks of a file, its attacks, and what start=auto chose."""
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    selection = next(line["selection"] for line in lines if "selection" in line)
    return selection, [line for line in lines if "piece" in line], [line for line in lines if "choice" in line]


def names(line: dict[str, Any], source: str) -> tuple[str, str]:
    """What the table calls the surrogate and the recipe of a line; every variant has a name of its own.

    Args:
        line: of a file.
        source: what is added to the name of the VGG that the file is about.
    """
    surrogate = line["surrogate"] + (source if line["surrogate"] == "vgg19_bn" else "")
    if line.get("removed") is not None:
        surrogate += f", LinS from {line['removed']}"
        surrogate += "" if line.get("smoothing") is None else f", smoothing {line['smoothing']:g}"
    if line.get("spread"):
        surrogate += ", projections spread"
    recipe = line["recipe"] + (", moved on to the radius" if line.get("filled") else "")
    return surrogate, recipe + (f", {line['steps']} leaps of two radii" if line.get("leaps") else "")


def step_size(line: dict[str, Any]) -> float:
    """Of every step: a level, or longer where so many steps would not reach the radius, or a leap of two radii."""
    eps = Fraction(line["eps"])
    return float(2 * eps if line.get("leaps") else max(Fraction(1, 255), eps / line["steps"]))


def columns(line: dict[str, Any], selection: dict[str, Any], source: str) -> Iterator[dict[str, Any]]:
    """The rows of one line, a victim at a time: one value for all images, or an array of them."""
    surrogate, recipe = names(line, source)
    answers = {name: np.array([*map(int, digits)]) for name, digits in line["predictions"].items()}
    own = answers.pop("itself")
    images = slice(line["piece"] * PIECE, line["piece"] * PIECE + len(own))
    labels = np.array(selection["labels"][images])
    ids = [f"{row:05}" for row in selection["images"][images]]
    weights = line.get("lins", {}).get("file_sha256", line["surrogate_sha256"])
    key = content_key(surrogate, weights, recipe, line["eps"], line["steps"])
    base = line["surrogate"].partition("-")[0]
    for victim, classes in answers.items():
        white_box = victim == line["surrogate"] and "lins" not in line
        yield {
            "image_id": np.array(ids),
            "file": np.array([f"{one}.png" for one in ids]),
            "label": labels,
            "surrogate": surrogate,
            "surrogate_model": line["surrogate"],
            "surrogate_key": weights,
            "recipe": recipe,
            "recipe_text": line["recipe"],
            "attack": key,
            "attack_key": key,
            "norm": "linf",
            "eps": float(line["eps"]),
            "eps_text": line["eps"],
            "steps": line["steps"],
            "step_size": step_size(line),
            "gradients": line["gradients"],
            "seed": 0,
            "victim": victim + (source if victim == "vgg19_bn" else ""),
            "victim_model": victim,
            "victim_key": selection["networks"][victim],
            "white_box": white_box,
            "surrogate_adv": own,
            "clean_prediction": labels,  # the images are those that all victims have right
            "adv_prediction": classes,
            "selected": white_box or victim != base,  # a network is no victim of its own variants
            "success": classes != labels,
            "notes": None,
            "loss": line["loss"][victim],
            "clean_loss": selection["loss"][victim],
            "levels": line.get("levels"),
            "piece": line["piece"],
            "device": line["device"],
            "torch": line["torch"],
            "linbp": line["linbp"],
            "pixels": line["sha256"],
        }


def table(files: dict[str, Path]) -> pa.Table:
    """The table of one or more files, sorted by surrogate and attack.

    Args:
        files: by what is added to the name of a file's VGG.
    """
    parts: list[dict[str, Any]] = []
    facts: dict[str, Any] = {"accuracy": {}, "images": {}, "chosen_starts": {}}
    for source, path in files.items():
        selection, lines, choices = read(path)
        once = {(*names(line, source), line["eps"], line["steps"], line["piece"]): line for line in lines}
        parts += [part for line in once.values() for part in columns(line, selection, source)]
        for name, share in selection["accuracy"].items():
            facts["accuracy"][name + (source if name == "vgg19_bn" else "")] = share
        tuned = {names(line, source)[0]: line["lins"] for line in lines if "lins" in line}
        facts["accuracy"] |= {name: lins["right"] / lins["n"] for name, lins in tuned.items()}
        facts["images"][source] = {"right_on_all": selection["right_on_all"], "selected": len(selection["images"])}
        facts["chosen_starts"] |= {line["surrogate"]: line["choice"]["start"] for line in choices}
    parts.sort(key=lambda part: (part["surrogate"], part["attack_key"], part["piece"]))
    kinds = {name: one for name, one in COLUMNS.items() if name not in LEFT_OUT} | MORE
    sizes = [len(part["label"]) for part in parts]
    arrays = [column([part[name] for part in parts], sizes, kind) for name, (kind, _) in kinds.items()]
    fields = [pa.field(name, kind, metadata={"description": about}) for name, (kind, about) in kinds.items()]
    said = {f"linbp.{name}": json.dumps(value) for name, value in facts.items()}
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={"linbp.version": VERSION, **said}))


def column(parts: Sequence[Any], sizes: Sequence[int], kind: pa.DataType) -> pa.Array:
    """A column from its parts, each an array or one value for all rows of the part."""
    if parts[0] is None and kind == WORDS:
        return pa.nulls(sum(sizes), kind)
    if kind == WORDS:
        words = {word: None for part in parts for word in np.atleast_1d(part).tolist()}
        places = {word: place for place, word in enumerate(words)}
        parts = [np.array([places[word] for word in np.atleast_1d(part).tolist()]) for part in parts]
    rows = [np.broadcast_to(np.nan if part is None else part, size) for part, size in zip(parts, sizes, strict=True)]
    if kind == WORDS:
        return pa.DictionaryArray.from_arrays(pa.array(np.concatenate(rows), pa.int32()), pa.array(words, pa.string()))
    return pa.array(np.concatenate(rows), kind, from_pandas=True)


def compressed(found: pa.Table, rows: int = 1 << 17) -> bytes:
    """A Parquet file in small groups of rows, each with its own words: a reader of one surrogate skips the others."""
    file = io.BytesIO()
    with pq.ParquetWriter(file, found.schema, compression="zstd", compression_level=9) as writer:
        for first in range(0, len(found), rows):
            part = found.slice(first, rows)
            columns = [
                one.cast(pa.string()).combine_chunks().dictionary_encode().cast(WORDS) if one.type == WORDS else one
                for one in part.columns
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=found.schema))
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with attacks.jsonl and wide/")
    folder = parser.parse_args().folder
    studies = {
        "cifar10": {"": folder / "attacks.jsonl"},
        "cifar10-wide": {f"-{name}": folder / "wide" / f"{name}.jsonl" for name in WIDE},
    }
    for name, files in studies.items():
        write_atomically(RESULTS / f"{name}.parquet", compressed(table(files)))


if __name__ == "__main__":
    main()
