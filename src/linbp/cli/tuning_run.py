"""What commands that train a network further do alike: load, run or resume, and report."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from linbp.cli.guard import Interrupted
from linbp.cli.options import read_classes
from linbp.cli.output import add_row, interval, make_table, print_json, print_unused, progress_bars, share, stdout
from linbp.cli.tuning_options import read_share

if TYPE_CHECKING:
    from linbp.training.fine_tuning.folder import TuningReport

__all__ = ["print_tuning", "run_tuning"]

Report = TypeVar("Report", bound="TuningReport")


def run_tuning(
    model: str,
    data: Path,
    validation: str,
    out: Path,
    first_label: int,
    classes: Path | None,
    *,
    hidden: bool,
    run: Callable[..., Report],
) -> Report:
    """Load network and images, and train.

    Args:
        model: the network's name.
        data: training images.
        validation: a share of them, or other images.
        out: folder of the result.
        first_label: what the lists call the first class.
        classes: a file of the network's classes, or None.
        hidden: whether no progress is drawn.
        run: takes the network, and `images`, `validation` and `progress` by name.

    Raises:
        Interrupted: Ctrl-C; it says what is kept.
    """
    from linbp.attack.named_surrogates import load_surrogate
    from linbp.data.image_list import list_images, not_used

    listed = functools.partial(list_images, first_label=first_label, classes=read_classes(classes))
    images, number = listed(data), read_share(validation)
    apart = listed(validation) if number is None else number
    with progress_bars(hidden) as tell:
        tell("loading the network", 0, 1)
        loaded = load_surrogate(model)
        tell("loading the network", 1, 1)
        try:
            report = run(loaded, images=images, validation=apart, progress=tell)
        except KeyboardInterrupt:
            raise Interrupted(_kept(out)) from None
    for one in (images, *([] if isinstance(apart, float) else [apart])):
        print_unused(one.source, not_used(one))
    return report


def _kept(out: Path) -> str:
    """What to say after Ctrl-C."""
    from linbp.training.substitute.questions import ANSWERS

    try:
        at = json.loads((out / "manifest.json").read_bytes())["progress"]
    except (OSError, ValueError, KeyError):
        if (out / ANSWERS).exists():
            return f"the victim's answers so far are kept in {out}; the same command goes on from there."
        return "nothing is kept yet; the same command starts again."
    return f"{at['step']} of {at['steps']} steps are kept in {out}; the same command goes on from there."


def print_tuning(
    report: TuningReport,
    as_json: bool,
    more: Mapping[str, Any],
    *,
    did: str,
    stages: Mapping[str, str],
    next_step: str,
    measured: str = "accuracy",
) -> None:
    """Print what a training did.

    Args:
        report: of it.
        as_json: for machines.
        more: what JSON holds besides.
        did: a sentence without its end, to which steps, images and time are added.
        stages: the measurements of accuracy that the table shows, and what it calls them.
        next_step: a command.
        measured: what right answers are called.
    """
    from linbp.evaluation.statistics import rate

    manifest = report.manifest
    if as_json:
        facts = {"resumed_at_step": report.resumed_at, "already_finished": report.already_finished}
        print_json({"folder": str(report.folder), **more, **facts, "manifest": manifest})
        return
    console, steps = stdout(), manifest["progress"]["steps"]
    for note in (*manifest["notes"], *manifest["result"].get("notes", ())):
        console.print(f"Note: {note}", markup=False)
    if report.already_finished:
        console.print(f"{report.folder} was finished before; nothing was done.", markup=False)
    elif report.resumed_at is not None:
        console.print(f"Went on from step {report.resumed_at} of {steps}.")
    console.print(
        f"{did}, {steps} steps on {manifest['training_images']} images, {manifest['seconds']:.0f} seconds.",
        markup=False,
    )
    heads = ["validation", "95% interval", "loss", "training"]
    table = make_table(measured, *heads, right=heads)
    for stage, words in stages.items():
        if stage not in manifest["accuracy"]:
            continue
        found, training = (manifest["accuracy"][stage][name] for name in ("validation", "training"))
        value = rate(found["right"], found["n"])
        loss = "not finite" if found["loss"] is None else f"{found['loss']:.3f}"
        cells = (share(value), interval(value), loss)
        add_row(table, words, *cells, share(rate(training["right"], training["n"])))
    console.print(table)
    console.print(f"Next: {next_step}", markup=False)
