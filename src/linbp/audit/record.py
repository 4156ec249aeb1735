"""What an audit was asked and saw besides the bench's table: `audit.json` in the folder of its run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from linbp.audit.choose import LeftOut
from linbp.audit.flags import Flag
from linbp.audit.result import SuiteFacts
from linbp.bench.run_files import AUDIT
from linbp.bench.store import Store
from linbp.data.files import json_bytes
from linbp.errors import StoreError

__all__ = ["AuditRecord", "read_record", "write_record"]

VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuditRecord:
    """What the table of results does not say.

    Attributes:
        suite: what was tried.
        victim, model, sha256: the audited model's name, how it was loaded, and the hash of its weights or file.
        classes: how many it has.
        preprocessing: of the model, in words.
        named: whether the user named the surrogates.
        decisive: the radius that decides.
        thresholds: by radius, as texts.
        strict: whether the upper bound decides.
        baseline: another audit's place, or None.
        left_out: networks that were not used.
        checks: flags of the first questions.
        images: the hash of each clean image's pixels, by name.
        failure: why the audit is not complete; empty otherwise.
        command: what the user typed.
        other_classes: names of the surrogates that have other classes than the model.
    """

    suite: SuiteFacts
    victim: str
    model: str
    sha256: str
    classes: int
    preprocessing: str
    named: bool
    decisive: str
    thresholds: Mapping[str, float]
    strict: bool
    baseline: str | None
    left_out: tuple[LeftOut, ...]
    checks: tuple[Flag, ...]
    images: Mapping[str, str]
    failure: str
    command: str
    other_classes: tuple[str, ...] = ()


def write_record(store: Store, record: AuditRecord) -> None:
    """Write it into the run.

    Raises:
        StoreError: it cannot be written.
    """
    store.write(AUDIT, json_bytes({"version": VERSION, **dataclasses.asdict(record)}, indent=2))


def read_record(store: Store, place: str) -> AuditRecord:
    """The record of a run.

    Args:
        store: of the run.
        place: what messages call it.

    Raises:
        StoreError: there is none, or it is of another version.
    """
    content = store.read(AUDIT)
    if content is None:
        raise StoreError(f"{place} holds no {AUDIT}: it is no audit.", "Give the folder of linbp audit.")
    try:
        found: dict[str, Any] = json.loads(content)
        if found.pop("version") != VERSION:
            raise ValueError("its version is another one")
        found["suite"] = SuiteFacts(**found["suite"])
        found["left_out"] = tuple(LeftOut(**one) for one in found["left_out"])
        found["checks"] = tuple(Flag(**one) for one in found["checks"])
        return AuditRecord(**found)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{place}: {AUDIT} cannot be read: {error}.", "Run linbp audit again.") from error
