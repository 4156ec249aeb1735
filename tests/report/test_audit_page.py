"""An audit's page in a browser: the first screen answers, everything is drawn, and everyone can read it."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opened_pages import Opened, serious_faults
from PIL import Image
from test_audit_formats import judged, with_everything

from linbp.audit.result import Audit
from linbp.report.audit.html import render

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

CHAPTERS = ("verdict", "tested", "threat", "exposure", "controls", "classes", "examples", "flags", "limits", "repeat")


@pytest.fixture(scope="module")
def audit(made_audit: Any) -> Audit:
    found: Audit = made_audit[0]
    return found


@pytest.fixture(scope="module")
def page_file(audit: Audit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audit-page") / "report.html"
    path.write_text(render(audit), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def opened(browser: Any, page_file: Path) -> Iterator[Opened]:
    found = Opened(browser, page_file)
    yield found
    found.context.close()


def test_the_chapters_are_in_their_order_and_nothing_is_asked_of_the_network(opened: Opened) -> None:
    found = [section.get_attribute("id") for section in opened.page.locator("section").all()]
    assert tuple(found) == CHAPTERS
    assert opened.said == []
    assert set(opened.asked) <= {"file", "data", "blob"}


@pytest.mark.parametrize("size", ["desk", "phone"])
def test_the_first_screen_has_the_verdict_and_the_exposure(
    browser: Any, audit: Audit, page_file: Path, size: str
) -> None:
    opened = Opened(browser, page_file, size)
    height = opened.page.viewport_size["height"]

    def bottom(selector: str) -> float:
        box = opened.page.locator(selector).first.bounding_box()
        return float(box["y"] + box["height"])

    assert bottom(".stamp") < bottom(".verdict") < bottom(".figure .big") < height
    assert opened.page.locator(".stamp").inner_text() == "Failed"
    figures = opened.page.locator(".figure .big").all_inner_texts()
    head = audit.headline
    assert head.noise is not None
    rates = [head.worst, head.best.rate, head.noise]
    assert [text.rstrip("%") for text in figures] == [f"{100 * (rate.value or 0):.0f}" for rate in rates]
    opened.context.close()


def test_the_curve_has_a_point_for_each_rate_and_a_cross_for_each_threshold(opened: Opened) -> None:
    marks = opened.page.locator("[data-spec=exposure] svg .mark-symbol.role-mark")
    counts = [one.locator("path").count() for one in marks.all()]
    assert sorted(counts) == [1, 6]  # one threshold; two radii times exposure, best attack and noise
    drawn = " ".join(opened.page.locator("[data-spec=exposure] svg text").all_text_contents())
    assert "8" in drawn
    assert "16" in drawn


def test_examples_are_the_pixels_of_the_run(opened: Opened, audit: Audit) -> None:
    cards = opened.page.locator("#examples .card").all()
    assert len(cards) == len(audit.examples) == 6
    for card, one in zip(cards, audit.examples, strict=True):
        assert card.get_attribute("data-outcome") == ("fooled" if one.fooled else "resisted")
        sources = [picture.get_attribute("src") or "" for picture in card.locator("img").all()]
        files = [Path(one.file), Path(audit.out) / "attacks" / one.attack / f"{one.image_id}.png"]
        for source, file in zip(sources, files, strict=True):
            shown = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
            assert np.array_equal(np.asarray(shown.convert("RGB")), np.asarray(Image.open(file)))
        captions = card.locator("figcaption").all_inner_texts()
        assert captions[0].endswith(f"seen as {one.clean}")
        assert captions[1].endswith(f"seen as {one.adv}")
        assert ("✗" in captions[1]) is one.fooled


def test_every_flag_is_told_and_serious_ones_also_in_front(browser: Any, audit: Audit, tmp_path: Path) -> None:
    serious = dataclasses.replace(audit.flags[0], kind="made-up", text="It is made up.", serious=True)
    path = tmp_path / "page.html"
    path.write_text(render(dataclasses.replace(audit, flags=(serious, *audit.flags))), encoding="utf-8")
    opened = Opened(browser, path)
    kinds = [item.get_attribute("data-flag") for item in opened.page.locator("#flags li").all()]
    assert kinds == ["made-up", *(flag.kind for flag in audit.flags)]
    front = [item.get_attribute("data-flag") for item in opened.page.locator("#verdict aside li").all()]
    assert front == [flag.kind for flag in (serious, *audit.flags) if flag.serious]
    opened.context.close()


@pytest.mark.parametrize(("size", "scheme"), [("desk", "light"), ("phone", "dark")])
def test_a_page_with_everything_fits_and_can_be_read_by_everyone(
    browser: Any, audit: Audit, tmp_path: Path, size: str, scheme: str
) -> None:
    path = tmp_path / "page.html"
    path.write_text(render(with_everything(judged(audit, {8 / 255: 0.4}))), encoding="utf-8")
    opened = Opened(browser, path, size, scheme)
    page = opened.page
    ids = [section.get_attribute("id") for section in page.locator("section").all()]
    assert {"calibration", "change"} <= set(ids)
    assert opened.count("#table-calibration-1 tbody tr") == opened.count("#table-change-1 tbody tr") == 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert serious_faults(page) == []
    assert opened.said == []
    assert opened.count("#calibration i") == 0  # a name that looks like markup is text
    opened.context.close()


def test_it_prints(browser: Any, page_file: Path) -> None:
    opened = Opened(browser, page_file, "desk", "dark")
    opened.page.emulate_media(media="print")
    assert opened.shown("nav") == 0
    assert opened.shown(".stamp") == 1
    assert opened.page.pdf(format="A4").startswith(b"%PDF")
    opened.context.close()
