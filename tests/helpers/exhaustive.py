"""Cases of a test of which some are tried in continuous integration only."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def marked(cases: Iterable[Any], longest: Collection[Any], *more: Any) -> list[Any]:
    """The cases for `parametrize`, the longest ones marked as exhaustive, and with further marks."""
    marks = [pytest.mark.exhaustive, *more]
    return [pytest.param(case, marks=marks) if case in longest else case for case in cases]
