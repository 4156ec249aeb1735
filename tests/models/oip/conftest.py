"""What the tests of served models share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("LINBP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LINBP_VICTIM_TOKEN", raising=False)
    return tmp_path / "cache"
