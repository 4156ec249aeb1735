"""The page in a browser: it draws, filters, prints, can be read by everyone, and asks nobody for anything."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opened_pages import Opened, serious_faults
from PIL import Image
from result_tables import synthetic
from run_folders import CLASSES, write_run

from linbp.report.gallery import read_gallery
from linbp.report.html import render as render_page
from linbp.report.result import Report
from linbp.report.source import Source, open_source
from linbp.report.write import make_report, render

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="session")
def page_file(tmp_path_factory: pytest.TempPathFactory, report: Report, source: Source) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(report, source, "html", pictures=12), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def opened(browser: Any, page_file: Path) -> Iterator[Opened]:
    found = Opened(browser, page_file)
    yield found
    found.context.close()


def test_every_chart_draws_its_marks(opened: Opened, report: Report) -> None:
    assert opened.page.evaluate("document.documentElement.dataset.ready") == "4"
    points = {name: opened.count(f"[data-spec={name}] svg .mark-symbol.role-mark path") for name in ("dots", "radius")}
    assert points == {"dots": 6, "radius": 6}  # attacks at the headline's radius; recipes times radii of a surrogate
    assert opened.count("[data-spec=cost] svg .mark-symbol.role-mark path") == 3
    assert opened.count("[data-spec=dots] svg .mark-rect.role-mark path") == 18  # a tick for each victim
    best = report.standings[report.headline.best]  # type: ignore[union-attr]
    drawn = " ".join(opened.page.locator("[data-spec=dots] svg").all_text_contents())
    assert f"{best.attack.recipe} on {best.attack.surrogate}: {100 * best.mean.value:.0f}%" in drawn  # type: ignore[union-attr]


def test_the_first_screen_holds_the_answer_in_words_and_the_picture(browser: Any, page_file: Path) -> None:
    opened = Opened(browser, page_file, "desk")
    for place in (".first", ".lead > div", "#chart-dots .drawing svg"):
        box = opened.page.locator(place).first.bounding_box()
        assert box["y"] + box["height"] <= opened.page.viewport_size["height"]
    opened.context.close()


def test_the_matrix_shows_the_rates_of_what_is_picked(opened: Opened, report: Report) -> None:
    def numbers() -> list[str]:
        return sorted(opened.page.locator("[data-spec=transfer] svg .mark-text.role-mark text").all_text_contents())

    for recipe, eps in (("mi", "4/255"), ("linbp", "8/255")):
        opened.page.select_option("[data-chart=transfer][data-name=recipe]", recipe)
        opened.page.select_option("[data-chart=transfer][data-name=eps]", eps)
        rates = [
            rate
            for one in report.standings
            if (one.attack.recipe, one.attack.eps_text) == (recipe, eps)
            for rate in one.rates
        ]
        wanted = sorted(f"{100 * rate.value:.0f}" + ("†" if rate.saturated else "") for rate in rates if rate)
        opened.page.wait_for_function(
            "(n) => document.querySelectorAll('[data-spec=transfer] svg .mark-text.role-mark text').length === n",
            arg=len(wanted),
        )
        assert numbers() == wanted


def test_tables_are_filtered_by_words(opened: Opened) -> None:
    opened.page.fill("[data-filter=table-attacks]", "mi resnet")
    assert opened.shown("#table-attacks tbody tr") == 2  # two radii
    assert "2 of 12" in opened.page.locator("[data-count=table-attacks]").inner_text()
    opened.page.fill("[data-filter=table-attacks]", "")
    assert opened.shown("#table-attacks tbody tr") == 12
    assert opened.shown("#table-results-1 tbody tr") == 6


def test_the_gallery_is_picked_by_class_and_outcome_and_led_to_from_the_table(opened: Opened, report: Report) -> None:
    page = opened.page
    assert opened.shown(".card") == opened.count(".card") == 12
    drawn = "(one) => one.decode().then(() => one.naturalWidth > 0)"
    assert page.evaluate(f"Promise.all([...document.images].map({drawn}))") == [True] * 3 * 12
    outcomes = [page.locator(".card").nth(number).get_attribute("data-outcome") for number in range(12)]
    for outcome in ("all", "some", "none"):
        page.select_option("#pick-outcome", outcome)
        assert opened.shown(".card") == outcomes.count(outcome)
    page.select_option("#pick-outcome", "")
    page.get_by_text("classes, the most fragile first").click()
    button = page.locator("#table-classes button").first
    name = button.inner_text()
    button.press("Enter")
    assert page.locator("#pick-class").input_value() == name
    assert page.evaluate("document.activeElement.id") == "pick-class"
    shown = page.locator(".card:visible h3").all_inner_texts()
    assert shown
    assert all(head.startswith(name) for head in shown)
    page.select_option("#pick-class", "")


def test_a_card_says_what_each_network_sees(opened: Opened, report: Report) -> None:
    card = opened.page.locator(".card").first
    rows = [row.split("\t") for row in card.locator("tbody tr").all_inner_texts()]
    assert [row[0] for row in rows][1:] == report.outcomes.victims
    assert "(surrogate)" in rows[0][0]
    label = str(card.get_attribute("data-class"))
    assert label in CLASSES
    for _, *seen in rows:
        for text in seen:
            assert any(kind in text for kind in CLASSES)
            assert ("✗" in text) is (label not in text)


def test_nothing_is_said_on_the_console_and_nobody_is_asked(opened: Opened) -> None:
    assert opened.said == []
    assert set(opened.asked) <= {"file", "data", "blob"}


@pytest.mark.parametrize(("size", "scheme"), [("desk", "light"), ("phone", "dark")])
def test_the_page_fits_and_can_be_read_by_everyone(browser: Any, page_file: Path, size: str, scheme: str) -> None:
    opened = Opened(browser, page_file, size, scheme)
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for details in page.locator("summary").all():
        details.click()
    assert serious_faults(page) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.focus("#theme")
    page.keyboard.press("Enter")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground
    opened.context.close()


def test_it_prints_in_light_colours_without_what_cannot_be_clicked(browser: Any, page_file: Path) -> None:
    opened = Opened(browser, page_file, "desk", "dark")
    opened.page.emulate_media(media="print")
    assert opened.shown("nav") == opened.shown("select") == opened.shown("input") == 0
    light = "(() => getComputedStyle(document.body).backgroundColor)()"
    assert opened.page.evaluate(light) == "rgb(255, 255, 255)"
    assert opened.page.pdf(format="A4").startswith(b"%PDF")
    opened.context.close()


def test_beside_its_pictures_the_page_is_small(report: Report, source: Source) -> None:
    page = render_page(report, read_gallery(report, source.files, 0))
    assert len(page.encode()) < 3_000_000
    assert "https://" not in page.split("<script>", 1)[0]


def test_names_that_look_like_markup_are_text(browser: Any, tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>&\"'"
    table = synthetic(
        images=12, surrogates=(evil,), recipes=(evil, "mi <b>"), victims=(f"v{evil}", "b"), eps=("8/255",)
    )
    write_run(tmp_path / "run", table=table, suite=evil)
    source = open_source(tmp_path / "run")
    (tmp_path / "page.html").write_text(render(make_report(source), source, "html", 2), encoding="utf-8")
    opened = Opened(browser, tmp_path / "page.html")
    assert opened.said == []
    assert opened.page.title() == evil
    assert opened.count("img[src=x]") == 0
    assert opened.page.locator("#table-results-1 tbody th").first.inner_text() in (evil, "mi <b>")
    opened.context.close()


def test_pictures_are_the_files_of_the_run_and_spread_over_the_images(report: Report, source: Source) -> None:
    import base64

    gallery = read_gallery(report, source.files, 7)
    assert len(gallery.pictures) == 7
    assert gallery.total == len(report.images)
    shares = [one.fooled / one.counted for one in gallery.pictures]
    assert shares == sorted(shares, reverse=True)
    every = [one.fooled / one.counted for one in report.images]
    assert (shares[0], shares[-1]) == (max(every), min(every))
    attack = report.outcomes.attacks[report.headline.best].attack  # type: ignore[union-attr]
    for one in gallery.pictures:
        for url, name in ((one.clean, f"images/{one.image_id}.png"), (one.adv, f"attacks/{attack}/{one.image_id}.png")):
            shown = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")
            kept = Image.open(io.BytesIO(source.files.read(name) or b"")).convert("RGB")
            assert shown.tobytes() == kept.tobytes()
