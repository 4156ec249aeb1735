"""What the tests of the command line share."""

from __future__ import annotations

import sys

import pytest
from command_line import Answer, Run

from linbp.cli.app import main


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process and in the working directory."""

    def typed(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["linbp", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        status = caught.value.code
        assert isinstance(status, int)
        return Answer(status, *capsys.readouterr())

    return typed
