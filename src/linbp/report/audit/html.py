"""An audit's page: one HTML file that needs no network."""

from __future__ import annotations

from linbp.audit.result import Audit
from linbp.report.html import check_packages, render_page
from linbp.report.page import Page

__all__ = ["render"]


def render(audit: Audit) -> str:
    """The page of an audit.

    Raises:
        StoreError: the packages of the extra `report` are not installed.
    """
    check_packages()
    from linbp.report.audit.chapters import chapters_of
    from linbp.report.audit.pictures import read_examples

    title = f"How exposed is {audit.victim.name}?"
    return render_page(
        audit, Page(title=title, chapters=chapters_of(audit, read_examples(audit)), kicker="linbp audit")
    )
