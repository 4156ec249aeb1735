"""The file that says that a shard is finished: its records, and a last line with their hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from linbp.data.files import json_bytes

__all__ = ["read_shard", "shard_bytes"]


def shard_bytes(records: Sequence[Mapping[str, Any]], key: str) -> bytes:
    """The records of a shard, one JSON object a line as in `records.jsonl`, and a line with their hash and its key."""
    lines = b"".join(map(json_bytes, records))
    return lines + json_bytes({"shard": key, "records": len(records), "sha256": hashlib.sha256(lines).hexdigest()})


def read_shard(content: bytes | None, key: str) -> list[dict[str, Any]] | None:
    """The records of the shard of that key; None if there is no file, or not what was written for it."""
    if content is None:
        return None
    lines, _, last = content.rstrip(b"\n").rpartition(b"\n")
    try:
        told = json.loads(last)
        if told["shard"] != key or told["sha256"] != hashlib.sha256(lines + b"\n").hexdigest():
            return None
        records = [json.loads(line) for line in lines.split(b"\n")]
    except (ValueError, TypeError, KeyError):
        return None
    return records if len(records) == told["records"] else None
