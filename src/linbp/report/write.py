"""Writes a report in one or several formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from linbp.bench.run_files import AUDIT
from linbp.data.files import check_place, store_error, write_file
from linbp.report import csv, html, json, junit, latex, markdown
from linbp.report.gallery import Gallery, read_gallery
from linbp.report.result import Report, report_of
from linbp.report.source import Source

__all__ = ["FORMATS", "Format", "make_report", "render", "write_reports"]


@dataclasses.dataclass(frozen=True)
class Format:
    """A format: the ending of its files, and what renders it."""

    ending: str
    render: Callable[[Report, Gallery], str]


FORMATS: Mapping[str, Format] = {
    "html": Format("html", html.render),
    "md": Format("md", lambda report, gallery: markdown.render(report)),
    "latex": Format("tex", lambda report, gallery: latex.render(report)),
    "csv": Format("csv", lambda report, gallery: csv.render(report)),
    "json": Format("json", lambda report, gallery: json.render(report)),
    "junit": Format("xml", lambda report, gallery: junit.render(report)),
}


def make_report(source: Source, title: str = "") -> Report:
    """The result that every format tells.

    Raises:
        StoreError: the table has no rows, or a row twice.
    """
    return report_of(
        source.table,
        title=title,
        facts=source.facts,
        command=source.command,
        class_names=source.class_names,
    )


def render(report: Report, source: Source, name: str, pictures: int = 24) -> str:
    """A report in one format.

    Args:
        report: what it tells.
        source: where its pictures are.
        name: of the format, a key of `FORMATS`.
        pictures: how many images a page shows.

    Raises:
        StoreError: packages that draw the page are missing.
    """
    gallery = read_gallery(report, source.files, pictures) if name == "html" else Gallery()
    return FORMATS[name].render(report, gallery)


def write_reports(
    report: Report, source: Source, names: Sequence[str], out: Path | None, pictures: int = 24
) -> list[str]:
    """Write a report in some formats, and say where.

    Args:
        report: what they tell.
        source: what it was made from.
        names: of the formats.
        out: the file, or for several formats a folder, which is made; None: `report.*` in the folder of the run, and
            `attacks.*` in that of an audit.
        pictures: how many images a page shows.

    Raises:
        StoreError: a file cannot be written, or packages that draw the page are missing.
    """
    if "html" in names:
        html.check_packages()
    if out is not None and len(names) == 1:
        check_place(out)
    written = []
    # The folder of an audit has a report of its own, of that name.
    stem = "attacks" if out is None and source.files.store.exists(AUDIT) else "report"
    for name in names:
        file = f"{stem}.{FORMATS[name].ending}"
        content = render(report, source, name, pictures).encode(errors="backslashreplace")
        if out is None:
            source.files.store.write(file, content)
            written.append(source.files.store.place(file))
            continue
        path = out if len(names) == 1 else out / file
        if len(names) > 1:
            try:
                out.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise store_error(out, error) from error
        write_file(path, content)
        written.append(str(path))
    return written
