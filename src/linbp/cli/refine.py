"""`linbp refine`: surrogates whose weights are moved on the user's images before any attack."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from linbp.cli.guard import guard
from linbp.cli.options import ClassesFile, Debug, Device, Json, Threads, command_line, usable_device
from linbp.cli.tuning_options import (
    AUGMENTATIONS,
    PRECISIONS,
    Augment,
    CheckpointEvery,
    FirstLabel,
    Network,
    Out,
    Precision,
    Seed,
    TrainingData,
    TrustLabels,
    Validation,
)
from linbp.cli.tuning_run import print_tuning, run_tuning

__all__ = ["refine"]

LAST = {"before": "before", "refined": "last weights"}
MEAN = {"before": "before", "refined": "mean weights", "drawn": "drawn weights"}
NEXT = "linbp craft --surrogate {} --recipe mi --data DATA --out DIR"

Epochs = Annotated[int, typer.Option("--epochs", help="Passes over the images.")]
LearningRate = Annotated[
    float, typer.Option("--learning-rate", help="From the first step to the last, with momentum 0.9.")
]
BatchSize = Annotated[int, typer.Option("--batch-size", help="Images in a step.")]
WeightDecay = Annotated[float, typer.Option("--weight-decay", help="Of every parameter.")]

refine = typer.Typer(
    name="refine",
    help="""Surrogates that are trained on before the attack.

    [bold]Examples[/bold]

      linbp refine lgv timm:resnet18.a1_in1k --data train.csv --out lgv

      linbp refine mba timm:resnet18.a1_in1k --data train.csv --out mba
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


@refine.callback()
def _group() -> None:
    """Each method is a command of its own."""


@refine.command("lgv")
@guard
def lgv(
    model: Network,
    data: TrainingData,
    out: Out,
    validation: Validation = "0.1",
    epochs: Epochs = 10,
    snapshots: Annotated[
        int, typer.Option("--snapshots", help="How often the weights are kept in each epoch, at equal distances.")
    ] = 4,
    learning_rate: LearningRate = 0.05,
    batch_size: BatchSize = 256,
    weight_decay: WeightDecay = 1e-4,
    augment: Augment = "flip+crop",
    precision: Precision = "auto",
    seed: Seed = 0,
    checkpoint_every: CheckpointEvery = 100,
    classes: ClassesFile = None,
    first_label: FirstLabel = 0,
    trust_labels: TrustLabels = False,
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
    run = partial(
        refine_lgv,
        folder=out,
        settings=settings,
        device=usable_device(device),
        trust_labels=trust_labels,
        checkpoint_every=checkpoint_every,
        threads=threads,
        command=command_line(),
    )
    report = run_tuning(model, data, validation, out, first_label, classes, hidden=json, run=run)
    kept = [str(report.folder / one["file"]) for one in report.manifest["result"]["snapshots"]]
    print_tuning(
        report,
        json,
        {"snapshots": kept},
        did=f"{len(kept)} versions of the network kept",
        stages=LAST,
        next_step=NEXT.format(report.folder),
    )


@refine.command("mba")
@guard
def mba(
    model: Network,
    data: TrainingData,
    out: Out,
    validation: Validation = "0.1",
    epochs: Epochs = 10,
    snapshots: Annotated[
        int, typer.Option("--snapshots", help="How often the weights are counted in each epoch, at equal distances.")
    ] = 30,
    penalty: Annotated[
        float, typer.Option("--penalty", help="Of the gradient's length; 0: none, at half the time.")
    ] = 1.0,
    radius: Annotated[float, typer.Option("--radius", help="How far uphill a step looks for the penalty.")] = 0.1,
    scale: Annotated[
        float, typer.Option("--scale", help="What standard deviations are multiplied with when weights are drawn.")
    ] = 1.5,
    samples: Annotated[int, typer.Option("--samples", help="How many draws take turns in an attack.")] = 40,
    learning_rate: LearningRate = 0.05,
    batch_size: BatchSize = 1024,
    weight_decay: WeightDecay = 5e-4,
    augment: Augment = "flip+crop",
    precision: Precision = "auto",
    seed: Seed = 0,
    checkpoint_every: CheckpointEvery = 100,
    classes: ClassesFile = None,
    first_label: FirstLabel = 0,
    trust_labels: TrustLabels = False,
    device: Device = None,
    threads: Threads = 4,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train on where the loss is flat, and keep a normal distribution of the weights (MBA).

    Makes DIR/mean.pt2, DIR/deviations.safetensors and DIR/manifest.json. --surrogate DIR draws other
    weights at each step of an attack, which costs what one network costs. Interrupted and started
    again with the same settings, it goes on from its last checkpoint.

    [bold]Examples[/bold]

      linbp refine mba timm:resnet18.a1_in1k --data train.csv --out mba

      linbp refine mba file:net.py:build --data photos --batch-size 128 --learning-rate 0.01 --out mba

    Then: linbp craft --surrogate mba --recipe mi --data photos --out adv
    """
    from linbp.training.mba import Bayesian, refine_mba

    # What is quickly checked comes before what takes time.
    settings = Bayesian(
        learning_rate=learning_rate,
        epochs=epochs,
        snapshots=snapshots,
        penalty=penalty,
        radius=radius,
        scale=scale,
        samples=samples,
        batch_size=batch_size,
        weight_decay=weight_decay,
        augment=AUGMENTATIONS[augment],
        mixed_precision=PRECISIONS[precision],
        seed=seed,
    )
    run = partial(
        refine_mba,
        folder=out,
        settings=settings,
        device=usable_device(device),
        trust_labels=trust_labels,
        checkpoint_every=checkpoint_every,
        threads=threads,
        command=command_line(),
    )
    report = run_tuning(model, data, validation, out, first_label, classes, hidden=json, run=run)
    files = report.manifest["result"]["files"]
    print_tuning(
        report,
        json,
        {"files": [str(report.folder / one["file"]) for one in files]},
        did=f"Mean and deviations of {report.manifest['result']['versions']} versions of the network kept",
        stages=MEAN,
        next_step=NEXT.format(report.folder),
    )
