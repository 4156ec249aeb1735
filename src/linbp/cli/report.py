"""`linbp report`: a run's results as a page, Markdown, LaTeX, CSV, JSON or JUnit XML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linbp.cli.guard import guard
from linbp.cli.options import Debug, Json
from linbp.cli.output import print_json
from linbp.cli.streams import is_standard_output, write_data

__all__ = ["report"]


@guard
def report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The folder of linbp bench, its URL, or a table of results alone.")
    ],
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="html, md, latex, csv, json or junit; may be given several times. Default: by the ending of --out, "
            "else html.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The file; for several formats, a folder. Default: report.* in the folder of the run (attacks.* in "
            "that of an audit). - is standard "
            "output.",
        ),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Its heading. Default: the suite's name.")] = "",
    pictures: Annotated[int, typer.Option("--pictures", min=0, help="How many images the page shows.")] = 24,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write what a run found, with n and a 95% interval beside each rate.

    The page is one HTML file that needs no network: the answer and one picture, success against eps and against
    gradients, who fools whom, which differences are real, every number, classes and images, and how to repeat it.

    [bold]Examples[/bold]

      linbp report runs/tonight

      linbp report runs/tonight --format md --out summary.md

      linbp report runs/tonight --format html --format csv --format junit --out reports

      linbp report s3://bucket/tonight --format csv --out - > tonight.csv
    """
    from linbp.errors import StoreError, nearest_name
    from linbp.report import json as as_json
    from linbp.report.source import open_source
    from linbp.report.summary import sentences
    from linbp.report.write import FORMATS, make_report, render, write_reports

    endings = {f".{one.ending}": name for name, one in FORMATS.items()}
    names = list(dict.fromkeys(formats or [endings.get("" if out is None else out.suffix, "html")]))
    for name in names:
        if name not in FORMATS:
            raise StoreError(f"There is no format {name!r}.", nearest_name(name, FORMATS))
    to_stdout = is_standard_output(out)
    if to_stdout and (len(names) > 1 or json):
        raise StoreError("Standard output takes one document.", "Give one --format, and no --json, with --out -.")
    source = open_source(run)
    found = make_report(source, title)
    if to_stdout:
        write_data(render(found, source, names[0], pictures).encode(errors="backslashreplace"))
        return
    written = write_reports(found, source, names, out, pictures)
    if json:
        print_json(as_json.to_dict(found))
        return
    for sentence in sentences(found):
        print(sentence)
    print(f"Written: {', '.join(written)}")
