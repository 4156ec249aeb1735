"""Files that name classes in the order of a network's outputs: lines of text, JSON, or CSV."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from linbp.data.csv_table import Table, plain, read_table, read_text
from linbp.errors import ImageError

__all__ = ["class_names_in", "read_class_names"]

KEYS = (
    *("classes", "class_names", "classnames", "names", "labels", "label_names", "id2label", "idx_to_class"),
    *("class_to_idx", "label2id", "categories"),
)
"""Where JSON files and checkpoints keep the names of classes."""

NUMBER_COLUMNS = ("id", "index", "idx", "number", "classid", "classindex", "classidx", "labelid", "label", "target")
NAME_COLUMNS = ("name", "classname", "labelname", "class", "names", "classes", "category", "label")
NUMBERED = re.compile(r"(\d+)\s*[:,;\t ]\s*(.+)")
EXAMPLES = 'Write one name a line; or JSON, such as ["cat", "dog"] or {"0": "cat", "1": "dog"}.'


def read_class_names(source: str | os.PathLike[str]) -> tuple[str, ...]:
    """The names of classes in a file, in the order of a network's outputs.

    Text has one name a line, with its number before it or without. JSON is a list; an object of numbers and names,
    either way round; or an object that holds one of them, as the `config.json` of transformers does. CSV has one column
    of names, and may have one of numbers.

    Raises:
        ImageError: no such file, or it names no classes, or not each number once.
    """
    path = Path(source).expanduser()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ImageError(f"The file of classes {path} {what}.", "Give a file that names the classes, one a line.")
    if path.suffix.lower() in (".csv", ".tsv"):
        names = _from_table(path, read_table(path, _is_header))
    elif path.suffix.lower() == ".json":
        try:
            content = json.loads(read_text(path))
        except ValueError as error:
            raise ImageError(f"{path} is not readable as JSON: {error}.", EXAMPLES) from error
        names = class_names_in(content, str(path))
    else:
        names = _from_lines(path, read_text(path))
    if len(names) < 2:
        raise ImageError(f"{path} names {'one class' if names else 'no classes'}.", EXAMPLES)
    return names


def class_names_in(content: Any, where: str) -> tuple[str, ...]:
    """The names of classes in what JSON or a checkpoint holds; empty where it holds none.

    Args:
        content: a list, an object of numbers and names, or an object that holds one of them under a usual name.
        where: what messages call it.

    Raises:
        ImageError: numbers are missing or given twice.
    """
    if isinstance(content, Sequence) and not isinstance(content, str):
        return (
            tuple(map(_name, content))
            if content and all(isinstance(one, str | list | tuple) for one in content)
            else ()
        )
    if not isinstance(content, Mapping):
        return ()
    pairs = [(key, value) for key, value in content.items() if isinstance(key, str | int)]
    if pairs and all(str(key).strip().isdecimal() and isinstance(value, str | list | tuple) for key, value in pairs):
        return _in_order([(int(key), _name(value)) for key, value in pairs], where)
    if len(pairs) > 1 and all(type(value) is int for _, value in pairs) and len({v for _, v in pairs}) == len(pairs):
        return _in_order([(value, str(key)) for key, value in pairs], where)
    for key in KEYS:
        if key in content and (found := class_names_in(content[key], f"{key} of {where}")):
            return found
    return ()


def _name(value: Any) -> str:
    """A name, or several of one class, which commas separate."""
    return value.strip() if isinstance(value, str) else ", ".join(map(str, value))


def _from_lines(path: Path, text: str) -> tuple[str, ...]:
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if (empty := next((number for number, line in enumerate(lines, 1) if not line), None)) is not None:
        raise ImageError(f"Line {empty} of {path} is empty.", "Each line names a class: take it out, or name it.")
    parts = [NUMBERED.fullmatch(line) for line in lines]
    numbers = [int(part[1]) for part in parts if part]
    if lines and len(numbers) == len(lines) and sorted(numbers) in _counts(len(lines)):
        return _in_order([(int(part[1]), part[2].strip()) for part in parts if part], str(path))
    return tuple(lines)


def _is_header(cells: Sequence[str]) -> bool:
    names = {plain(cell) for cell in cells}
    return not names.isdisjoint((*NUMBER_COLUMNS, *NAME_COLUMNS))


def _from_table(path: Path, table: Table) -> tuple[str, ...]:
    rows = [row.cells for row in table.rows]
    if not rows:
        return ()
    width = len(table.header or rows[0])
    columns = [[row[at] if at < len(row) else "" for row in rows] for at in range(width)]
    header = [plain(name) for name in table.header or [""] * width]
    counting = [
        at
        for at, cells in enumerate(columns)
        if all(cell.isdecimal() for cell in cells) and sorted(map(int, cells)) in _counts(len(rows))
    ]
    others = [at for at in range(width) if at not in counting and all(columns[at])]
    if not others:
        raise ImageError(
            f"{path} has no column of names with a name in every row, or its numbers do not count the classes.",
            "Give a column id with each number from 0 once, and a column name.",
        )
    named = [header.index(name) for name in NAME_COLUMNS if name in header and header.index(name) in others]
    names = columns[(named or others)[0]]
    if not counting:
        if width > 1 and (wrong := [at for at, name in enumerate(header) if name in NUMBER_COLUMNS[:4]]):
            raise ImageError(
                f"The numbers in the column {(table.header or [])[wrong[0]]} of {path} do not count the classes.",
                "Give each number from 0 once.",
            )
        return tuple(names)
    return _in_order(list(zip(map(int, columns[counting[0]]), names, strict=True)), str(path))


def _counts(count: int) -> tuple[list[int], list[int]]:
    return list(range(count)), list(range(1, count + 1))


def _in_order(pairs: Sequence[tuple[int, str]], where: str) -> tuple[str, ...]:
    """Names in the order of their numbers, which count from 0 or from 1.

    Raises:
        ImageError: they do not.
    """
    ordered = sorted(pairs, key=lambda pair: pair[0])
    if [number for number, _ in ordered] not in _counts(len(ordered)):
        raise ImageError(f"The numbers of the classes in {where} do not count from 0 without a gap.", EXAMPLES)
    return tuple(name for _, name in ordered)
