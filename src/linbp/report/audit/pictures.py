"""The examples of an audit's page: each clean image beside its adversarial image, at one scale, nothing magnified."""

from __future__ import annotations

import dataclasses

from linbp.audit.result import Audit, Example
from linbp.report.gallery import data_url, decoded
from linbp.report.source import RunFiles

__all__ = ["Shown", "read_examples"]


@dataclasses.dataclass(frozen=True)
class Shown:
    """An example with its pictures as data URLs, and their size in pixels."""

    example: Example
    clean: str
    adv: str
    width: int
    height: int


def read_examples(audit: Audit) -> tuple[Shown, ...]:
    """The examples whose files are there."""
    if audit.store is None:
        return ()
    files, found = RunFiles(audit.store), []
    for one in audit.examples:
        clean, adv = decoded(files.read(one.file)), decoded(files.read(f"attacks/{one.attack}/{one.image_id}.png"))
        if clean is not None and adv is not None:
            found.append(Shown(one, data_url(clean), data_url(adv), adv.shape[1], adv.shape[0]))
    return tuple(found)
