"""`linbp craft`: an adversarial image for every image in a list, into a folder, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from linbp.cli.guard import Interrupted, guard
from linbp.cli.options import (
    BatchSize,
    ClassesFile,
    Debug,
    Device,
    Json,
    Threads,
    command_line,
    read_classes,
    usable_device,
)
from linbp.cli.output import counted, interval, print_json, print_note, print_unused, progress_bars, stdout

if TYPE_CHECKING:
    from linbp.attack.job.report import FolderReport
    from linbp.data.unused import Unused

__all__ = ["craft"]


@guard
def craft(
    surrogates: Annotated[
        list[str],
        typer.Option(
            "--surrogate",
            metavar="MODEL",
            help="The network that gives gradients; several times: an ensemble. 'MODEL with RULE': a rule of its own.",
        ),
    ],
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe", metavar="TEXT", help="The attack: a named one, or a sum of parts (linbp list recipes)."
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            metavar="FOLDER_OR_CSV",
            help="Images: a CSV (file,label), or a folder with images.csv or one sub-folder a class. Classes are "
            "numbers from 0, or names.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Folder of the adversarial images; started before, it is finished."),
    ],
    fuse: Annotated[
        Literal["logits", "probabilities", "losses"] | None,
        typer.Option("--fuse", help="What an ensemble averages. Default: logits."),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol", metavar="NAME", help="Prepare, attack and round as published (linbp list protocols)."
        ),
    ] = None,
    eps: Annotated[
        str | None,
        typer.Option("--eps", help="Radius of the ball: a number on the scale of [0, 1]. Default: 8/255."),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Number of steps. Default: 50; 1 for fgsm.")] = None,
    step_size: Annotated[
        str | None,
        typer.Option(
            "--step-size",
            help="Size of a step. Default, or auto: 1/255, or eps / steps where that is more; for l2 2.5 eps / steps.",
        ),
    ] = None,
    norm: Annotated[
        Literal["linf", "l2"] | None, typer.Option("--norm", help="The ball's norm. Default: linf.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Every random draw depends on it and on the image's id.")] = 0,
    rounding: Annotated[
        Literal["inward", "nearest", "truncate"] | None,
        typer.Option(
            "--rounding",
            help="To the 8-bit grid: inside the ball (default), or as published code does, leaving the ball.",
        ),
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option("--targets", metavar="COLUMN", help="The CSV's column of target classes: a targeted attack."),
    ] = None,
    target_rule: Annotated[
        str | None,
        typer.Option(
            "--target-rule",
            metavar="RULE",
            help="Targets by a rule: shift:K (label + K), least-likely (for the surrogate), random.",
        ),
    ] = None,
    pool: Annotated[
        Path | None,
        typer.Option(
            "--pool", metavar="FOLDER_OR_CSV", help="Images that admix mixes in, listed as in --data; may be the same."
        ),
    ] = None,
    proxies: Annotated[
        list[str] | None,
        typer.Option(
            "--proxy", metavar="MODEL", help="For start=auto: a network that is asked where to start, and is no victim."
        ),
    ] = None,
    classes: ClassesFile = None,
    first_label: Annotated[
        int,
        typer.Option(
            "--first-label",
            help="What the list calls the first class: 0 or 1; -1 if it counts from 0 and the network's class 0 is the "
            "background.",
        ),
    ] = 0,
    labels: Annotated[
        Literal["given", "predicted"],
        typer.Option("--labels", help="Labels from the list, or the surrogate's own predictions."),
    ] = "given",
    trust_labels: Annotated[
        bool, typer.Option("--trust-labels", help="Do not suspect that labels are shifted.")
    ] = False,
    trust_parts: Annotated[
        bool, typer.Option("--trust-parts", help="Do not check parts of other packages at their first use.")
    ] = False,
    batch_size: BatchSize = 8,
    group_size: Annotated[
        int | None,
        typer.Option(
            "--group-size",
            help="Of a batch, images computed at a time on a CPU: 4 (default), 1, 8, 16 or 32. It changes last bits, "
            "and may not change in a folder; 1 is fastest for single images.",
        ),
    ] = None,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the surrogate, which takes up to a minute and is worth it for many steps. It changes last "
            "bits, which then depend on the batch, and may not change in a folder.",
        ),
    ] = False,
    device: Device = None,
    use_tf32: Annotated[
        bool | None,
        typer.Option(
            "--tf32/--no-tf32",
            help="On NVIDIA GPUs, compute float32 products in TF32 or in float32. Default: TF32 in convolutions only.",
        ),
    ] = None,
    threads: Threads = 4,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Craft an adversarial image of every image: PNGs named by image id, manifest.json and records.jsonl.

    Interrupted and started again with the same settings, it makes only what is missing.

    [bold]Examples[/bold]

      linbp craft --surrogate demo:squeezenet1_1 --recipe "linbp(start=0.2) + di + mi" --data photos --out adv

      linbp craft --surrogate timm:resnet50.a1_in1k --recipe "linbp(start=layer3.1)" --data photos --out adv

      linbp craft --surrogate timm:resnet18.a1_in1k --recipe mifgsm --targets target --data list.csv --out adv

      linbp craft --surrogate timm:resnet18.a1_in1k --recipe mifgsm --target-rule shift:500 --data photos --out adv

      linbp craft --surrogate "timm:resnet18.a1_in1k with linbp(start=layer3.1)" --surrogate timm:vgg11.tv_in1k
      --recipe mi --data photos --out adv

      linbp craft --surrogate timm:resnet50.a1_in1k --recipe "linbp(start=auto)" --proxy timm:vgg11.tv_in1k
      --data photos --out adv

      linbp craft --surrogate file:my_network.py:build --recipe pgd --labels predicted --data photos --out adv

      linbp craft --surrogate demo:squeezenet1_1 --recipe admix-mifgsm --pool photos --data photos --out adv

      linbp craft --protocol linbp-2020-imagenet --surrogate torchvision:resnet50@IMAGENET1K_V1
      --recipe "linbp(start=layer3.1)" --data photos --out adv

    Then: linbp evaluate adv --victim MODEL
    """
    from linbp.attack.config import AttackConfig
    from linbp.attack.job.craft_folder import craft_folder
    from linbp.attack.job.images import has_targets
    from linbp.attack.named_surrogates import load_surrogates
    from linbp.data.image_list import list_images
    from linbp.errors import RecipeError
    from linbp.jobs.tf32 import tf32
    from linbp.models import load_model

    # What is quickly checked comes before what takes time.
    if targets is not None and target_rule is not None:
        raise RecipeError(
            f"--targets {targets} and --target-rule {target_rule} both choose the targets.", "Leave one out."
        )
    where = usable_device(device)
    names = read_classes(classes)
    images = list_images(data, targets=targets, first_label=first_label, classes=names)
    partners = None if pool is None else list_images(pool, first_label=first_label)
    unused = {one.source: one.unused for one in (images, *([] if partners is None else [partners]))}
    config = AttackConfig.resolve(
        recipe,
        eps=eps,
        steps=steps,
        step_size=step_size,
        norm=norm,
        seed=seed,
        rounding=rounding,
        labels=labels,
        targets=has_targets(images),
        target_rule=target_rule,
        pool=pool is not None,
        protocol=protocol,
        batch_size=batch_size,
        group_size=group_size,
        compiled=compiled,
    )
    said: list[str] = []
    with progress_bars(json) as tell, tf32(use_tf32):

        def noting(stage: str, done: int, total: int) -> None:
            if stage == "crafting":  # by now all is checked: an error would have had the last word
                _note(unused)
                _say(said)
            tell(stage, done, total)

        model = load_surrogates(surrogates, fuse, tell)
        try:
            report = craft_folder(
                model,
                images,
                out,
                config,
                trust_labels=trust_labels,
                trust_parts=trust_parts,
                pool=partners,
                proxies=[load_model(name) for name in proxies or ()],
                device=where,
                threads=threads,
                command=command_line(),
                progress=noting,
                on_note=said.append,
            )
        except KeyboardInterrupt:
            raise Interrupted(_kept(out, len(images))) from None
    _note(unused)
    _say(said)
    print_unused("the images", report.unused[len(images.unused) :])
    if json:
        print_json(_facts(report))
    else:
        _print(report)


def _note(unused: dict[str, tuple[Unused, ...]]) -> None:
    """Say once what is not used of each list."""
    for source in list(unused):
        print_unused(source, unused.pop(source))


def _say(notes: list[str]) -> None:
    """Say each note once."""
    while notes:
        print_note(notes.pop(0))


def _kept(out: Path, wanted: int) -> str:
    """What to say after Ctrl-C."""
    from linbp.attack.job.adversarial_folder import AdversarialFolder

    kept = len(AdversarialFolder(out).read_records())
    if not kept:
        return "nothing was finished yet, and nothing is kept."
    return f"{kept} of {wanted} adversarial images are finished and kept in {out}; the same command goes on from there."


def _facts(report: FolderReport) -> dict[str, Any]:
    return {
        "folder": str(report.folder),
        "made": report.made,
        "kept": report.kept,
        "gradients_per_image": report.manifest["gradients_per_image"],
        **report.summary(),
        "unused": [one.to_dict() for one in report.unused],
        "manifest": report.manifest,
    }


def _protocol_line(settings: dict[str, Any]) -> str:
    """What a protocol decided, in one line."""
    from linbp.data.preprocessing import Preparation

    return (
        f"Protocol {settings['protocol']}: images {Preparation.from_dict(settings['preparation'])}; "
        f"eps {settings['eps'] * 255:g}/255 ({settings['norm']}), {counted(settings['steps'], 'step')} of "
        f"{settings['step_size'] * 255:g}/255, rounding {settings['rounding']}."
    )


def _print(report: FolderReport) -> None:
    from linbp.evaluation import rate

    console, facts, settings = stdout(), _facts(report), report.manifest["settings"]
    if settings.get("protocol") is not None:
        console.print(_protocol_line(settings), markup=False)
    for note in report.manifest["notes"][len(report.list_notes) :]:
        console.print(f"Note: {note}", markup=False)
    console.print(
        f"{counted(facts['images'], 'adversarial image')} in {facts['folder']}: {facts['made']} made now, "
        f"{facts['kept']} kept from before; {counted(facts['gradients_per_image'], 'gradient')} per image.",
        markup=False,
    )
    attacked = "ensemble" if "members" in settings["surrogate"] else "surrogate"
    right, fooled, hit = (facts[f"surrogate_{name}"] for name in ("right_on_clean", "fooled", "hit"))
    console.print(
        f"The {attacked} itself knew {right} of the clean images and is fooled by the adversarial images of {fooled} "
        f"of them ({interval(rate(fooled, right))})"
        + (
            "."
            if hit is None
            else f", and takes {hit} adversarial images for their target ({interval(rate(hit, facts['aimed']))})."
        )
    )
    if not right:
        console.print(
            "Note: a network that knows none of the images is no judge of an attack. Are the labels right (a list that "
            "counts from 1 needs --first-label 1), and are they classes of this network?"
        )
    console.print(f"Largest change {counted(facts['linf_max'], 'level')}, mean L2 {facts['l2_mean']:.3f}.")
    console.print(f"Next: linbp evaluate {facts['folder']} --victim MODEL", markup=False)
