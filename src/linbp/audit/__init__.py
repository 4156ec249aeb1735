"""How exposed a model is, and how sure that is. The package itself is a function:

audit = linbp.audit("net.onnx", "photos/", out="runs/audit")
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linbp.audit.audit_suite import AuditSuite, read_audit_suite
    from linbp.audit.prepare import AuditPlan
    from linbp.audit.resolve import read_audit
    from linbp.audit.result import Audit
    from linbp.audit.run_audit import Incomplete, run_audit

__all__ = ["Audit", "AuditPlan", "AuditSuite", "Incomplete", "read_audit", "read_audit_suite", "run_audit"]

_HOMES = {
    "Audit": "linbp.audit.result",
    "AuditPlan": "linbp.audit.prepare",
    "AuditSuite": "linbp.audit.audit_suite",
    "Incomplete": "linbp.audit.run_audit",
    "read_audit": "linbp.audit.resolve",
    "read_audit_suite": "linbp.audit.audit_suite",
    "run_audit": "linbp.audit.run_audit",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: an audit is read without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'linbp.audit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


class _Callable(types.ModuleType):
    """A package that is called: its name is that of the function, and Python has only one place for both."""

    def __call__(self, victim: Any, data: Any, out: Any, **options: Any) -> Audit:
        """`run_audit`, with its arguments; the report's files are written into the run as well."""
        from linbp.audit.run_audit import Incomplete, run_audit

        # Reports stand on audits, and not the other way round: only whoever makes an audit loads what writes them.
        report = importlib.import_module("linbp.report.audit.write")
        report.check_packages()
        try:
            found = run_audit(victim, data, out, **options)
        except Incomplete as stopped:
            report.write_audit(stopped.audit)
            raise stopped.fault from None
        report.write_audit(found)
        return found


sys.modules[__name__].__class__ = _Callable
