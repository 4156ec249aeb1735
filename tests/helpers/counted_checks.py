"""How often the settings of an attack are checked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from linbp.attack import AttackConfig, Recipe, config


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Calls of what resolves, parses and checks, from now on."""
    calls: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def counting(*given: Any, **named: Any) -> Any:
            calls[name] += 1
            return real(*given, **named)

        monkeypatch.setattr(owner, name, staticmethod(counting) if hasattr(real, "__self__") else counting)

    for owner, names in (
        (AttackConfig, ["resolve"]),
        (Recipe, ["parse", "check_steps", "check_targets", "check_pool"]),
        (config, ["check_budget"]),
    ):
        for name in names:
            count(owner, name)
    return calls
