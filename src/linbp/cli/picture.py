"""`linbp picture`: some adversarial images of a folder or a run, and what networks see in them, as one PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linbp.cli.guard import guard
from linbp.cli.options import BatchSize, Debug, Device, Json, MovedData, Threads, usable_device
from linbp.cli.output import print_json, progress_bars

__all__ = ["picture"]


@guard
def picture(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of linbp craft, or a run of linbp bench.")],
    victims: Annotated[
        list[str] | None,
        typer.Option(
            "--victim",
            metavar="MODEL",
            help="A network that looks at the images; may be given several times. Default for a run: its victims.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The PNG. Default: DIR/picture.png.")
    ] = None,
    attack: Annotated[
        str | None,
        typer.Option("--attack", metavar="NAME", help="Which of a run's attacks. Default: the best of the report."),
    ] = None,
    images: Annotated[int, typer.Option("--images", min=1, help="How many: those that fool most victims.")] = 5,
    image_ids: Annotated[
        list[str] | None,
        typer.Option("--image", metavar="ID", help="Show this image instead; may be given several times."),
    ] = None,
    data: MovedData = None,
    batch_size: BatchSize = 32,
    device: Device = None,
    threads: Threads = 4,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw clean images, their adversarial images, the magnified differences, and what each network sees.

    [bold]Examples[/bold]

      linbp picture adv/linbp --victim demo:efficientnet_lite0

      linbp picture runs/tonight --out tonight.png

      linbp picture adv/linbp --victim file:mine.py:network --image cat --image dog
    """
    from linbp.bench.picture_of_folder import draw_folder
    from linbp.data.files import check_place
    from linbp.errors import ModelError

    place, asked, chosen = folder, list(victims or ()), None
    default = folder.with_name(f"{folder.name}.png")  # in the folder it could be taken for an image's
    if (folder / "results.parquet").is_file():
        from linbp.report.chosen_attack import chosen_attack

        chosen = chosen_attack(folder, attack)
        place, asked = folder / "attacks" / chosen.folder, asked or list(chosen.victims)
        default = folder / "picture.png"
    elif attack is not None:
        raise ModelError(f"{folder} is no run, so it has no attack {attack!r}.", "Leave --attack out.")
    if not asked:
        raise ModelError("There is no network to look at the images.", "Name at least one with --victim.")
    file = out or default
    check_place(file)
    with progress_bars(json) as tell:
        found = draw_folder(
            place,
            asked,
            file,
            images=images,
            image_ids=image_ids or (),
            words=None if chosen is None else chosen.victims,
            surrogate=None if chosen is None else chosen.surrogate,
            data=data,
            batch_size=batch_size,
            device=usable_device(device),
            threads=threads,
            progress=tell,
        )
    if json:
        print_json({"picture": str(file), "victims": [evaluation.to_dict() for evaluation in found.evaluations]})
    else:
        print(file)
