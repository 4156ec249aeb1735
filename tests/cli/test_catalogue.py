"""What `linbp list` and `linbp show` say is kept in a file, which is as good as asking the parts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from linbp.cli import catalogue as module
from linbp.cli.catalogue import CATALOGUE, catalogue, live_catalogue


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    catalogue.cache_clear()
    yield
    catalogue.cache_clear()


def test_the_file_says_what_the_parts_say() -> None:
    kept = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    assert kept == json.loads(json.dumps(live_catalogue())), "run `make format`, which writes it again"


@pytest.mark.parametrize("command", [["list", "rules"], ["show", "linbp"], ["show", "linbp-2020-imagenet", "--json"]])
def test_torch_is_not_imported(command: list[str]) -> None:
    code = (
        "import sys\nfrom linbp.cli import main\ntry:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    ended = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "linbp" in ended.stdout


def test_a_file_of_other_sources_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    stale = tmp_path / "catalogue.json"
    stale.write_text(json.dumps({**old, "sources": "0" * 64, "parts": []}))
    monkeypatch.setattr(module, "CATALOGUE", stale)
    assert catalogue()["parts"]


def test_parts_of_other_packages_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "entry_points", lambda group: [group])
    monkeypatch.setattr(module, "live_catalogue", lambda: {"parts": ["theirs"]})
    assert catalogue() == {"parts": ["theirs"]}
