"""Labels that a list gives images whose files may lie elsewhere: matched by id or by file."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePath

from linbp.data.csv_table import read_table
from linbp.data.image_csv import columns_of, is_header
from linbp.data.image_list import LIST, list_images
from linbp.errors import ImageError

__all__ = ["labels_in"]

SHOWN = 3


def labels_in(
    source: str | os.PathLike[str], images: Sequence[tuple[str, Path]], column: str | None = None
) -> list[str]:
    """What a list calls the class of each of some images: numbers or names, as they are written there.

    Args:
        source: a CSV with the columns `image_id` or `file` and `label`, or a folder as `list_images` takes it. The
            files need not be there.
        images: id and file of each.
        column: of the CSV, if not `label`.

    Raises:
        ImageError: no such list or column, or it has no label, or two, for an image.
    """
    path = Path(source)
    if path.is_dir() and not (path / LIST).is_file():
        if column is not None:
            raise ImageError(f"{path} holds no {LIST}, so there is no column {column!r}.", "Give a CSV.")
        found = {one.image_id: one.class_name for one in list_images(path)}
        return _all(path, images, [found.get(image_id) for image_id, _ in images])
    table_path = path / LIST if path.is_dir() else path
    if not table_path.is_file():
        raise ImageError(f"{table_path} does not exist.", "Give a CSV with the columns image_id (or file) and label.")
    table = read_table(table_path, is_header)
    if not table.rows:
        raise ImageError(f"{table_path} has no rows.", "Give a CSV with the columns image_id (or file) and label.")
    columns = columns_of(table_path, table, column)
    at = columns.label if column is None else columns.target
    if at is None:
        named = f": it has {', '.join(table.header)}" if table.header else ""
        raise ImageError(f"{table_path} has no column of labels{named}.", "Call the column of the classes label.")
    by_id: dict[str, set[str]] = defaultdict(set)
    by_name: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
    for row in table.rows:
        cells = [*row.cells, *[""] * (at + 1 - len(row.cells))]
        if columns.image_id is not None:
            by_id[cells[columns.image_id]].add(cells[at])
        if columns.file is not None and cells[columns.file]:
            parts = PurePath(cells[columns.file].replace("\\", "/")).parts
            by_name[parts[-1]].append((parts, cells[at]))
            if columns.image_id is None:
                by_id[PurePath(parts[-1]).stem].add(cells[at])
    answers = []
    for image_id, file in images:
        near = {text for parts, text in by_name.get(file.name, ()) if file.parts[-len(parts) :] == parts}
        texts = by_id.get(image_id, set()) if columns.image_id is not None else near or by_id.get(image_id, set())
        if len(texts) > 1:
            several = " and ".join(map(repr, sorted(texts)[:2]))
            raise ImageError(f"{table_path} has several labels for image {image_id!r}: {several}.", "Keep one of them.")
        answers.append(next(iter(texts), None) or None)
    return _all(table_path, images, answers)


def _all(path: Path, images: Sequence[tuple[str, Path]], found: Sequence[str | None]) -> list[str]:
    missing = [image_id for (image_id, _), text in zip(images, found, strict=True) if text is None]
    if missing:
        some = ", ".join(map(repr, missing[:SHOWN])) + (", ..." if len(missing) > SHOWN else "")
        raise ImageError(
            f"{path} has no label for {len(missing)} of {len(images)} images: {some}.",
            "Give each image of the folder a row, by its image_id or by its file.",
        )
    return [text for text in found if text is not None]
