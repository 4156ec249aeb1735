"""The command line as a user types it, run in the test's own process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Answer", "Run", "two_lines"]


class Answer(NamedTuple):
    """Exit status, standard output and standard error."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Standard output, wherever its lines are broken."""
        return " ".join(self.out.split())

    @property
    def facts(self) -> dict[str, Any]:
        """What `--json` printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found


Run = Callable[..., Answer]


def two_lines(answer: Answer, *words: str) -> None:
    """An error's form: exit status 2, one line and a hint, nothing on standard output; `words` are in either line."""
    assert answer.status == 2, answer
    assert answer.out == ""
    assert [line.split()[0] for line in answer.err.splitlines()] == ["Error:", "Hint:"], answer.err
    for word in words:
        assert word in answer.err
