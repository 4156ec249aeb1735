"""`linbp substitute`: a network that is trained on a victim's answers, to be the surrogate of attacks on it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from linbp.cli.guard import guard
from linbp.cli.options import BatchSize, Debug, Device, Json, Threads, command_line, usable_device
from linbp.cli.tuning_options import AUGMENTATIONS, PRECISIONS, Augment, CheckpointEvery, Out, Precision, Seed
from linbp.cli.tuning_run import print_tuning, run_tuning

__all__ = ["substitute"]

STAGES = {"before": "backbone, new last layer", "substitute": "substitute"}


@guard
def substitute(
    victim: Annotated[str, typer.Option("--victim", metavar="MODEL", help="The model whose answers are learned.")],
    backbone: Annotated[
        str, typer.Option("--backbone", metavar="MODEL", help="The network to train, such as timm:resnet18.a1_in1k.")
    ],
    data: Annotated[
        Path,
        typer.Option("--data", metavar="FOLDER_OR_CSV", help="Images to ask the victim about; they need no labels."),
    ],
    out: Out,
    queries: Annotated[
        int | None, typer.Option("--queries", help="How many images the victim is asked about. Default: all.")
    ] = None,
    soft_labels: Annotated[
        bool, typer.Option("--soft-labels", help="Learn the probabilities of all classes, not the class alone.")
    ] = False,
    held_out: Annotated[
        float, typer.Option("--held-out", help="Share of the answers that only measures the agreement.")
    ] = 0.2,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", help="Passes over the images. Default: 20, or as many as make 1,000 steps."),
    ] = None,
    batch_size: BatchSize = 32,
    optimizer: Annotated[Literal["sgd", "adamw"], typer.Option("--optimizer", help="With momentum 0.9, or AdamW.")] = (
        "sgd"
    ),
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="The highest one. Default: 0.01; for adamw 0.0001.")
    ] = None,
    augment: Augment = "flip+crop",
    precision: Precision = "auto",
    seed: Seed = 0,
    checkpoint_every: CheckpointEvery = 100,
    device: Device = None,
    threads: Threads = 4,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a network on a victim's answers (a substitute), where no public network has its classes.

    Makes DIR/model.pt2, which --surrogate DIR accepts, and DIR/manifest.json with the number of
    queries and the agreement with the victim on held-out images. Each answer is on the disk before
    the next question: interrupted and started again, it asks nothing twice.

    [bold]Examples[/bold]

      linbp substitute --victim exported/net.onnx --backbone timm:resnet18.a1_in1k --data photos --out sub

      linbp substitute --victim file:net.py:build --backbone demo:squeezenet1_1 --data photos --queries 500 --out sub

    Then: linbp audit exported/net.onnx --surrogate sub --data test.csv --out runs/audit
    """
    from linbp.models import load_model
    from linbp.models.refined import refuse_turns
    from linbp.training.substitute import DEFAULT, LEAST_STEPS, Tuning, make_substitute

    # What is quickly checked comes before what takes time.
    tuning = Tuning(
        optimizer=optimizer,
        learning_rate=learning_rate,
        epochs=DEFAULT.epochs if epochs is None else epochs,
        batch_size=batch_size,
        augment=AUGMENTATIONS[augment],
        recalibrate=0,
        mixed_precision=PRECISIONS[precision],
        seed=seed,
    )
    where, asked = usable_device(device), load_model(victim)
    refuse_turns(asked)

    run = partial(
        make_substitute,
        asked,
        folder=out,
        queries=queries,
        soft_labels=soft_labels,
        tuning=tuning,
        least_steps=LEAST_STEPS if epochs is None else 0,
        batch_size=batch_size,
        device=where,
        checkpoint_every=checkpoint_every,
        threads=threads,
        command=command_line(),
    )
    report = run_tuning(backbone, data, str(held_out), out, 0, None, hidden=json, run=run)
    print_tuning(
        report,
        json,
        {"model": str(report.model_path), "queries": report.manifest["queries"], "agreement": report.agreement},
        did=f"{report.manifest['queries']} queries",
        stages=STAGES,
        measured="agreement",
        next_step=f"linbp audit {victim} --surrogate {report.folder} --data DATA --out DIR",
    )
