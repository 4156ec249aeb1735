"""`linbp bench`: a suite of surrogates, recipes, radii and victims, into a run that survives anything."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linbp.cli.guard import Interrupted, guard
from linbp.cli.options import Debug, Device, Json, command_line, usable_device
from linbp.cli.output import add_row, counted, make_table, print_json, progress_bars, share, stdout
from linbp.errors import SuiteError

if TYPE_CHECKING:
    from linbp.bench.estimate import Estimate
    from linbp.bench.rates import RateLine
    from linbp.bench.run import BenchRun

__all__ = ["bench"]


@guard
def bench(
    suite: Annotated[
        str,
        typer.Argument(metavar="SUITE", help="A TOML file, or one that ships: linbp list suites."),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out", metavar="DIR_OR_URL", help="Folder of the run, such as runs/tonight, or s3://bucket/run."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="PATH", help="The clean images, if not where the suite says: a folder, CSV or Parquet."
        ),
    ] = None,
    first: Annotated[
        int | None, typer.Option("--first", min=1, metavar="N", help="Only the first N images, for a trial.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan: tasks, gradients, time and disk; write nothing.")
    ] = False,
    workers: Annotated[
        int,
        typer.Option("--workers", min=1, metavar="N", help="Processes on this machine. Results do not depend on it."),
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Run on a Ray cluster instead: auto for the one of this machine, ray://HOST:10001, or local.",
        ),
    ] = None,
    device: Device = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a suite: every surrogate, recipe, radius and victim on every image, into one table of results.

    Ended in whatever way and started again, it does only what is missing. Several processes, also on several machines,
    may work on one run.

    [bold]Examples[/bold]

      linbp bench demo --out runs/demo

      linbp bench cifar10 --data cifar10 --first 100 --out runs/trial

      linbp bench suite.toml --dry-run

      linbp bench suite.toml --out runs/tonight --workers 8

      linbp bench suite.toml --out s3://bucket/tonight --ray auto --device cuda

    Then: linbp report runs/tonight
    """
    from linbp.bench.estimate import estimate
    from linbp.bench.run import run_bench

    # Ray's nodes have devices of their own.
    where = device if ray is not None else usable_device(device)
    with progress_bars(json) as tell:
        if dry_run:
            plan = estimate(suite, out, data=data, first=first, device=where, progress=tell)
        elif out is None:
            raise SuiteError("There is no folder for the run.", "Name one: --out runs/NAME; or look at it: --dry-run.")
        else:
            try:
                run = run_bench(
                    suite,
                    out,
                    data=data,
                    first=first,
                    workers=workers,
                    ray=ray,
                    device=where,
                    command=command_line(),
                    progress=tell,
                )
            except KeyboardInterrupt:
                raise Interrupted(f"what is finished is kept in {out}; the same command goes on from there.") from None
    if dry_run:
        print_json(plan.to_dict()) if json else _print_plan(plan, workers)
    else:
        print_json(_facts(run)) if json else _print(run)


def _print_plan(plan: Estimate, workers: int) -> None:
    from linbp.bench.estimate import in_words

    console = stdout()
    table = make_table("surrogate", "recipe", "eps", "steps", "gradients", right=["eps", "steps", "gradients"])
    for line in plan.attacks:
        add_row(table, line.surrogate, line.recipe, line.eps, str(line.steps), str(line.gradients))
    console.print(table)
    counts = counted(plan.images, "image"), counted(len(plan.attacks), "attack"), counted(len(plan.victims), "victim")
    console.print(
        f"{', '.join(counts)}: {counted(plan.tasks, 'task')}, {plan.done} of them done before; {plan.gradients:,} "
        f"gradients and {plan.questions:,} predictions are left.",
        markup=False,
    )
    console.print(
        f"Time: about {in_words(plan.seconds / workers)} with {counted(workers, 'worker')}, measured on "
        f"{counted(plan.measured_on, 'image')}. Disk: about {plan.disk / 2**20:,.0f} MiB.",
        markup=False,
    )


def _facts(run: BenchRun) -> dict[str, Any]:
    from linbp.bench.rates import rates_of

    return {
        "out": run.out,
        "tasks_done": run.made,
        "tasks_kept": run.kept,
        "rows": run.results.num_rows,
        "rates": [line.to_dict() for line in rates_of(run.results)],
    }


def _print(run: BenchRun) -> None:
    from linbp.bench.rates import rates_of

    console = stdout()
    lines = rates_of(run.results)
    victims = list(dict.fromkeys(line.victim for line in lines))
    table = make_table("surrogate", "recipe", "eps", "gradients", *victims, right=["eps", "gradients", *victims])
    rows = list(dict.fromkeys((line.surrogate, line.recipe, line.eps, line.gradients) for line in lines))
    cells = {(line.surrogate, line.recipe, line.eps, line.gradients, line.victim): line for line in lines}
    for row in rows:
        found = [cells.get((*row, victim)) for victim in victims]
        add_row(table, *map(str, row), *("" if line is None else _cell(line) for line in found))
    console.print(table)
    white = " * white box: the victim has the surrogate's weights." if any(line.white_box for line in lines) else ""
    console.print(
        f"Share of the counted images that each victim no longer has right, with 95% intervals.{white} "
        f"{counted(run.results.num_rows, 'row')} in {run.out}: {counted(run.made, 'task')} done now, {run.kept} kept "
        "from before.",
        markup=False,
    )
    console.print(f"The report: linbp report {shlex.quote(run.out)}", markup=False)


def _cell(line: RateLine) -> str:
    """A rate with its counts and its interval."""
    mark = "*" if line.white_box else ""
    return f"{share(line.rate)}{mark}\n{line.rate.low:.0%} to {line.rate.high:.0%}"
