"""A CSV file as a list of images: which column is which, where the files lie, and what each row says."""

from __future__ import annotations

import dataclasses
import difflib
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from linbp.data.class_numbers import classes_meant, names_a_class, words_among
from linbp.data.csv_table import Row, Table, plain, read_table
from linbp.data.image_folder import Contents, looks_like_image
from linbp.data.image_id import check_id
from linbp.data.image_record import ImageList, ImageRecord
from linbp.data.image_rows import check_one_label_a_file, class_in_cell, without_repeats
from linbp.data.images import EXTENSIONS
from linbp.data.unused import by_kind
from linbp.errors import ImageError, nearest_name

__all__ = ["Columns", "columns_of", "is_header", "label_hint", "list_csv"]

# First what this list's columns are called here, then what others call them: the NIPS 2017 competition (ImageId,
# TrueLabel, TargetClass), the LinBP paper's code and TA-Bench (image_name, class_index, class for the files' folder),
# TransferAttack (filename), pandas and spreadsheets of users. Without case, space and signs; see `plain`.
ROLES: Mapping[str, tuple[str, ...]] = {
    "image_id": ("imageid",),
    "file": (
        *("file", "filename", "imagename", "files", "filenames", "filepath", "path", "paths", "image", "images"),
        *("imagefile", "imagepath", "img", "imgname", "imgfile", "imgpath", "fname"),
    ),
    "label": (
        *("label", "truelabel", "classindex", "labels", "classid", "classidx", "classnumber", "labelid", "labelindex"),
        *("labelidx", "groundtruth", "classname", "labelname", "category", "categoryname"),
    ),
    "target": ("target", "targetclass"),
}
# What numbers a class stands before what names it, in the order above.
FOLDER, ID = "class", "id"
"""The column of files' folders or of classes; and that of ids where there is none of files."""
CONTRADICTING = {"label": ("label", "truelabel"), "target": ("target", "targetclass")}
"""Names of which a list may have one only: two of them would leave open which is meant."""


@dataclasses.dataclass(frozen=True)
class Columns:
    """Where in a row the parts of an image's entry stand; None where the list has no such column."""

    image_id: int | None = None
    file: int | None = None
    label: int | None = None
    target: int | None = None
    folder: int | None = None


def list_csv(path: Path, targets: str | None, first_label: int) -> ImageList:
    """The images of a CSV file, in its order.

    Raises:
        ImageError: a column or a file is missing, or a row is faulty; the message names it.
    """
    table = read_table(path, is_header)
    if table.header is None and not table.rows:
        raise ImageError(f"{path} is empty.", "The first line names the columns: image_id,file,label.")
    columns = columns_of(path, table, targets)
    if not table.rows:
        raise ImageError(f"{path} lists no images.", "Add one line for each image below the names of the columns.")
    records, missing = [], []
    texts = {at: [_cell(row, at) for row in table.rows] for at in (columns.label, columns.target) if at is not None}
    words = {at: set(words_among(cells)) for at, cells in texts.items()}
    for row in table.rows:
        where = f"line {row.line} of {path}"
        cells = _cells(row, table, where)
        image_id, file, found = _file(path, cells, columns, where)
        if not found:
            missing.append((file, where))
        label, target = (
            None if at is None else class_in_cell(cells[at], what, where, first_label, words[at], texts[at])
            for at, what in ((columns.label, "label"), (columns.target, "target"))
        )
        records.append(
            ImageRecord(
                image_id=image_id,
                path=file,
                label=label,
                target=target,
                where=where,
                class_name=None if columns.label is None else cells[columns.label],
                target_name=None if columns.target is None else cells[columns.target],
            )
        )
    if missing:
        raise _missing(path, missing, len(records))
    kept, repeated = without_repeats(records)
    check_one_label_a_file(kept)
    unused = by_kind(
        [
            *(("lines that begin with #", f"line {line}") for line in table.comments),
            *(("rows that repeat another", record.where.partition(" of ")[0]) for record in repeated),
        ]
    )
    return ImageList(
        kept,
        source=os.fspath(path),
        unused=unused,
        columns=tuple(table.header or ()),
        classes=classes_meant(cell for at, cells in texts.items() if not words[at] for cell in cells),
        order=sorted({cell for cells in texts.values() for cell in cells}),
    )


def label_hint(records: Sequence[ImageRecord]) -> str:
    """What to say about a CSV file without labels: its columns, and which of them may hold the labels."""
    columns = getattr(records, "columns", ())
    if not columns:
        return ""
    hint = f"The list has the columns {', '.join(columns)}."
    near = [name for name in columns if difflib.get_close_matches(plain(name), ROLES["label"], n=1, cutoff=0.6)]
    return hint + (f" If {near[0]} holds the classes, call it label." if near else "")


def is_header(cells: Sequence[str]) -> bool:
    """Whether a row names the columns of a list of images."""
    return not {plain(cell) for cell in cells}.isdisjoint((*ROLES["image_id"], *ROLES["file"], ID))


def columns_of(path: Path, table: Table, targets: str | None) -> Columns:
    """Which column is which.

    Raises:
        ImageError: there are two of one kind, or none that gives the files.
    """
    if table.header is None:
        return _columns_without_header(path, table, targets)
    header = table.header
    twice = [name for name in header if header.count(name) > 1 and name]
    if twice:
        raise ImageError(f"{path} names the column {twice[0]!r} twice.", "Keep one of them.")
    target = None
    if targets is not None:
        target = _named(path, header, targets)
        if target is None:
            raise ImageError(f"{path} has no column {targets!r} of targets.", nearest_name(targets, set(header) - {""}))
    names, folder = [plain(name) for name in header], None
    label = _role(path, header, "label")
    if FOLDER in names:
        folder = names.index(FOLDER)
        cells = [_cell(row, folder) for row in table.rows]
        if label is None and folder != target and all(cells):
            label = folder
    image_id, file = _role(path, header, "image_id"), _role(path, header, "file")
    if image_id is None and file is None:
        image_id = names.index(ID)
    return Columns(image_id, file, label, target, folder)


def _role(path: Path, header: Sequence[str], role: str) -> int | None:
    """Where the column of a role stands: under its own name here, or under one that others give it."""
    names = [plain(name) for name in header]
    same = [header[at] for at, name in enumerate(names) if name in CONTRADICTING.get(role, ())]
    if len(same) > 1:
        raise ImageError(f"{path} has both a column {same[0]} and a column {same[1]}.", "Keep one of them.")
    for known in ROLES[role]:
        places = [at for at, name in enumerate(names) if name == known]
        if len(places) > 1:
            both = " and a column ".join(header[at] for at in places[:2])
            raise ImageError(f"{path} has both a column {both}.", "Keep one of them.")
        if places:
            return places[0]
    return None


def _named(path: Path, header: Sequence[str], name: str) -> int | None:
    """Where the column stands that a user named, under that name or another of its role's."""
    if name in header:
        return header.index(name)
    role = next((role for role, names in ROLES.items() if plain(name) in names[:2]), None)
    if role is not None and (found := _role(path, header, role)) is not None:
        return found
    names = [plain(column) for column in header]
    return names.index(plain(name)) if plain(name) in names else None


def _columns_without_header(path: Path, table: Table, targets: str | None) -> Columns:
    """Columns by what stands in them: one holds files, and at most one other holds classes.

    Raises:
        ImageError: that is not so, or a column of targets was asked for.
    """
    first = table.rows[0].cells
    files = [at for at, cell in enumerate(first) if looks_like_image(cell)]
    numbers = [at for at, cell in enumerate(first) if names_a_class(cell)]
    if len(files) != 1 or len(numbers) > 1 or targets is not None:
        names = {name for role in ("image_id", "file") for name in ROLES[role]}
        close = next((cell for cell in first if difflib.get_close_matches(plain(cell), names, n=1, cutoff=0.75)), None)
        raise ImageError(
            f"{path} has neither a column file nor image_id: it has {', '.join(first)}.",
            "The first line names the columns, such as image_id,file,label."
            + ("" if close is None else f" Is {close!r} the column of files? Call it file."),
        )
    others = [at for at in range(len(first)) if at != files[0] and first[at]]
    if not numbers and len(first) == 2:
        numbers = others
    return Columns(file=files[0], label=numbers[0] if numbers else None)


def _cell(row: Row, at: int | None) -> str:
    return row.cells[at] if at is not None and at < len(row.cells) else ""


def _cells(row: Row, table: Table, where: str) -> list[str]:
    """A row's cells, one for each column: empty ones beyond the columns are left out.

    Raises:
        ImageError: there are more, or fewer.
    """
    cells, count = list(row.cells), len(table.header or table.rows[0].cells)
    while len(cells) > count and not cells[-1]:
        cells.pop()
    if len(cells) != count:
        raise ImageError(
            f"{where[0].upper()}{where[1:]} has {len(cells)} cells instead of {count}.",
            "Put a cell that holds a comma in double quotes.",
        )
    return cells


def _file(path: Path, cells: Sequence[str], columns: Columns, where: str) -> tuple[str, Path, bool]:
    """Id and file of a row, and whether the file is there.

    Raises:
        ImageError: the row names no file, or its id names none or several.
    """
    if columns.file is None:
        assert columns.image_id is not None
        return cells[columns.image_id], _find_by_id(path.parent, cells[columns.image_id], where), True
    name = cells[columns.file]
    if not name:
        raise ImageError(f"No file in {where}.", "Give the image's file, relative to the CSV.")
    places = [path.parent, path.parent / "images"]
    if columns.folder is not None:
        places.append(path.parent / cells[columns.folder])
    file = next((place / name for place in places if os.path.isfile(place / name)), None)
    if file is None:
        file = next((found for place in places for found in _other_spellings(place / name)), None)
    image_id = cells[columns.image_id] if columns.image_id is not None else (file or Path(name)).stem
    return image_id, file or path.parent / name, file is not None


def _other_spellings(file: Path) -> Iterator[Path]:
    """Files of that name in another normalisation of Unicode, or with the separators of Windows."""
    forward = file.parent.joinpath(*file.name.split("\\"))
    if forward != file and os.path.isfile(forward):
        yield forward
    if not file.name.isascii() and os.path.isdir(file.parent):
        wanted = unicodedata.normalize("NFC", file.name)
        for name in sorted(os.listdir(file.parent)):
            if unicodedata.normalize("NFC", name) == wanted:
                yield file.parent / name


def _find_by_id(folder: Path, image_id: str, where: str) -> Path:
    check_id(image_id, where)
    found = [
        path
        for place in (folder, folder / "images")
        for ending in sorted(EXTENSIONS)
        for path in (place / (image_id + ending), place / (image_id + ending.upper()))
        if os.path.isfile(path)
    ]
    # A file system that ignores case finds one file under two names.
    distinct = {path.resolve().as_posix().lower(): path for path in reversed(found)}
    if len(distinct) != 1:
        there = "no image" if not found else " and ".join(str(path) for path in found)
        raise ImageError(
            f"For image {image_id!r} ({where}) there is {there}.", "Add a column file with the path of each image."
        )
    return found[0]


def _missing(path: Path, missing: Sequence[tuple[Path, str]], count: int) -> ImageError:
    file, where = missing[0]
    what = "is a folder" if os.path.isdir(file) else "is a broken link" if os.path.islink(file) else "does not exist"
    hint = "Files are looked up relative to the CSV."
    if os.path.isdir(file.parent):
        beside = {known.name.lower(): known.name for known in Contents.of(file.parent).images}
        if close := difflib.get_close_matches(file.name.lower(), beside, n=1, cutoff=0.8):
            hint += f" There is {file.parent / beside[close[0]]}."
    if len(missing) == 1:
        return ImageError(f"Image {file} ({where}) {what}.", hint)
    others = ", ".join(f"{one} ({place.partition(' of ')[0]})" for one, place in missing[:3])
    dots = ", ..." if len(missing) > 3 else ""
    return ImageError(f"{len(missing)} of {count} images of {path} do not exist: {others}{dots}.", hint)
