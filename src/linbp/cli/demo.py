"""`linbp demo`: the main job on twenty images, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linbp.cli.common import Debug, Json, guard, print_json, progress_bars

__all__ = ["demo"]


@guard
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the twins and the picture.")] = Path(
        "demo"
    ),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Attack twenty images on SqueezeNet and ask three EfficientNets, in a few minutes and offline.

    [bold]Examples[/bold]

      linbp demo

      linbp demo --out somewhere
    """
    from linbp.bench.demo import run_demo

    with progress_bars(json) as tell:
        result = run_demo(out, progress=tell)
    if json:
        print_json(result)
