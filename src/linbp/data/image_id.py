"""Names of images, which also name the files of their adversarial images."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from linbp.data.image_record import ImageRecord
from linbp.errors import ImageError

__all__ = ["check_id", "check_ids"]

UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]')
LONGEST = 200


def check_id(image_id: str, where: str) -> None:
    """Refuse an id that cannot be the name of a file on every system.

    Raises:
        ImageError: it is one.
    """
    if not image_id or UNSAFE.search(image_id) or image_id.startswith(".") or len(image_id.encode()) > LONGEST:
        raise ImageError(
            f"The image id {image_id!r} ({where}) cannot be the name of a file.",
            f'Use up to {LONGEST} bytes of UTF-8, no leading dot, and none of < > : " / \\ | ? * or control characters.'
            " A CSV's column image_id gives images other names than their files'.",
        )


def check_ids(records: Sequence[ImageRecord]) -> None:
    """Refuse ids that cannot name an adversarial image's file, or that two images share.

    Some file systems ignore case, and some the difference between é as one character and as two.

    Raises:
        ImageError: there is one.
    """
    known: dict[str, ImageRecord] = {}
    for record in records:
        check_id(record.image_id, record.where)
        other = known.setdefault(unicodedata.normalize("NFC", record.image_id).casefold(), record)
        if other is record:
            continue
        same = f"differs from {other.image_id!r} by case"
        if other.image_id == record.image_id:
            same = "is used twice"
        elif other.image_id.casefold() != record.image_id.casefold():
            same = f"differs from {other.image_id!r} by the normalisation of Unicode"
        raise ImageError(
            f"The image id {record.image_id!r} {same}: {other.where} and {record.where}.",
            "Each image needs an id of its own: it names its adversarial image's file. A CSV's column image_id gives "
            "one.",
        )
