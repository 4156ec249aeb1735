"""The settings of a job, which may not change once it has started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from linbp.errors import StoreError

__all__ = ["differences", "refuse_other_settings"]

_LISTS = {
    "images_sha256": "the images, their labels or targets",
    "training_sha256": "the training images or their labels",
    "validation_sha256": "the validation images or their labels",
}

_LATER = frozenset({"code", "network_sha256"})
"""Facts that older versions did not record, so that a folder of theirs cannot differ in them."""


def refuse_other_settings(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Let a job go on only with the settings that its folder was started with.

    Args:
        folder: of the job.
        old: settings in the folder's manifest.
        new: settings asked for now.

    Raises:
        StoreError: they differ; the message names each setting that does.
    """
    # Hashes say nothing to people: name the list instead.
    changed = [_LISTS.get(line.partition(":")[0], line) for line in differences(old, new) if not _is_code(line)]
    changed += _changed_code(old.get("code") or {}, new.get("code") or {}) if "code" in old else []
    if changed:
        raise StoreError(
            f"{folder} was started with other settings: {'; '.join(changed)}.",
            "Choose a new folder (--out), or go back to the settings of this one.",
        )


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Which settings differ, each as `name: old -> new`, nested ones with dots, those in lists with their number.

    >>> differences({"eps": 0.03, "model": {"name": "a"}}, {"eps": 0.05, "model": {"name": "a"}})
    ['eps: 0.03 -> 0.05']
    """
    found = []
    for name in dict.fromkeys([*old, *new]):
        if name in _LATER and name not in old:
            continue
        before, after = (_numbered(value) for value in (old.get(name), new.get(name)))
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{name}.")
        elif before != after:
            found.append(f"{prefix}{name}: {_short(before)} -> {_short(after)}")
    return found


def _is_code(line: str) -> bool:
    return line.startswith(("code:", "code."))


def _changed_code(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The parts of other packages whose code or version is another one, in words."""
    found = []
    for name in dict.fromkeys([*old, *new]):
        before, after = (code.get(name) or {} for code in (old, new))
        if before != after:
            home = [f"{code['distribution']} {code['version']}" for code in (before, after) if code.get("distribution")]
            where = " and ".join(dict.fromkeys(home)) or "no package"
            found.append(f"the code of {name} ({where})")
    return found


def _numbered(value: Any) -> Any:
    """A list of nested settings, such as the members of an ensemble, as a mapping from their number, from 1."""
    nested = isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value)
    return {str(number): item for number, item in enumerate(value, 1)} if nested else value


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "name" in value:
        return str(value["name"])
    if isinstance(value, Mapping) and value and all(isinstance(item, Mapping) for item in value.values()):
        return " and ".join(_short(item) for item in value.values())
    text = value if isinstance(value, str) else json.dumps(value)
    # Hashes are told apart by their first digits.
    return f"{text[:12]}..." if len(text) == 64 and text.isalnum() else text
