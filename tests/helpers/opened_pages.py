"""A page in the system's Chromium: what it says, what it asks for, and whether everyone can read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["Opened", "serious_faults"]

READY = "document.documentElement.dataset.ready !== undefined"
SIZES = {"desk": {"width": 1400, "height": 900}, "phone": {"width": 390, "height": 844}}


class Opened:
    """A page that is open, and what it said and asked for."""

    def __init__(self, browser: Any, path: Path, size: str = "desk", scheme: str = "light") -> None:
        self.context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, offline=True)
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url.split(":")[0]))
        self.page.goto(path.as_uri())
        self.page.wait_for_function(READY)

    def count(self, selector: str) -> int:
        return int(self.page.locator(selector).count())

    def shown(self, selector: str) -> int:
        return int(self.page.locator(f"{selector}:visible").count())


def serious_faults(page: Any) -> list[str]:
    """What axe finds that keeps people from reading a page, each with the element."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")]
