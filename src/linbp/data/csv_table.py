"""A CSV file as rows of text, whatever program wrote it."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from linbp.errors import ImageError

__all__ = ["Row", "Table", "plain", "read_table", "read_text"]

MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
SEPARATORS = ",;\t|"
LAST_NUMBER = re.compile(r"(.*\S)\s+(\S+)")
"""A line of lists such as ImageNet's val.txt: a file, space, a class."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One row: the number of its line in the file, and its cells without the space around them."""

    line: int
    cells: list[str]


@dataclasses.dataclass(frozen=True)
class Table:
    """What a CSV file holds.

    Attributes:
        header: the names of the columns; None where the first row is one of the others.
        rows: below it.
        comments: numbers of the lines that begin with #.
    """

    header: list[str] | None
    rows: list[Row]
    comments: tuple[int, ...]


def plain(name: str) -> str:
    """A column's name without case, space and signs: `Image ID` and `image_id` are one."""
    return re.sub(r"[\W_]+", "", name).casefold()


def read_table(path: Path, is_header: Callable[[Sequence[str]], bool]) -> Table:
    """The rows of a CSV file; empty lines are left out.

    Cells are separated by commas, semicolons, tabs or bars, whichever makes a header of the first line; where none
    does, the first line is a row as well, and a space may stand before the last cell. The text is UTF-8 or UTF-16.

    Args:
        path: the file.
        is_header: whether a row of cells names the columns.

    Raises:
        ImageError: it is no such text.
    """
    text = read_text(path)
    told = re.match(r"\s*sep=(.)\r?\n", text)  # how a spreadsheet says which sign it separates by
    separators, lines = (told[1], text[told.end() :]) if told else (SEPARATORS, text)
    first = ""
    for line in filter(str.strip, lines.splitlines()):
        first = line.lstrip("# \t")
        for separator in separators:
            if is_header([cell.strip() for cell in first.split(separator)]):
                return _table(path, text, separator, told is not None, is_header)
        if not line.startswith("#"):
            break
    return _table(path, text, next((sign for sign in separators if sign in first), ","), told is not None, is_header)


def _table(path: Path, text: str, separator: str, told: bool, is_header: Callable[[Sequence[str]], bool]) -> Table:
    rows = [row for row in _split(path, text, separator) if any(row.cells)][told:]
    header: list[str] | None = None
    comments: list[int] = []
    kept: list[Row] = []
    for number, row in enumerate(rows):
        names = [row.cells[0].lstrip("# \t"), *row.cells[1:]]
        if number == len(comments) and header is None and is_header(names):
            while not names[-1]:
                names.pop()
            header = names
        elif row.cells[0].startswith("#") and not os.path.lexists(path.parent / row.cells[0]):
            comments.append(row.line)
        else:
            kept.append(row)
    if header is None and kept and all(len(row.cells) == 1 for row in kept):
        parts = [LAST_NUMBER.fullmatch(row.cells[0]) for row in kept]
        if all(parts):
            kept = [Row(row.line, list(part.groups())) for row, part in zip(kept, parts, strict=True) if part]
    return Table(header, kept, tuple(comments))


def _split(path: Path, text: str, separator: str) -> list[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    try:
        return [Row(reader.line_num, [cell.strip() for cell in row] or [""]) for row in reader] or [Row(1, [""])]
    except csv.Error as error:
        raise ImageError(
            f"{path} cannot be read as CSV: line {reader.line_num}: {error}.", "Save it as UTF-8 text with commas."
        ) from error


def read_text(path: Path) -> str:
    """A text file in UTF-8 or UTF-16, with a byte order mark or without.

    Raises:
        ImageError: it cannot be read, or is no such text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}.", "Check the file and its permissions.") from error
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), None)
    if encoding is None:
        head = content[:64]
        encoding = "utf-16-le" if head[1:2] == b"\0" else "utf-16-be" if head[:1] == b"\0" else "utf-8"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ImageError(
            f"{path} cannot be read as {_kind(path)}: line {line} is not {encoding.upper()}.",
            "Save it as UTF-8 text.",
        ) from error
    if "\0" in text:
        raise ImageError(f"{path} cannot be read as {_kind(path)}: it is no text.", "Save it as UTF-8 text.")
    return text


def _kind(path: Path) -> str:
    return "CSV" if path.suffix.lower() in (".csv", ".tsv") else "text"
