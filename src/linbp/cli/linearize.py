"""`linbp linearize`: a network without some of its activations, fine-tuned on the user's images (LinS)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from linbp.cli.guard import Interrupted, guard
from linbp.cli.options import Debug, Device, Json, Threads, command_line, usable_device
from linbp.cli.output import add_row, interval, make_table, print_json, print_unused, progress_bars, share, stdout
from linbp.cli.tuning_options import AUGMENTATIONS, PRECISIONS, Augment, Precision, Validation, read_number, read_share

if TYPE_CHECKING:
    from linbp.training.lins import LinearizeReport

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
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The network, such as timm:resnet18.a1_in1k.")],
    start: Annotated[
        str,
        typer.Option(
            "--start",
            metavar="K",
            help="Where removal starts: a site's index, a fraction, or a module path "
            "(in quotes of its own where it looks like a number).",
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            metavar="FOLDER_OR_CSV",
            help="Training images: a CSV (file,label), or a folder with images.csv or one sub-folder a class.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the result; once started, it goes on.")],
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
    from linbp.attack.named_surrogates import load_surrogate
    from linbp.data.image_list import list_images, not_used
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
    position, chosen, images = _position(start), _sites(sites), list_images(data, first_label=first_label)
    number, where = read_share(validation), usable_device(device)
    apart = list_images(validation, first_label=first_label) if number is None else number
    with progress_bars(json) as tell:
        tell("loading the network", 0, 1)
        loaded = load_surrogate(model)
        tell("loading the network", 1, 1)
        try:
            report = linearize_folder(
                loaded,
                position,
                images,
                out,
                validation=apart,
                sites=chosen,
                tuning=tuning,
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


def _kept(out: Path) -> str:
    """What to say after Ctrl-C."""
    from linbp.training.lins.store import LinearizeFolder

    manifest = LinearizeFolder(out).read_manifest()
    if manifest is None:
        return "nothing is kept yet; the same command starts again."
    at = manifest["progress"]
    return f"{at['step']} of {at['steps']} steps are kept in {out}; the same command goes on from there."


def _facts(report: LinearizeReport) -> dict[str, object]:
    return {
        "folder": str(report.folder),
        "model": str(report.model_path),
        "resumed_at_step": report.resumed_at,
        "already_finished": report.already_finished,
        "manifest": report.manifest,
    }


def _print(report: LinearizeReport) -> None:
    from linbp.evaluation.statistics import rate

    console, manifest = stdout(), report.manifest
    for note in manifest["notes"]:
        console.print(f"Note: {note}", markup=False)
    if report.already_finished:
        console.print(f"{report.folder} was finished before; nothing was done.", markup=False)
    elif report.resumed_at is not None:
        console.print(f"Went on from step {report.resumed_at} of {manifest['progress']['steps']}.")
    console.print(
        f"{len(manifest['removed'])} of {manifest['sites']} activations removed, "
        f"{manifest['progress']['steps']} steps on {manifest['training_images']} images, "
        f"{manifest['seconds']:.0f} seconds.",
        markup=False,
    )
    heads = ["validation", "95% interval", "loss", "training"]
    table = make_table("accuracy", *heads, right=heads)
    for stage, words in STAGES.items():
        if stage not in manifest["accuracy"]:
            continue
        found, training = (manifest["accuracy"][stage][name] for name in ("validation", "training"))
        value = rate(found["right"], found["n"])
        loss = "not finite" if found["loss"] is None else f"{found['loss']:.3f}"
        cells = (share(value), interval(value), loss)
        add_row(table, words, *cells, share(rate(training["right"], training["n"])))
    console.print(table)
    console.print(f"Next: linbp craft --surrogate {report.model_path} --recipe mi --data DATA --out DIR", markup=False)
