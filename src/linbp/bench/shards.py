"""The file that says that a shard is finished: its records, and a last line with their hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from linbp.data.files import json_bytes

__all__ = ["read_shard", "shard_bytes"]


def shard_bytes(records: Sequence[Mapping[str, Any]]) -> bytes:
    """The records of a shard, one JSON object a line as in `records.jsonl`, and a line with their hash."""
    lines = b"".join(map(json_bytes, records))
    return lines + json_bytes({"records": len(records), "sha256": hashlib.sha256(lines).hexdigest()})


def read_shard(content: bytes | None) -> list[dict[str, Any]] | None:
    """The records of a shard; None if there is no file, or not what was written."""
    if content is None:
        return None
    lines, _, last = content.rstrip(b"\n").rpartition(b"\n")
    try:
        told = json.loads(last)
        if told["sha256"] != hashlib.sha256(lines + b"\n").hexdigest():
            return None
        records = [json.loads(line) for line in lines.split(b"\n")]
    except (ValueError, TypeError, KeyError):
        return None
    return records if len(records) == told["records"] else None
