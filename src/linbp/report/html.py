"""The page: one HTML file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any

from linbp.errors import StoreError
from linbp.report.gallery import Gallery
from linbp.report.page import Page
from linbp.report.result import Report

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["check_packages", "render", "render_page"]

PACKAGES = ("altair", "jinja2", "vl_convert")


def render(report: Report, gallery: Gallery) -> str:
    """The page of a run.

    Args:
        report: what it tells.
        gallery: the pictures that it shows.

    Raises:
        StoreError: the packages of the extra `report` are not installed.
    """
    check_packages()
    from linbp.report.chapters import chapters_of

    return render_page(report, Page(title=report.title, chapters=chapters_of(report, gallery)))


def render_page(report: Any, page: Page) -> str:
    """Any chapters as one file, in whose templates the result that they tell is at hand as `report`."""
    check_packages()
    charts = [chart for chapter in page.chapters for chart in chapter.charts]
    specs = {chart.ident: chart.spec for chart in charts}
    environment = _environment()
    bodies = [
        (chapter, environment.get_template(chapter.template).render(report=report, chapter=chapter, **chapter.values))
        for chapter in page.chapters
    ]
    return environment.get_template("page.html.j2").render(
        page=page,
        report=report,
        bodies=bodies,
        style=_asset("style.css"),
        script=_asset("page.js"),
        vega=_vega() if charts else "",
        specs=_embedded(specs),
    )


def check_packages() -> None:
    """Refuse to go on where the packages that draw the page are missing.

    Raises:
        StoreError: one is.
    """
    for name in PACKAGES:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise StoreError(
                f"The page needs the package {name.replace('_', '-')}, which is not installed.",
                "Install the extra: pip install 'linbp[report]'; or take another --format.",
            ) from error


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    from linbp.report import words

    environment = Environment(
        loader=PackageLoader("linbp.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    told: dict[str, Callable[..., Any]] = {name: getattr(words, name) for name in words.__all__}
    environment.filters.update(told)
    environment.globals["embedded"] = lambda value: Markup(_embedded(value))
    return environment


def _asset(name: str) -> str:
    return (resources.files("linbp.report") / "templates" / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _vega() -> str:
    """Vega, Vega-Lite and vega-embed of the version that Altair writes for, minified."""
    import altair
    import vl_convert

    version = ".".join(altair.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    bundle: str = vl_convert.javascript_bundle(vl_version=version)  # type: ignore[call-arg,unused-ignore]
    return bundle.replace("</script", "<\\/script")


def _embedded(value: Any) -> str:
    """JSON that may stand inside an HTML element: nothing in it ends the element or begins a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
