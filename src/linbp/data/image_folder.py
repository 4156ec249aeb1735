"""A folder of images, or of one sub-folder for each class, as a list; what is passed over there is named."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from linbp.data.class_numbers import class_number, classes_meant, is_number, names_a_class, words_among
from linbp.data.files import MANIFEST
from linbp.data.image_record import ImageList, ImageRecord
from linbp.data.images import EXTENSIONS
from linbp.data.unused import by_kind, sentence
from linbp.errors import ImageError

__all__ = ["Contents", "list_folder", "looks_like_image"]

BROKEN, DEEPER, HIDDEN, OTHER = "broken links", "images in deeper folders", "hidden files", "files of other endings"
ADVERSARIAL, EMPTY, NO_FILE = "folders of adversarial images", "folders without images", "neither files nor folders"


def looks_like_image(name: str) -> bool:
    """Whether a file's name ends as an image's does."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


@dataclasses.dataclass(frozen=True)
class Contents:
    """What one folder holds.

    Attributes:
        images: files that are images by their endings, sorted.
        folders: sub-folders that are not hidden, sorted.
        others: kind and name of everything else, sorted by name.
    """

    images: list[Path]
    folders: list[Path]
    others: list[tuple[str, str]]

    @classmethod
    def of(cls, folder: Path) -> Contents:
        """The contents of a folder.

        Raises:
            ImageError: it cannot be read.
        """
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            raise ImageError(
                f"The folder {folder} cannot be read: {error.strerror}.", "Change its permissions, or give another one."
            ) from error
        found = cls([], [], [])
        for name in names:
            path = folder / name
            if name.startswith("."):
                found.others.append((HIDDEN, name))
            elif os.path.isdir(path):
                found.folders.append(path)
            elif not os.path.exists(path):
                found.others.append((BROKEN, name))
            elif not os.path.isfile(path):
                found.others.append((NO_FILE, name))
            elif looks_like_image(name):
                found.images.append(path)
            else:
                found.others.append((OTHER, name))
        return found

    def below(self, prefix: str) -> list[tuple[str, str]]:
        """The others, with a folder's name before each."""
        return [(kind, prefix + name) for kind, name in self.others]


def list_folder(folder: Path, first_label: int, mixed: bool = False) -> ImageList:
    """The images of a folder, without labels; or those of its sub-folders, which are named by their classes.

    Args:
        folder: that is listed.
        first_label: what the folders call the first class.
        mixed: whether some of them may be numbers and others words.

    Raises:
        ImageError: there are none, there are both, or some sub-folders are named by numbers and others by words.
    """
    top = Contents.of(folder)
    unused, classes, empty = list(top.others), [], []
    for path in top.folders:
        inside = Contents.of(path)
        # A folder of adversarial images that lies among the images is none of their classes.
        if not names_a_class(path.name) and os.path.isfile(path / MANIFEST):
            unused.append((ADVERSARIAL, f"{path.name}/"))
        elif inside.images:
            classes.append((path, inside))
        else:
            deeper = _deeper(folder, inside.folders)
            if not any(kind == DEEPER for kind, _ in deeper):
                unused.append((EMPTY, f"{path.name}/"))
                empty.append(path.name)
            unused += [*inside.below(f"{path.name}/"), *deeper]
    if top.images and classes:
        raise ImageError(
            f"{folder} holds both images and sub-folders of images ({classes[0][0].name}).",
            "Keep either one sub-folder for each class or images alone, or write a CSV.",
        )
    if not top.images and not classes:
        raise _nothing(folder, unused)
    records = [ImageRecord(image_id=path.stem, path=path, where=path.name) for path in top.images]
    names = [path.name for path, _ in classes]
    words = words_among(names)
    if words and not mixed and (number := next(filter(is_number, names), None)):
        raise ImageError(
            f"Sub-folder {words[0]} of {folder} is not named by a class number, as {number} is.",
            "Name all of them by numbers of the network's classes (305/x.jpg), or all by their names; or write a CSV.",
        )
    for path, inside in classes:
        label = None if words else class_number(path.name, "label", f"sub-folder {path.name} of {folder}", first_label)
        unused += [*inside.below(f"{path.name}/"), *_deeper(folder, inside.folders)]
        for file in inside.images:
            image_id, where = f"{path.name}_{file.stem}", f"{path.name}/{file.name}"
            records.append(ImageRecord(image_id=image_id, path=file, label=label, where=where, class_name=path.name))
    return ImageList(
        records,
        source=os.fspath(folder),
        unused=by_kind(unused),
        classes=None if words else classes_meant(names),
        order=sorted([*names, *empty]) if names else (),
    )


def _deeper(folder: Path, starts: list[Path]) -> list[tuple[str, str]]:
    """The images in some folders of a class and below them, and those of the folders that have none."""
    found = []
    for start in starts:
        images = [
            os.path.relpath(os.path.join(place, name), folder)
            for place, _, names in os.walk(start)
            for name in sorted(names)
            if looks_like_image(name) and not name.startswith(".")
        ]
        found += [(DEEPER, name) for name in sorted(images)] or [(EMPTY, os.path.relpath(start, folder) + os.sep)]
    return found


def _nothing(folder: Path, unused: list[tuple[str, str]]) -> ImageError:
    """What to tell about a folder without images at the places where they are looked for."""
    held = f" {sentence(str(folder), by_kind(unused))}" if unused else ""
    deeper = next((name for kind, name in unused if kind == DEEPER), None)
    if deeper is not None:
        place = folder / Path(deeper).parent
        place = place.parent if names_a_class(place.name) else place
        hint = f"Give the folder that holds the images or their classes' folders, such as {place}."
    else:
        endings = ", ".join(sorted(EXTENSIONS))
        hint = f"Images end in {endings}, in the folder or in sub-folders named by class."
    return ImageError(f"{folder} holds no images.{held}", hint)
