"""`linbp zoo`: networks for CIFAR-10, listed and trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from linbp.cli.guard import Interrupted, guard
from linbp.cli.options import Debug, Device, Json, command_line, usable_device
from linbp.cli.output import add_row, interval, make_table, print_json, progress_bars, stdout

if TYPE_CHECKING:
    import torch

    from linbp.training.cifar10 import TrainReport
    from linbp.training.loop import TrainingProgress
    from linbp.zoo import Training

__all__ = ["zoo"]

zoo = typer.Typer(
    name="zoo",
    help="""Networks for CIFAR-10, trained from nothing.

    [bold]Examples[/bold]

      linbp zoo list

      linbp zoo train vgg19_bn resnet18 --data cifar10 --download --out zoo
    """,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


@zoo.command("list")
@guard
def list_networks(json: Json = False, debug: Debug = False) -> None:
    """List the architectures, what they are trained with on CPUs and GPUs, and the weights that ship with linbp.

    [bold]Example[/bold]

      linbp zoo list
    """
    from linbp.models.cifar10 import packaged
    from linbp.zoo import ARCHITECTURES

    shipped = [{"name": f"demo:cifar10/{name}", **_shipped(path)} for name, path in packaged().items()]
    networks = [_network(name, one.summary) for name, one in ARCHITECTURES.items()]
    if json:
        print_json({"architectures": networks, "weights": shipped})
        return
    console = stdout()
    heads = ["parameters", "cpu", "gpu"]
    table = make_table("name", *heads, "what it is", right=heads, title="Architectures, with the presets for training")
    for network in networks:
        presets = [_words(network["presets"].get(name)) for name in ("cpu", "gpu")]
        add_row(table, network["name"], f"{network['parameters']:,}", *presets, network["summary"])
    console.print(table)
    if shipped:
        heads = ["accuracy", "width", "seed"]
        table = make_table("weights that ship with linbp", *heads, "architecture", right=heads)
        for one in shipped:
            cells = (f"{one['accuracy']:.2%}", f"{one['width']:g}", str(one["seed"]))
            add_row(table, one["name"], *cells, one["architecture"])
        console.print(table)
    else:
        console.print("No trained weights ship with this version.")
    console.print("Next: linbp zoo train NAME --data FOLDER --out DIR", markup=False)


def _network(name: str, summary: str) -> dict[str, Any]:
    from linbp.zoo import PRESETS, preset
    from linbp.zoo.architectures import count_parameters

    presets = {
        kind: {"width": (found := preset(kind, name)).width, "epochs": found.epochs}
        for kind in PRESETS
        if name in PRESETS[kind]
    }
    return {"name": name, "parameters": count_parameters(name), "presets": presets, "summary": summary}


def _shipped(path: Path) -> dict[str, Any]:
    from linbp.models.cifar10 import read_card

    card = read_card(path)
    return {
        "accuracy": card["accuracy"]["share"],
        **{name: card[name] for name in ("width", "seed", "architecture", "file_sha256")},
    }


def _words(preset: Mapping[str, Any] | None) -> str:
    return "" if preset is None else f"width {preset['width']:g}, {preset['epochs']} epochs"


@zoo.command("train")
@guard
def train_networks(
    data: Annotated[
        Path,
        typer.Option("--data", metavar="FOLDER", help="CIFAR-10: torchvision's download, or mosaics."),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Gets a folder for each network; once started, it goes on."),
    ],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Architectures (linbp zoo list).", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every architecture that the preset has.")] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch CIFAR-10 into FOLDER if it is not there.")
    ] = False,
    preset: Annotated[
        Literal["cpu", "gpu"] | None,
        typer.Option(
            "--preset", help="Narrow networks for two cores, or full widths. Default: gpu on CUDA, cpu elsewhere."
        ),
    ] = None,
    width: Annotated[
        float | None, typer.Option("--width", help="Factor of the numbers of channels. Default: the preset's.")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Default: the preset's.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Images in a step; the rate follows.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="The highest one, for batches of 128 images.")
    ] = None,
    precision: Annotated[
        Literal["auto", "mixed", "full"],
        typer.Option("--precision", help="mixed: bfloat16 where it is safe. auto: on devices that have it."),
    ] = "auto",
    label_smoothing: Annotated[
        float | None,
        typer.Option("--label-smoothing", help="Share of the target spread over all classes. Default: the preset's."),
    ] = None,
    unshifted: Annotated[
        float | None,
        typer.Option(
            "--unshifted",
            help="Share of the epochs, the last, without shifts of the images. Default: the preset's.",
        ),
    ] = None,
    activation: Annotated[
        Literal["relu", "gelu"] | None,
        typer.Option("--activation", help="In the place of every activation. Default: the network's own."),
    ] = None,
    first: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Start from this network's weights (demo:cifar10/NAME, cifar10:FILE). Default: drawn from the seed.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of first weights, order, shifts and mirroring.")] = 0,
    train_images: Annotated[
        int | None, typer.Option("--train-images", help="The first ones only, for a quick trial.")
    ] = None,
    test_images: Annotated[
        int | None, typer.Option("--test-images", help="The first ones only, for a quick trial.")
    ] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option("--checkpoint-minutes", min=0, help="Between checkpoints inside an epoch.")
    ] = 5.0,
    device: Device = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train networks on CIFAR-10: weights as 16-bit floats, with a card of what made them and how good they are.

    Makes DIR/NAME/NAME.safetensors and its card, NAME.json and NAME.md. Killed or interrupted at any moment and started
    again, it goes on from its last checkpoint; what is finished is left as it is.

    [bold]Examples[/bold]

      linbp zoo train vgg19_bn resnet18 --data cifar10 --download --out zoo

      linbp zoo train --all --data cifar10 --out zoo

      linbp zoo train wrn28_10 --preset gpu --device cuda --data cifar10 --out zoo-gpu

      linbp zoo train plain --width 0.25 --epochs 1 --train-images 2000 --data cifar10 --out trial

      linbp zoo train vit_c --activation relu --from demo:cifar10/vit_c --epochs 3 --data cifar10 --out relu

    Then: linbp craft --surrogate cifar10:zoo/vgg19_bn/vgg19_bn.safetensors --recipe mi --data photos --out adv
    """
    import torch

    from linbp.data.cifar10 import load_cifar10
    from linbp.training.cifar10 import train
    from linbp.training.mixed_precision import has_fast_bfloat16

    place = usable_device(device) or "cpu"
    if precision == "auto":
        precision = "mixed" if has_fast_bfloat16(torch.device(place)) else "full"
    # What is quickly checked comes before what takes time.
    wanted = _wanted(
        names or [],
        every,
        preset or ("gpu" if place.startswith("cuda") else "cpu"),
        width=width,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        precision=precision,
        label_smoothing=label_smoothing,
        unshifted=unshifted,
        activation=activation,
        seed=seed,
    )
    first_weights = None if first is None else _weights(first, [settings.architecture for settings in wanted])
    reports = []
    with progress_bars(json) as tell:
        tell("reading CIFAR-10", 0, 1)
        images = load_cifar10(data, download).first(train_images, test_images)
        tell("reading CIFAR-10", 1, 1)
        for settings in wanted:
            folder = out / settings.architecture
            try:
                report = train(
                    images,
                    settings,
                    folder,
                    device=place,
                    first_weights=first_weights,
                    checkpoint_minutes=checkpoint_minutes,
                    command=command_line(),
                    progress=_listener(tell, hidden=json),
                )
            except KeyboardInterrupt:
                raise Interrupted(_kept(folder, settings.architecture)) from None
            reports.append(report)
    if json:
        print_json({"networks": [_facts(report) for report in reports]})
    else:
        _print(reports)


def _wanted(names: list[str], every: bool, preset_name: str, **changes: Any) -> list[Training]:
    """The settings of each network to train.

    Raises:
        ModelError, RecipeError: no name, both names and --all, or settings that are out of range.
    """
    from linbp.errors import ModelError
    from linbp.zoo import PRESETS, preset

    if every == bool(names):
        raise ModelError(
            "Names and --all were both given." if every else "No network was named.",
            "Give names (linbp zoo list), or --all.",
        )
    return [preset(preset_name, name, **changes) for name in dict.fromkeys(names or PRESETS[preset_name])]


def _weights(spec: str, names: list[str]) -> Mapping[str, torch.Tensor]:
    """The weights of the network behind --from, on the CPU.

    Raises:
        ModelError: no such network, one without weights, or several networks to start from it.
    """
    from linbp.errors import ModelError
    from linbp.models import Model, load_model

    if len(names) > 1:
        raise ModelError(
            f"--from starts one network, and {len(names)} are named.", "Train each by a command of its own."
        )
    found = load_model(spec)
    if not isinstance(found, Model):
        raise ModelError(f"{spec} has no weights to start from.", "Use demo:cifar10/NAME or cifar10:FILE.safetensors.")
    weights: Mapping[str, torch.Tensor] = found.module.state_dict()
    return weights


def _listener(tell: Callable[..., None], hidden: bool) -> TrainingProgress:
    """Moves the bar of a network, and prints a line an epoch."""

    def listen(stage: str, done: int, total: int, words: str) -> None:
        tell(stage, done, total)
        if words and not hidden:
            print(f"{stage} {words}", flush=True)

    return listen


def _kept(folder: Path, name: str) -> str:
    """What to say after Ctrl-C."""
    from linbp.training.cifar10.store import ZooFolder

    state = ZooFolder(folder, name).read_checkpoint()
    if state is None:
        return f"no checkpoint of {name} was made yet; the same command starts it again."
    return f"{state['step']} steps of {name} are kept in {folder}; the same command goes on from there."


def _facts(report: TrainReport) -> dict[str, Any]:
    return {
        "weights": str(report.weights),
        "resumed_at_step": report.resumed_at,
        "already_finished": report.already_finished,
        "card": report.card,
    }


def _print(reports: list[TrainReport]) -> None:
    from linbp.evaluation.statistics import rate

    console = stdout()
    heads = ["accuracy", "95% interval", "parameters", "epochs", "minutes"]
    table = make_table("network", *heads, "this run", right=heads)
    for report in reports:
        card = report.card
        accuracy = card["accuracy"]
        add_row(
            table,
            f"{card['architecture']}, width {card['width']:g}, seed {card['seed']}",
            f"{accuracy['share']:.2%} ({accuracy['right']}/{accuracy['n']})",
            interval(rate(accuracy["right"], accuracy["n"])),
            f"{card['parameters']:,}",
            str(card["epochs"]),
            f"{card['minutes']:.1f}",
            _story(report),
        )
    console.print(table)
    console.print(f"Next: linbp inspect cifar10:{reports[-1].weights}", markup=False)


def _story(report: TrainReport) -> str:
    if report.already_finished:
        return "finished before"
    return "trained" if report.resumed_at is None else f"went on from step {report.resumed_at}"
