"""`linbp inspect`: the places of a network where backward rules act, and its feature maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linbp.cli.guard import guard
from linbp.cli.inspect_tables import print_places
from linbp.cli.options import Debug, Device, Json, usable_device
from linbp.cli.output import counted, print_json, print_unused, progress_bars

if TYPE_CHECKING:
    from linbp.graph import Surrogate

__all__ = ["inspect"]


@guard
def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The network, such as timm:resnet18.a1_in1k.")],
    image: Annotated[
        Path | None,
        typer.Option(
            "--image", metavar="FILE", help="Also show the prediction and the gradient's norm for this image."
        ),
    ] = None,
    feature_maps: Annotated[
        bool,
        typer.Option("--feature-maps", help="Also list the feature maps, which ILA, TAP, NRDM and FDA can read."),
    ] = False,
    device: Device = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show a network's sites, residual blocks and max-pools, to choose a position.

    A site is one activation; LinBP can start at its index, its fraction or its module path. A junction is the sum of a
    residual block, with the sites of the block's branch. BPA also acts on max-pools. Attention, softmaxes and
    concatenations are listed for rules of your own.

    [bold]Examples[/bold]

      linbp inspect torchvision:resnet50@IMAGENET1K_V1

      linbp inspect demo:squeezenet1_1 --image cat.jpg

      linbp inspect timm:resnet18.a1_in1k --feature-maps

      linbp inspect file:my_network.py:build --json
    """
    from linbp.attack.named_surrogates import load_surrogate
    from linbp.data.images import read_image
    from linbp.data.stored import left_out
    from linbp.data.unused import by_kind
    from linbp.graph import Surrogate

    device = usable_device(device)
    pixels = None if image is None else read_image(image)
    unused = by_kind((kind, str(image)) for kind in (left_out(image) if image is not None else ()))
    with progress_bars(json) as tell:
        tell("capturing the network", 0, 1)
        loaded = load_surrogate(model)
        surrogate = Surrogate(loaded) if device is None else Surrogate(loaded).to(device)
        tell("capturing the network", 1, 1)
    facts = _facts(surrogate)
    if feature_maps:
        facts["feature_maps"] = [
            {"module_path": output.module_path, "shape": list(output.shape)}
            for output in surrogate.structure.outputs.values()
        ]
    if pixels is not None:
        facts["image"] = {
            "file": str(image),
            "unused": [one.to_dict() for one in unused],
            **_look(surrogate, pixels),
        }
    print_unused("the image", unused)
    if json:
        print_json(facts)
    else:
        print_places(facts)


def _facts(surrogate: Surrogate) -> dict[str, Any]:
    count = len(surrogate.sites)
    return {
        "model": surrogate.identity(),
        "classes": surrogate.classes,
        "sites": [
            {
                "index": site.index,
                "fraction": round(site.index / count, 4),
                "op": site.op,
                "module_path": site.module_path,
                "shape": list(site.shape),
                "kind": site.kind,
                "junction": site.junction,
            }
            for site in surrogate.sites
        ],
        "junctions": [
            {
                "index": junction.index,
                "module_path": junction.module_path,
                "fork_path": junction.fork_path,
                "sites": list(junction.sites),
                "skip": "identity" if junction.skip_is_identity else counted(len(junction.skip), "operation"),
                "closed": junction.closed,
            }
            for junction in surrogate.junctions
        ],
        "pools": [
            {
                "index": pool.index,
                "module_path": pool.module_path,
                "kernel": list(pool.kernel),
                "stride": list(pool.stride),
                "shape": list(pool.shape),
            }
            for pool in surrogate.pools
        ],
        "softmaxes": [
            {
                "index": softmax.index,
                "module_path": softmax.module_path,
                "axis": softmax.axis,
                "shape": list(softmax.shape),
            }
            for softmax in surrogate.structure.softmaxes
        ],
        "attentions": [
            {
                "index": attention.index,
                "module_path": attention.module_path,
                "fused": attention.fused,
                "shape": list(attention.shape),
                "groups": attention.groups,
                "junction": attention.junction,
                "closed": attention.closed,
            }
            for attention in surrogate.attentions
        ],
        "concatenations": [
            {
                "index": concatenation.index,
                "module_path": concatenation.module_path,
                "axis": concatenation.axis,
                "sizes": list(concatenation.sizes),
                "shape": list(concatenation.shape),
            }
            for concatenation in surrogate.concatenations
        ],
        "published": _published(surrogate),
    }


def _published(surrogate: Surrogate) -> dict[str, str] | None:
    """What `start=default` of LinBP means here, or None."""
    from linbp.errors import RuleError
    from linbp.graph import published_position

    try:
        found = published_position(surrogate.structure)
    except RuleError:
        return None
    return {"network": found.network, "start": found.start, "source": found.source}


def _look(surrogate: Surrogate, pixels: Any) -> dict[str, Any]:
    """The network's top five classes for an image, and the norm of the ordinary gradient for the first of them."""
    from linbp.data.images import to_unit

    unit = to_unit(pixels[None], surrogate.dtype, surrogate.device)
    logits = surrogate.logits(unit)
    shares, classes = logits.softmax(1)[0].topk(min(5, surrogate.classes))
    gradient = surrogate.gradient(unit, classes[:1])
    names = surrogate.model.class_names
    return {
        "top": [
            {"class": number, "name": names[number] if number < len(names) else None, "probability": share}
            for number, share in zip(classes.tolist(), shares.tolist(), strict=True)
        ],
        "gradient_l2": float(gradient.norm()),
        "gradient_zero_share": float((gradient == 0).double().mean()),
    }
