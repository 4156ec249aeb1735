"""Content addresses: a name that changes whenever something changes that determines a result."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from linbp.version import __version__

__all__ = ["arithmetic", "content_key", "package_versions", "slug"]


def content_key(*facts: Any) -> str:
    """SHA-256, in hexadecimal, of plain values; the order of a mapping's keys does not count."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def arithmetic(device: str, tf32: bool | None) -> str:
    """The kind of a device, and what products of float32 are computed in, if that was chosen."""
    chosen = "" if tf32 is None else " tf32" if tf32 else " ieee"
    return device.partition(":")[0] + chosen


def package_versions(*packages: str) -> dict[str, str]:
    """The versions of linbp and of the packages that a result depends on."""
    found = {"linbp": __version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def slug(text: str, most: int = 40) -> str:
    """A text as a part of a file's name: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:most].rstrip("-.") or "x"
