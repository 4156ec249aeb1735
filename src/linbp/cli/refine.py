"""`linbp refine`: surrogates whose weights are moved on the user's images before any attack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linbp.cli.guard import Interrupted, guard
from linbp.cli.options import Debug, Device, Json, Threads, command_line, usable_device
from linbp.cli.output import add_row, interval, make_table, print_json, print_unused, progress_bars, share, stdout
from linbp.cli.tuning_options import AUGMENTATIONS, PRECISIONS, Augment, Precision, Validation, read_share

if TYPE_CHECKING:
    from linbp.training.fine_tuning.folder import TuningReport

__all__ = ["refine"]

STAGES = {"before": "before", "refined": "last weights"}

refine = typer.Typer(
    name="refine",
    help="""Surrogates that are trained on before the attack.

    [bold]Example[/bold]

      linbp refine lgv timm:resnet18.a1_in1k --data train.csv --out lgv
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


@refine.callback()
def _group() -> None:
    """Keeps the method's name a word of its own."""


@refine.command("lgv")
@guard
def lgv(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The network, such as timm:resnet18.a1_in1k.")],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            metavar="FOLDER_OR_CSV",
            help="Training images: a CSV (file,label), or a folder with images.csv or one sub-folder a class.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the result; once started, it goes on.")],
    validation: Validation = "0.1",
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the images.")] = 10,
    snapshots: Annotated[
        int, typer.Option("--snapshots", help="How often the weights are kept in each epoch, at equal distances.")
    ] = 4,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", help="From the first step to the last, with momentum 0.9.")
    ] = 0.05,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images in a step.")] = 256,
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="Of every parameter.")] = 1e-4,
    augment: Augment = "flip+crop",
    precision: Precision = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Of order, augmentation, held-out images and dropout.")] = 0,
    checkpoint_every: Annotated[
        int, typer.Option("--checkpoint-every", help="Steps between checkpoints inside an epoch.")
    ] = 100,
    first_label: Annotated[int, typer.Option("--first-label", help="What the list calls the first class: 0 or 1.")] = 0,
    trust_labels: Annotated[
        bool, typer.Option("--trust-labels", help="Do not suspect that labels are shifted.")
    ] = False,
    device: Device = None,
    threads: Threads = 4,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train on at a high, constant rate, and keep the weights along the way (LGV).

    Makes DIR/snapshot-01.pt2 and so on, and DIR/manifest.json. --surrogate DIR takes another of
    them at each step of an attack, which costs what one network costs. Interrupted and started
    again with the same settings, it goes on from its last checkpoint.

    [bold]Examples[/bold]

      linbp refine lgv timm:resnet18.a1_in1k --data train.csv --out lgv

      linbp refine lgv file:net.py:build --data photos --epochs 2 --snapshots 2 --batch-size 32 --out lgv

    Then: linbp craft --surrogate lgv --recipe mi --data photos --out adv
    """
    from linbp.attack.named_surrogates import load_surrogate
    from linbp.data.image_list import list_images, not_used
    from linbp.training.lgv import HighRate, refine_lgv

    # What is quickly checked comes before what takes time.
    settings = HighRate(
        learning_rate=learning_rate,
        epochs=epochs,
        snapshots=snapshots,
        batch_size=batch_size,
        weight_decay=weight_decay,
        augment=AUGMENTATIONS[augment],
        mixed_precision=PRECISIONS[precision],
        seed=seed,
    )
    images, number, where = list_images(data, first_label=first_label), read_share(validation), usable_device(device)
    apart = list_images(validation, first_label=first_label) if number is None else number
    with progress_bars(json) as tell:
        tell("loading the network", 0, 1)
        loaded = load_surrogate(model)
        tell("loading the network", 1, 1)
        try:
            report = refine_lgv(
                loaded,
                images,
                out,
                settings=settings,
                validation=apart,
                device=where,
                trust_labels=trust_labels,
                checkpoint_every=checkpoint_every,
                threads=threads,
                command=command_line(),
                progress=tell,
            )
        except KeyboardInterrupt:
            raise Interrupted(_kept(out)) from None
    for one in (images, *([] if isinstance(apart, float) else [apart])):
        print_unused(one.source, not_used(one))
    if json:
        print_json(_facts(report))
    else:
        _print(report)


def _kept(out: Path) -> str:
    """What to say after Ctrl-C."""
    from linbp.training.lgv.folder import RefinedFolder

    manifest = RefinedFolder(out).read_manifest()
    if manifest is None:
        return "nothing is kept yet; the same command starts again."
    at = manifest["progress"]
    return f"{at['step']} of {at['steps']} steps are kept in {out}; the same command goes on from there."


def _facts(report: TuningReport) -> dict[str, Any]:
    return {
        "folder": str(report.folder),
        "snapshots": [str(report.folder / one["file"]) for one in report.manifest["result"]["snapshots"]],
        "resumed_at_step": report.resumed_at,
        "already_finished": report.already_finished,
        "manifest": report.manifest,
    }


def _print(report: TuningReport) -> None:
    from linbp.evaluation.statistics import rate

    console, manifest = stdout(), report.manifest
    for note in (*manifest["notes"], *manifest["result"]["notes"]):
        console.print(f"Note: {note}", markup=False)
    if report.already_finished:
        console.print(f"{report.folder} was finished before; nothing was done.", markup=False)
    elif report.resumed_at is not None:
        console.print(f"Went on from step {report.resumed_at} of {manifest['progress']['steps']}.")
    console.print(
        f"{len(manifest['result']['snapshots'])} versions of the network kept in {manifest['progress']['steps']} steps "
        f"on {manifest['training_images']} images, {manifest['seconds']:.0f} seconds.",
        markup=False,
    )
    heads = ["validation", "95% interval", "training"]
    table = make_table("accuracy", *heads, right=heads)
    for stage, words in STAGES.items():
        found, training = (manifest["accuracy"][stage][name] for name in ("validation", "training"))
        value = rate(found["right"], found["n"])
        add_row(table, words, share(value), interval(value), share(rate(training["right"], training["n"])))
    console.print(table)
    console.print(f"Next: linbp craft --surrogate {report.folder} --recipe mi --data DATA --out DIR", markup=False)
