"""Writes an audit's files into its run."""

from __future__ import annotations

from collections.abc import Callable

from linbp.audit.result import Audit
from linbp.bench.store import Store, open_store
from linbp.errors import StoreError
from linbp.report.audit import html, json, junit, markdown
from linbp.report.html import check_packages as page_packages

__all__ = ["FILES", "check_packages", "write_audit"]

FILES: dict[str, Callable[[Audit], str]] = {
    "results.json": json.render,
    "summary.md": markdown.render,
    "junit.xml": junit.render,
    "report.html": html.render,
}
"""The files, and what renders each; the page comes last, since it needs packages that may be missing."""


def check_packages() -> None:
    """Refuse to start where the packages that draw the page are missing.

    Raises:
        StoreError: one is.
    """
    try:
        page_packages()
    except StoreError as fault:
        raise StoreError(fault.message, "Install the extra: pip install 'linbp[report]'.") from None


def write_audit(audit: Audit) -> tuple[str, ...]:
    """Write every file, and say where they lie.

    Raises:
        StoreError: one cannot be written, or packages that draw the page are missing; the others are written.
    """
    store: Store = audit.store if audit.store is not None else open_store(audit.out)
    written, missing = [], None
    for name, render in FILES.items():
        try:
            content = render(audit)
        except StoreError as fault:
            missing = fault
            continue
        store.write(name, content.encode(errors="backslashreplace"))
        written.append(store.place(name))
    if missing is not None:
        raise missing
    return tuple(written)
