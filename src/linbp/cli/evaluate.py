"""`linbp evaluate`: how many adversarial images of a folder fool each victim."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from linbp.cli.guard import Interrupted, guard
from linbp.cli.options import (
    BatchSize,
    ClassesFile,
    Debug,
    Device,
    Json,
    MovedData,
    Threads,
    command_line,
    read_classes,
    usable_device,
)
from linbp.cli.output import add_row, counted, interval, make_table, print_json, progress_bars, share, stdout
from linbp.cli.streams import is_standard_output, write_data

if TYPE_CHECKING:
    from linbp.evaluation import Evaluation, FolderEvaluation

__all__ = ["evaluate"]


@guard
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out folder of linbp craft.")],
    victims: Annotated[
        list[str],
        typer.Option("--victim", metavar="MODEL", help="A network to evaluate on; may be given several times."),
    ],
    data: MovedData = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="FILE|COLUMN|WORD",
            help="Labels of the victims, whose classes may be others than the surrogate's: a CSV (image_id or file, "
            "label), or a column of the images' own; given: by the list of images, such as names of folders; "
            "predicted: each victim's own predictions. Default: recorded, those of linbp craft.",
        ),
    ] = None,
    classes: ClassesFile = None,
    first_label: Annotated[int, typer.Option("--first-label", help="What --labels call the first class: 0 or 1.")] = 0,
    partial: Annotated[bool, typer.Option("--partial", help="Count an unfinished folder too.")] = False,
    trust_labels: Annotated[
        bool,
        typer.Option(
            "--trust-labels",
            help="Do not suspect that a victim's classes are not the labels' (another number or order of them).",
        ),
    ] = False,
    trust_victim: Annotated[
        bool,
        typer.Option(
            "--trust-victim",
            help="Do not ask a victim again, in other company, nor try other preprocessing if it is often wrong.",
        ),
    ] = False,
    victim_input: Annotated[
        Literal["protocol", "own"] | None,
        typer.Option(
            "--victim-input",
            help="Preprocessing of the protocol's released test (default where one made the folder), "
            "or each victim's own.",
        ),
    ] = None,
    select: Annotated[
        Literal["every-victim", "none"] | None,
        typer.Option(
            "--select", help="Count also over the images that every --victim has right. Default: as the protocol does."
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write one line for each victim and image; - is standard output."),
    ] = None,
    batch_size: BatchSize = 32,
    device: Device = None,
    threads: Threads = 4,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Count how many adversarial images fool each victim, from the PNGs on disk.

    A success is a victim that was right on the clean image and is wrong on the adversarial image (for a targeted
    attack: takes it for the target), over the images it was right on. 1 - accuracy counts all images.

    [bold]Examples[/bold]

      linbp evaluate adv --victim timm:tf_efficientnet_lite0.in1k

      linbp evaluate adv --victim timm:resnet50.a1_in1k --victim model.onnx --csv records.csv

      linbp evaluate adv --victim timm:resnet50.a1_in1k --victim model.onnx --select every-victim

      linbp evaluate adv --victim own.onnx --labels labels.csv --classes classes.txt

      linbp evaluate adv --victim own.onnx --labels predicted

      linbp evaluate adv --victim file:my_network.py:build --json > result.json
    """
    from linbp.data.files import check_place
    from linbp.errors import StoreError
    from linbp.evaluation import evaluate_folder

    # What is quickly checked comes before what takes time.
    if is_standard_output(csv) and json:
        raise StoreError("--json and --csv both go to standard output.", "Give --csv a file.")
    if csv is not None and not is_standard_output(csv):
        check_place(csv)
    finished: list[FolderEvaluation] = []
    try:
        with progress_bars(json) as tell:
            evaluate_folder(
                folder,
                victims,
                data=data,
                labels=labels,
                classes=read_classes(classes),
                first_label=first_label,
                partial=partial,
                trust_labels=trust_labels,
                trust_victim=trust_victim,
                victim_input=victim_input,
                select=select,
                batch_size=batch_size,
                device=usable_device(device),
                threads=threads,
                command=command_line(),
                progress=tell,
                on_victim=finished.append,
            )
    except KeyboardInterrupt:
        if not finished:
            raise Interrupted("No victim had answered yet; run the same command again.") from None
        asked = f"{len(finished)} of {len(victims)} victims were asked"
        file = "" if csv is None else f", and into another file than {csv}"
        raise Interrupted(f"{asked}; ask for the others with the same command and their names only{file}.") from None
    finally:
        if finished:  # also when a later victim failed
            _show(finished[-1], csv, json)


def _show(result: FolderEvaluation, csv: Path | None, json: bool) -> None:
    """On standard output first: the file may fail. A CSV there leaves standard error to the table."""
    from linbp.evaluation import csv_bytes, write_csv

    if json:
        print_json(
            {
                "folder": str(result.folder),
                "finished": result.expected == result.evaluations[0].statistics.images,
                "missing": list(result.missing),
                "notes": list(result.notes),
                "manifest": result.manifest,
                "run": result.run,
                "victim_input": result.victim_input,
                "selection": None if result.selection is None else result.selection.to_dict(),
                "victims": [evaluation.to_dict() for evaluation in result.evaluations],
            }
        )
    else:
        _print(result)
    if is_standard_output(csv):
        write_data(csv_bytes(result))
    elif csv is not None:
        write_csv(csv, result)


def _print(result: FolderEvaluation) -> None:
    from linbp.evaluation import attack_facts

    console, settings = stdout(), result.manifest["settings"]
    found, attack = result.evaluations[0].statistics.images, attack_facts(result.manifest)
    console.print(
        f"{result.folder}: {attack['recipe']} on {attack['surrogate']}, eps {attack['eps'] * 255:g}/255 "
        f"({attack['norm']}), {counted(attack['steps'], 'step')}, seed {attack['seed']}, {counted(found, 'image')}",
        markup=False,
    )
    if settings.get("protocol") is not None:
        _print_protocol(result)
    if found < result.expected:
        console.print(f"Unfinished: {found} of {result.expected} adversarial images are counted.")
    targeted = bool(settings["targeted"])
    heads = ["right on clean", "hit the target" if targeted else "fooled", "95% interval"]
    heads += [*(["fooled"] if targeted else []), "1 - accuracy", "L-inf (max)", "L2"]
    table = make_table("victim", *heads, right=heads)
    for evaluation in result.evaluations:
        numbers = evaluation.statistics
        add_row(
            table,
            _title(evaluation),
            f"{numbers.right_on_clean}/{numbers.images}",
            share(numbers.success),
            interval(numbers.success),
            *([share(numbers.fooled)] if targeted else []),
            f"{numbers.wrong.value:.1%}",
            f"{numbers.linf_mean:.2f} ({numbers.linf_max})",
            f"{numbers.l2_mean:.3f}",
        )
    console.print(table)
    for note in (*result.notes, *_role_notes(result), *(note for one in result.evaluations for note in one.notes)):
        console.print(f"Note: {note}", markup=False)
    for one in result.evaluations:
        if (asked := one.queries) is not None:
            console.print(
                f"{one.name} was sent {counted(asked.images, 'image')} in {counted(asked.requests, 'request')}; "
                f"{asked.kept} {'answer was' if asked.kept == 1 else 'answers were'} kept from before. "
                f"In all runs it was sent {asked.ever}.",
                markup=False,
            )
    console.print(
        "Over all images: 1 - accuracy; mean and largest L-inf in levels of 0 to 255; mean L2 with images in [0, 1]."
        + (" Hits are counted where the target is not the label." if targeted else ""),
        markup=False,
    )
    if result.selection is not None:
        _print_selection(result, targeted)
    if result.missing:
        console.print(f"Without a result: {', '.join(result.missing)}.", markup=False)


def _title(evaluation: Evaluation) -> str:
    """A victim's name, and what it was to the attack."""
    return evaluation.name + ("" if evaluation.role == "victim" else f" ({evaluation.role})")


def _role_notes(result: FolderEvaluation) -> Iterator[str]:
    """Which networks are no black-box models to this attack."""
    named = {role: [one.name for one in result.evaluations if one.role == role] for role in ("white box", "proxy")}
    if names := named["white box"]:
        yield f"{', '.join(names)}: the surrogate itself, a white box. Its rate says nothing about other networks."
    if names := named["proxy"]:
        yield f"{', '.join(names)} chose where the rule starts, so it is not a black-box model."


def _print_protocol(result: FolderEvaluation) -> None:
    """Which protocol made the folder, and how images are preprocessed for the victims."""
    console, name = stdout(), result.manifest["settings"]["protocol"]
    if result.victim_input == "own":
        console.print(
            f"Protocol {name}; victims see the images with their own resizing only (--victim-input own).", markup=False
        )
        return
    console.print(f"Protocol {name}; victims see the images as in its test (else: --victim-input own):", markup=False)
    for evaluation in result.evaluations:
        console.print(f"  {evaluation.name}: {evaluation.preprocessing}", markup=False)


def _print_selection(result: FolderEvaluation, targeted: bool) -> None:
    """Success over the images that every victim has right."""
    console, selection = stdout(), result.selection
    assert selection is not None
    heads = ["hit the target" if targeted else "fooled", "95% interval"]
    table = make_table("victim", *heads, right=heads)
    for evaluation, success in zip(result.evaluations, selection.success, strict=True):
        add_row(table, _title(evaluation), share(success), interval(success))
    console.print(f"Over the {len(selection.image_ids)} images that every victim named here knows:")
    console.print(table)
