"""`linbp audit`: how exposed is my model, is the new version worse, and how sure is that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from linbp.cli.guard import Interrupted, guard
from linbp.cli.options import BatchSize, ClassesFile, Debug, Device, Json, command_line, read_classes, usable_device
from linbp.cli.output import add_row, counted, make_table, print_json, progress_bars, stdout

if TYPE_CHECKING:
    from rich.console import Console

    from linbp.audit.prepare import AuditPlan
    from linbp.audit.result import Audit

__all__ = ["audit"]

EXIT_FAILED = 1


@guard
def audit(
    victim: Annotated[str, typer.Argument(metavar="VICTIM", help="The model: its name as linbp list models tells.")],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="FOLDER_OR_CSV",
            help="Clean images with labels: one sub-folder for each class, or a CSV with the columns file and label. "
            "demo:imagenet and demo:cifar10 are twenty sample images.",
        ),
    ],
    out: Annotated[str, typer.Option("--out", metavar="RUN", help="Folder of the audit, such as runs/audit.")],
    surrogates: Annotated[
        list[str] | None,
        typer.Option(
            "--surrogate",
            metavar="MODEL",
            help="A network that attacks are made on, best of the same classes; may be given several times. Default: "
            "those of the suite for as many classes.",
        ),
    ] = None,
    queries: Annotated[
        int | None,
        typer.Option(
            "--queries",
            metavar="N",
            help="Train a surrogate first, on the model's answers to so many images (a substitute): for classes that "
            "no public network has.",
        ),
    ] = None,
    backbone: Annotated[
        str, typer.Option("--backbone", metavar="MODEL", help="The network that becomes the substitute.")
    ] = "demo:squeezenet1_1",
    query_data: Annotated[
        str | None,
        typer.Option(
            "--query-data", metavar="FOLDER_OR_CSV", help="Images for --queries. Default: those of --data themselves."
        ),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option("--suite", metavar="NAME", help="exposure-imagenet-1, another of linbp list suites, or a file."),
    ] = None,
    eps: Annotated[
        str | None,
        typer.Option("--eps", metavar="LIST", help="Radii, such as 4/255,8/255. Default: those of the suite."),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option("--images", min=1, metavar="N", help="Only so many of the images, spread over the list."),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(
            "--budget",
            min=1,
            metavar="GRADIENTS",
            help="Gradients that each image may cost at each radius, over all attacks. Default: the suite's steps.",
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            "--time",
            metavar="DURATION",
            help="Fit images and steps to the clock, such as 15m, and say what that costs in certainty.",
        ),
    ] = None,
    fail_above: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-above",
            metavar="RATE",
            help="Exit with status 1 if the exposure is above it: 0.35, or 35%, at the suite's own radius; 4/255=0.2 "
            "at another one. May be given several times.",
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Decide on the interval's upper bound: fail unless it is shown to be at most that."
        ),
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="OTHER_RUN",
            help="Exit with status 1 if the exposure has grown significantly since that audit, image by image.",
        ),
    ] = None,
    classes: ClassesFile = None,
    first_label: Annotated[
        int, typer.Option("--first-label", min=-1, help="What the list calls the first class: 0, 1 or -1.")
    ] = 0,
    trust_labels: Annotated[
        bool, typer.Option("--trust-labels", help="Do not suspect that labels and classes are shifted.")
    ] = False,
    trust_victim: Annotated[
        bool, typer.Option("--trust-victim", help="Do not ask the model twice, nor with other preprocessing.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of all randomness.")] = 0,
    batch_size: BatchSize = 8,
    workers: Annotated[
        int,
        typer.Option("--workers", min=1, metavar="N", help="Processes on this machine. Results do not depend on it."),
    ] = 1,
    device: Device = None,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Say what it would do and how long that takes, and stop.")
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """How exposed is a model to attacks made on other networks, and how sure is that?

    Attacks your images on public networks, asks your model about the results, and writes
    report.html, summary.md, results.json and junit.xml into RUN. Before it starts it says what it will do and how long
    that takes. Interrupted and started again, it goes on.

    Exit status: 0 fine, 1 a threshold was exceeded, 2 bad input, 130 interrupted.

    [bold]Examples[/bold]

      linbp audit demo:efficientnet_lite0 --data demo:imagenet --out runs/lite0

      linbp audit exported/net.onnx --data photos/ --out runs/net --fail-above 0.35 --time 15m

      linbp audit exported/new.onnx --data photos/ --out runs/new --baseline runs/net

      linbp audit file:mine.py:network --data photos/ --out runs/mine --queries 1000 --query-data more-photos/
    """
    from linbp.audit.fit import read_duration
    from linbp.audit.run_audit import Incomplete, run_audit
    from linbp.audit.substitute import is_finished
    from linbp.errors import ImageError
    from linbp.report.audit import json as as_json
    from linbp.report.audit.write import check_packages, write_audit

    check_packages()
    console = stdout()

    def announce(plan: AuditPlan) -> None:
        if not json:
            _print_plan(console, plan, workers)
        if plan_only:
            if json:
                print_json(plan.to_dict())
            raise typer.Exit(0)

    if queries is None and query_data is not None:
        raise ImageError("--query-data has no effect without --queries.", "Give --queries N, or leave it out.")
    if queries is not None and not json:
        console.print(
            f"First a substitute is trained: {backbone}, on the model's answers to {counted(queries, 'image')}. It is "
            f"kept in {out}; what is there already is not done again.",
            markup=False,
        )
        if plan_only and not is_finished(out):
            console.print("How long the attacks on it take is known when it is trained.")
            raise typer.Exit(0)
    stopped: Incomplete | None = None
    with progress_bars(json) as tell:
        try:
            found = run_audit(
                victim,
                data,
                out,
                surrogates=surrogates or (),
                queries=queries,
                backbone=backbone,
                query_data=query_data,
                suite=suite,
                eps=None if eps is None else [text.strip() for text in eps.split(",") if text.strip()],
                images=images,
                budget=budget,
                time=None if time is None else read_duration(time),
                fail_above=fail_above or (),
                baseline=baseline,
                strict=strict,
                classes=read_classes(classes),
                first_label=first_label,
                trust_labels=trust_labels,
                trust_victim=trust_victim,
                seed=seed,
                batch_size=batch_size,
                workers=workers,
                device=usable_device(device),
                command=command_line(),
                announce=announce,
                progress=tell,
            )
        except Incomplete as caught:
            stopped, found = caught, caught.audit
        except KeyboardInterrupt:
            raise Interrupted(f"what is finished is kept in {out}; the same command goes on from there.") from None
    written = write_audit(found)
    if json:
        print_json(as_json.to_dict(found))
    else:
        _print(console, found, written)
    if stopped is not None:
        raise stopped.fault
    if found.failed:
        raise typer.Exit(EXIT_FAILED)


def _print_plan(console: Console, plan: AuditPlan, workers: int) -> None:
    from linbp.bench.estimate import in_words

    number = "1 radius" if len(plan.eps) == 1 else f"{len(plan.eps)} radii"
    radii = f"{number} ({', '.join(plan.eps)})"
    lines = [
        f"{plan.victim}: {plan.classes} classes, {counted(plan.images, 'image')}.",
        f"Suite {plan.suite}: {counted(plan.attacks, 'attack')} at {radii}, made on {', '.join(plan.surrogates)}.",
        *(f"Not used: {one.network}. {one.why}" for one in plan.left_out),
        f"Compared with {', '.join(plan.references)}." if plan.references else "",
        plan.fitted,
        *plan.notes,
        f"The model is asked about {plan.queries:,} images. Time: about {in_words(plan.seconds / workers)} with "
        f"{counted(workers, 'worker')}{' for what is left' if plan.resumed else ''}. Disk: about "
        f"{plan.disk / 2**20:,.0f} MiB.",
    ]
    for line in filter(None, lines):
        console.print(line, markup=False)


def _print(console: Console, found: Audit, written: tuple[str, ...]) -> None:
    from linbp.report.audit.summary import sentences, stamp
    from linbp.report.audit.tables import exposure_table

    console.print()
    console.print(stamp(found), style="bold", markup=False)
    for sentence in sentences(found):
        console.print(sentence, markup=False)
    shown = exposure_table(found)
    table = make_table(*shown.heads, right=shown.heads[1:])
    for row in shown.rows:
        add_row(table, *(f"{cell.text}\n{cell.detail}" if cell.detail else cell.text for cell in row))
    console.print(table)
    for flag in found.flags:
        console.print(f"{'Serious doubt' if flag.serious else 'Doubt'}: {flag.text}", markup=False)
    console.print(f"Written: {', '.join(written)}", markup=False)
