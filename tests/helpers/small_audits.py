"""An audit of small networks that takes seconds, with pictures, controls and every chapter of a page but a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fitted_networks import fitted, write_patterned

from linbp.audit.prepare import AuditPlan
from linbp.audit.result import Audit
from linbp.audit.run_audit import run_audit

__all__ = ["IMAGES", "SETTINGS", "made_audit"]

IMAGES = 40
SETTINGS: dict[str, Any] = {
    "eps": ["8/255", "16/255"],
    "budget": 48,
    "fail_above": ["0.2"],
    "command": "linbp audit second --data photos",
}


def made_audit(folder: Path) -> tuple[Audit, list[AuditPlan]]:
    """An audit of the network 1 with the networks 0 and 2 as surrogates, and what it announced.

    Args:
        folder: new; the images will be in `photos`, the audit in `run`.
    """
    photos = write_patterned(folder / "photos", IMAGES)
    plans: list[AuditPlan] = []
    surrogates = [fitted(0), fitted(2)]
    return run_audit(fitted(1), photos, folder / "run", surrogates=surrogates, announce=plans.append, **SETTINGS), plans
