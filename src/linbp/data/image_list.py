"""Which images there are: a CSV or a folder becomes a checked list of ids, files, labels and targets."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from linbp.data.files import MANIFEST
from linbp.data.images import EXTENSIONS
from linbp.errors import ImageError, nearest_name

__all__ = ["ImageRecord", "list_images", "list_sha256"]

# The original list of the NIPS 2017 competition names its columns this way.
COLUMN_ALIASES = {"image_id": "ImageId", "label": "TrueLabel", "target": "TargetClass"}
# Those of the LinBP paper's code and TA-Bench (image_name, class, class_index), and TransferAttack's (filename).
FILE_COLUMNS, LABEL_COLUMNS, FOLDER_COLUMN = ("file", "filename", "image_name"), ("class_index",), "class"

UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]')


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """One image of a list.

    Attributes:
        image_id: its name: that of its adversarial image's file, and the key of its randomness.
        path: the file.
        label: its class, counted from 0; None where the list has no labels.
        target: the class that a targeted attack aims at, counted from 0; None without targets.
        where: the place in the list, for messages.
    """

    image_id: str
    path: Path
    label: int | None = None
    target: int | None = None
    where: str = ""


def list_images(
    source: str | os.PathLike[str], *, targets: str | None = None, first_label: int = 0
) -> tuple[ImageRecord, ...]:
    """The images of a CSV file or a folder, in the file's order or sorted by name.

    `source` is one of
    - a CSV with a header and the columns `image_id` (optional: the file's stem), `file` (relative to the CSV, or to
      `images/` beside it; optional: `image_id` with an image's ending, in the same places), `label` (optional) and any
      others; NIPS 2017's `ImageId`, `TrueLabel` and `TargetClass` are understood, and so are the lists of the LinBP
      paper's code and TA-Bench (`class_index`, `class` for the files' folder, `image_name`) and TransferAttack's
      (`filename`);
    - a folder with such a file called `images.csv`;
    - a folder with one sub-folder for each class, named by its number: `305/x.jpg` becomes image `305_x`;
    - a folder of images, without labels.

    Args:
        source: the CSV or the folder.
        targets: the CSV's column of target classes, for targeted attacks.
        first_label: what the list calls the first class: 0, or 1 in NIPS 2017's original list. Labels and targets are
            returned counted from 0.

    Raises:
        ImageError: nothing is found, or a row is faulty; the message names the row.
    """
    if not os.fspath(source):
        raise ImageError("The name of the list of images is empty.", "Give a CSV file or a folder.")
    source = Path(source)
    if source.is_dir():
        if (source / "images.csv").is_file():
            records = _from_csv(source / "images.csv", targets, first_label)
        elif targets is not None:
            raise ImageError(
                f"{source} holds no images.csv, so there is no column {targets!r}.",
                "Targets come from a CSV with the columns file, label and one of target classes.",
            )
        else:
            records = _from_folder(source, first_label)
    elif source.is_file():
        if source.suffix.lower() in EXTENSIONS:
            raise ImageError(f"{source} is an image, not a list.", "Give the folder it lies in, or a CSV file.")
        records = _from_csv(source, targets, first_label)
    else:
        raise ImageError(f"{source} does not exist.", "Give a folder of images, or a CSV with the columns file, label.")
    _check_ids(records)
    return tuple(records)


def list_sha256(records: Sequence[ImageRecord], pixel_hashes: Sequence[str]) -> str:
    """SHA-256 of a list's content: ids, labels, targets and pixels in their order, but not where the files lie."""
    digest = hashlib.sha256()
    for record, pixels in zip(records, pixel_hashes, strict=True):
        digest.update(f"{record.image_id}\0{record.label}\0{record.target}\0{pixels}\n".encode())
    return digest.hexdigest()


def _from_folder(folder: Path, first_label: int) -> list[ImageRecord]:
    files, folders = _images_in(folder), [path for path in sorted(folder.iterdir()) if path.is_dir()]
    # A folder of adversarial images that lies among the images is none of their classes.
    classes = [
        path
        for path in folders
        if not path.name.startswith(".")
        and (path.name.isdecimal() or not (path / MANIFEST).is_file())
        and _images_in(path)
    ]
    if files and classes:
        raise ImageError(
            f"{folder} holds both images and sub-folders of images ({classes[0].name}).",
            "Keep either one sub-folder for each class or images alone, or write a CSV.",
        )
    if not files and not classes:
        raise ImageError(
            f"{folder} holds no images.",
            f"Images end in {', '.join(sorted(EXTENSIONS))}, in the folder or in sub-folders named by class number.",
        )
    if files:
        return [ImageRecord(image_id=path.stem, path=path, where=path.name) for path in files]
    records = []
    for path in classes:
        where = f"sub-folder {path.name} of {folder}"
        if not path.name.isdecimal():
            raise ImageError(
                f"{where[0].upper()}{where[1:]} is not named by a class number.",
                "Name the sub-folders by the numbers of the network's classes (305/x.jpg), or write a CSV.",
            )
        label = _class_number(path.name, "label", where, first_label)
        for file in _images_in(path):
            records.append(ImageRecord(image_id=f"{path.name}_{file.stem}", path=file, label=label, where=where))
    return records


def _images_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
    )


def _from_csv(path: Path, targets: str | None, first_label: int) -> list[ImageRecord]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImageError(f"{path} cannot be read as CSV: {error}.", "Save it as UTF-8 text with commas.") from error
    rows = [(line, row) for line, row in rows if any(row)]
    if not rows:
        raise ImageError(f"{path} is empty.", "The first line names the columns: image_id,file,label.")
    header = rows[0][1]
    twice = {name for name in header if header.count(name) > 1 and name}
    if twice:
        raise ImageError(f"{path} names the column {sorted(twice)[0]!r} twice.", "Keep one of them.")
    id_column, label_column = _column(path, header, "image_id"), _column(path, header, "label")
    if label_column is None:
        label_column = next((header.index(name) for name in LABEL_COLUMNS if name in header), None)
    file_column = next((header.index(name) for name in FILE_COLUMNS if name in header), None)
    folder_column = header.index(FOLDER_COLUMN) if FOLDER_COLUMN in header else None
    if id_column is None and file_column is None:
        raise ImageError(
            f"{path} has neither a column file nor image_id: it has {', '.join(header)}.",
            "The first line names the columns, such as image_id,file,label."
            + (" Separate cells with commas." if re.search(r"[;\t|]", "".join(header)) else ""),
        )
    target_column = None
    if targets is not None:
        target_column = _column(path, header, targets)
        if target_column is None:
            raise ImageError(f"{path} has no column {targets!r} of targets.", nearest_name(targets, header))
    if len(rows) == 1:
        raise ImageError(f"{path} lists no images.", "Add one line for each image below the names of the columns.")
    records = []
    for line, row in rows[1:]:
        where = f"line {line} of {path}"
        if len(row) != len(header):
            raise ImageError(
                f"{where[0].upper()}{where[1:]} has {len(row)} cells instead of {len(header)}.",
                "Put a cell that holds a comma in double quotes.",
            )
        if file_column is not None:
            if not row[file_column]:
                raise ImageError(f"No file in {where}.", "Give the image's file, relative to the CSV.")
            places = [path.parent, path.parent / "images"]
            if folder_column is not None:
                places.append(path.parent / row[folder_column])
            found = [place / row[file_column] for place in places]
            file_path = next((place for place in found if place.is_file()), found[0])
            image_id = row[id_column] if id_column is not None else file_path.stem
        else:
            assert id_column is not None
            image_id = row[id_column]
            file_path = _find_by_id(path.parent, image_id, where)
        if not file_path.is_file():
            raise ImageError(f"Image {file_path} ({where}) does not exist.", "Files are looked up relative to the CSV.")
        records.append(
            ImageRecord(
                image_id=image_id,
                path=file_path,
                label=None if label_column is None else _class_number(row[label_column], "label", where, first_label),
                target=None
                if target_column is None
                else _class_number(row[target_column], "target", where, first_label),
                where=where,
            )
        )
    return records


def _column(path: Path, header: list[str], name: str) -> int | None:
    """Where a column stands under its own name or NIPS 2017's; None if it does not."""
    alias = COLUMN_ALIASES.get(name)
    if name in header and alias in header:
        raise ImageError(f"{path} has both a column {name} and a column {alias}.", "Keep one of them.")
    for known in (name, alias):
        if known is not None and known in header:
            return header.index(known)
    return None


def _find_by_id(folder: Path, image_id: str, where: str) -> Path:
    _check_id(image_id, where)
    found = [
        path
        for place in (folder, folder / "images")
        if place.is_dir()
        for ending in sorted(EXTENSIONS)
        for path in (place / (image_id + ending), place / (image_id + ending.upper()))
        if path.is_file()
    ]
    # A file system that ignores case finds one file under two names.
    distinct = {path.resolve().as_posix().lower(): path for path in reversed(found)}
    if len(distinct) != 1:
        there = "no image" if not found else " and ".join(str(path) for path in found)
        raise ImageError(
            f"For image {image_id!r} ({where}) there is {there}.", "Add a column file with the path of each image."
        )
    return found[0]


def _class_number(text: str, what: str, where: str, first_label: int) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ImageError(
            f"The {what} in {where} is {text!r}, not an integer.",
            "Labels are numbers of the network's classes, from 0.",
        ) from None
    if number < first_label:
        raise ImageError(
            f"The {what} in {where} is {number}, but the first class is called {first_label}.",
            "Labels count from 0; a list that counts from 1 needs --first-label 1 (first_label=1 in Python).",
        )
    return number - first_label


def _check_id(image_id: str, where: str) -> None:
    if not image_id or UNSAFE.search(image_id) or image_id.startswith(".") or len(image_id.encode()) > 200:
        raise ImageError(
            f"The image id {image_id!r} ({where}) cannot be the name of a file.",
            'Use up to 200 bytes of UTF-8, no leading dot, and none of < > : " / \\ | ? * or control characters.',
        )


def _check_ids(records: Sequence[ImageRecord]) -> None:
    """Refuse ids that cannot name an adversarial image's file, or that two images share (some file systems ignore
    case)."""
    known: dict[str, ImageRecord] = {}
    for record in records:
        _check_id(record.image_id, record.where)
        other = known.setdefault(record.image_id.casefold(), record)
        if other is not record:
            same = "is used twice" if other.image_id == record.image_id else f"differs from {other.image_id!r} by case"
            raise ImageError(
                f"The image id {record.image_id!r} {same}: {other.where} and {record.where}.",
                "Each image needs an id of its own: it names its adversarial image's file.",
            )
