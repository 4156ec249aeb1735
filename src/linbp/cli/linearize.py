"""`linbp linearize`: a network without some of its activations, fine-tuned on the user's images (LinS)."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any, Literal

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
    read_number,
)
from linbp.cli.tuning_run import print_tuning, run_tuning

__all__ = ["linearize"]

STAGES = {
    "before": "before",
    "removed": "activations removed",
    "recalibrated": "batch norms recalibrated",
    "tuned": "fine-tuned",
}
WHICH = ("inside", "outside", "all")


@guard
def linearize(
    model: Network,
    start: Annotated[
        str,
        typer.Option(
            "--start",
            metavar="K",
            help="Where removal starts: a site's index, a fraction, or a module path "
            "(in quotes of its own where it looks like a number).",
        ),
    ],
    data: TrainingData,
    out: Out,
    sites: Annotated[
        str | None,
        typer.Option(
            "--sites",
            help="Which sites from K on: inside or outside branches, all, or numbers (3,5). "
            "Default: all but gates and activations after a sum.",
        ),
    ] = None,
    validation: Validation = "0.1",
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the images; 0 removes and recalibrates.")] = 5,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images in a step.")] = 32,
    optimizer: Annotated[Literal["sgd", "adamw"], typer.Option("--optimizer", help="With momentum 0.9, or AdamW.")] = (
        "sgd"
    ),
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="The highest one. Default: 0.01; for adamw 0.0001.")
    ] = None,
    warm_up: Annotated[
        float, typer.Option("--warm-up", help="Share of the steps in which it rises; then it falls as a cosine.")
    ] = 0.05,
    weight_decay: Annotated[
        float | None, typer.Option("--weight-decay", help="Default: 0.0001; for adamw 0.01.")
    ] = None,
    label_smoothing: Annotated[float, typer.Option("--label-smoothing", help="Share spread over all classes.")] = 0.0,
    clip: Annotated[float | None, typer.Option("--clip", help="Largest L2 norm of a step's gradient.")] = None,
    augment: Augment = "none",
    recalibrate: Annotated[
        int, typer.Option("--recalibrate", help="Batches to measure batch norms' statistics anew on, before tuning.")
    ] = 50,
    train_from: Annotated[
        str | None, typer.Option("--train-from", metavar="K", help="Train from this position on only.")
    ] = None,
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
    """Remove activations from a position on in the forward pass, and fine-tune (LinS).

    Makes DIR/model.pt2, which --surrogate and --victim accept, and DIR/manifest.json with the
    accuracy before, after the removal and after tuning. Interrupted and started again with the
    same settings, it goes on from its last checkpoint.

    [bold]Examples[/bold]

      linbp linearize timm:resnet18.a1_in1k --start layer3.1 --data train.csv --out lins

      linbp linearize file:net.py:build --start 0.5 --data photos --validation other --out lins

      linbp linearize demo:squeezenet1_1 --start 23 --data photos --optimizer adamw --out lins

      linbp linearize file:net.py:build --start 12 --data photos --epochs 0 --out removed-only

    Then: linbp craft --surrogate lins/model.pt2 --recipe mi --data photos --out adv
    """
    from linbp.training.lins import Tuning, linearize_folder

    # What is quickly checked comes before what takes time.
    tuning = Tuning(
        optimizer=optimizer,
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=batch_size,
        warm_up=warm_up,
        weight_decay=weight_decay,
        label_smoothing=label_smoothing,
        clip=clip,
        augment=AUGMENTATIONS[augment],
        recalibrate=recalibrate,
        train_from=None if train_from is None else _position(train_from),
        mixed_precision=PRECISIONS[precision],
        seed=seed,
    )
    run = partial(
        linearize_folder,
        start=_position(start),
        folder=out,
        sites=_sites(sites),
        tuning=tuning,
        device=usable_device(device),
        trust_labels=trust_labels,
        checkpoint_every=checkpoint_every,
        threads=threads,
        command=command_line(),
    )
    report = run_tuning(model, data, validation, out, first_label, classes, hidden=json, run=run)
    manifest = report.manifest
    print_tuning(
        report,
        json,
        {"model": str(report.model_path)},
        did=f"{len(manifest['removed'])} of {manifest['sites']} activations removed",
        stages=STAGES,
        next_step=f"linbp craft --surrogate {report.model_path} --recipe mi --data DATA --out DIR",
    )


def _position(text: str) -> int | float | str:
    """`7` is an index, `0.5` a fraction, anything else a module path, and `'0.1'` in quotes is one, too."""
    if re.fullmatch(r"'.+'|\".+\"", text):
        return text[1:-1]
    number = read_number(text)
    return text if number is None else number


def _sites(text: str | None) -> Any:
    """One of the words, or the numbers of a list.

    Raises:
        RuleError: neither.
    """
    from linbp.errors import RuleError

    if text is None or text in WHICH:
        return text
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise RuleError(f"--sites {text} is not known.", f"Use {', '.join(WHICH)}, or numbers such as 3,5.")
    return tuple(int(word) for word in words)
