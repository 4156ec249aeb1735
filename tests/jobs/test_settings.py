"""Folders of resumable jobs: what is said of other settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from linbp.errors import StoreError
from linbp.jobs.settings import differences, refuse_other_settings


def test_differences_are_named_with_their_path() -> None:
    old = {"same": 1, "deep": {"hash": "a" * 64, "gone": 2}, "text": "x"}
    new = {"same": 1, "deep": {"hash": "b" * 64, "new": None}, "text": "y"}
    assert differences(old, new) == [
        "deep.hash: aaaaaaaaaaaa... -> bbbbbbbbbbbb...",
        "deep.gone: 2 -> null",
        "text: x -> y",
    ]
    assert differences(old, old) == []


def test_members_of_lists_are_named_by_their_number() -> None:
    old = {"members": [{"name": "a", "width": 1}, {"name": "b"}]}
    new = {"members": [{"name": "a", "width": 2}, {"name": "b"}]}
    assert differences(old, new) == ["members.1.width: 1 -> 2"]


def test_other_settings_are_refused_in_words(tmp_path: Path) -> None:
    settings = {"seed": 0, "images_sha256": "a" * 64}
    refuse_other_settings(tmp_path, settings, dict(settings))
    with pytest.raises(StoreError) as caught:
        refuse_other_settings(tmp_path, settings, {"seed": 1, "images_sha256": "b" * 64})
    assert caught.value.message == (
        f"{tmp_path} was started with other settings: seed: 0 -> 1; the images, their labels or targets."
    )
    assert "--out" in caught.value.hint
