"""`linbp compare`: two attacks, or two versions of a victim, paired by image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from linbp.cli.guard import guard
from linbp.cli.options import BatchSize, Debug, Device, Json, MovedData, Threads, usable_device
from linbp.cli.output import add_row, counted, make_table, print_json, progress_bars, stdout

if TYPE_CHECKING:
    from linbp.bench.compare import Compared
    from linbp.evaluation.statistics import Pair

__all__ = ["compare"]

LISTED = 10
"""Images that changed, named on the screen; --json has all."""


@guard
def compare(
    first: Annotated[
        str, typer.Argument(metavar="FIRST", help="A run (folder, URL or results.parquet), or a folder of linbp craft.")
    ],
    second: Annotated[str, typer.Argument(metavar="SECOND", help="Another, or the same with another victim.")],
    victims: Annotated[
        list[str] | None,
        typer.Option(
            "--victim",
            metavar="MODEL",
            help="Asked about folders of linbp craft; of runs, which victims count. May be given several times.",
        ),
    ] = None,
    second_victims: Annotated[
        list[str] | None,
        typer.Option("--second-victim", metavar="MODEL", help="Victims of SECOND, if others than those of FIRST."),
    ] = None,
    data: MovedData = None,
    batch_size: BatchSize = 32,
    device: Device = None,
    threads: Threads = 4,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Pair two attacks, or two versions of a victim, by image: the difference, its interval and p, and what changed.

    Only images that both count are compared: those that the victim, or both versions of it, have right when they are
    clean. For one victim p is exact (McNemar's test); Holm's correction is for all pairs shown.

    [bold]Examples[/bold]

      linbp compare adv/ifgsm adv/linbp --victim timm:resnet50.a1_in1k

      linbp compare adv/linbp adv/linbp --victim old.onnx --second-victim new.onnx

      linbp compare runs/last-week runs/today --json > change.json
    """
    from linbp.bench.compare import compare as run_compare

    with progress_bars(json) as tell:
        found = run_compare(
            first,
            second,
            victims=victims or (),
            second_victims=second_victims or (),
            data=data,
            batch_size=batch_size,
            device=usable_device(device) if device is not None else None,
            threads=threads,
            progress=tell,
        )
    if json:
        print_json(found.to_dict())
    else:
        _print(found)


def _print(found: Compared) -> None:
    console = stdout()
    console.print(f"First: {found.first}\nSecond: {found.second}", markup=False)
    console.print(f"Differences are second minus first, over {counted(found.images, 'image')} in common.", markup=False)
    heads = ("first", "second", "difference, points", "p", "p (Holm)", "images", "won, lost")
    table = make_table("attack", "victim", *heads, right=heads)
    attacks = {(_attack(pair, 0), pair.one.gradients) for pair in found.pairs}
    budgets = len(attacks) > len(dict(attacks))  # what tells attacks apart is their cost
    for pair in found.pairs:
        both = _change(_attack(pair, 0, budgets), _attack(pair, 1, budgets))
        add_row(table, both, _victim(pair), *_figures(pair))
    console.print(table)
    for pair in found.pairs:
        for what, names in (("only the second fools", pair.won), ("only the first fools", pair.lost)):
            if names and len(found.pairs) <= 4:
                more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
                where = f"{pair.victim}, {pair.one.eps_text}: " if len(found.pairs) > 1 else ""
                console.print(f"{where}{what} it with {', '.join(names[:LISTED])}{more}.", markup=False)


def _attack(pair: Pair, side: int, budgets: bool = False) -> str:
    one = (pair.one, pair.other)[side]
    name = f"{one.recipe} on {one.surrogate}, eps {one.eps_text}"
    return f"{name}, {one.gradients} gradients" if budgets else name


def _victim(pair: Pair) -> str:
    return _change(pair.victim, pair.other_victim) if pair.victim else "mean over victims"


def _change(first: str, second: str) -> str:
    return first if first == second else f"{first} -> {second}"


def _figures(pair: Pair) -> list[str]:
    gap = pair.difference
    rates = [f"{rate.value:.1%}" if rate.value is not None else "" for rate in pair.rates or ()] or ["", ""]
    changed = f"{len(pair.won)}, {len(pair.lost)}" if pair.rates is not None else ""
    p, adjusted = (f"{value:.2g}" if value >= 0.001 else "< 0.001" for value in (gap.p, pair.adjusted))
    return [*rates, f"{gap.value:+.1f} ({gap.low:.1f} to {gap.high:.1f})", p, adjusted, str(pair.images), changed]
