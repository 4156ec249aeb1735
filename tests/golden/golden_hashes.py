"""Compute the golden hashes; `python tests/golden/golden_hashes.py` records those of this processor in `hashes.json`.

What the hashes of float64 images and gradients' signs and magnitudes say holds on every machine; every bit of float32
holds for one kind of processor and one version of torch, and is recorded under their name.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from golden_networks import BUILDERS, CLASSES, PLACES, images_of, model, surrogate
from golden_recipes import PLAIN, PROTOCOLS, SPECIAL
from PIL import Image
from typer.testing import CliRunner

import linbp
from linbp.cli.app import app

HASHES = Path(__file__).with_name("hashes.json")
NETWORKS = (*BUILDERS, "squeezenet")
DTYPES = {"float64": torch.float64, "float32": torch.float32}
QUANTA = 10_000
"""Gradients on every machine: to this share of the largest value of an image's."""


def processor() -> str:
    """What float32 bits depend on: the processor's model, the kernels that torch chooses, and torch's version."""
    name = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        facts = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        facts = {key.strip(): value.strip() for key, value in facts.items()}
        name = " ".join(facts.get(key, "?") for key in ("vendor_id", "cpu family", "model"))
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__.partition('+')[0]}"


def digest(tensor: torch.Tensor) -> str:
    """The SHA-256 of a tensor's values."""
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()[:32]


def cases(network: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Recipes with their settings, with the network's own module paths."""
    for text in PLAIN:
        yield text.format(**PLACES[network]), {}
    for text, options in SPECIAL:
        yield text.format(**PLACES[network]), dict(options)


def name_of(recipe: str, options: dict[str, Any]) -> str:
    """What a case is called in the file."""
    return recipe + "".join(f" | {key}={value}" for key, value in sorted(options.items()))


def crafted(network: str, dtype: torch.dtype, recipe: str, options: dict[str, Any]) -> str:
    """The hash of a case's images, or the kind of error that refuses it."""
    options = dict(options)
    images, labels = images_of(network, 2)
    attacked: Any = surrogate(network, dtype)
    fuse, alike = options.pop("fuse", None), options.pop("alike", False)
    if fuse is not None:
        second = network if alike or network == "squeezenet" else NETWORKS[(NETWORKS.index(network) + 1) % 3]
        first = attacked.with_rule(linbp.LinBP(start=1)) if alike else attacked
        attacked = linbp.Ensemble([first, surrogate(second, dtype)], fuse=fuse)
    if options.pop("targets", False):
        options["targets"] = (labels + 3) % (1000 if network == "squeezenet" else CLASSES)
    if "admix" in recipe:
        options["pool"] = linbp.Pool(*images_of(network, 6, seed=1))
    options.setdefault("eps", "6.5/255")
    single = linbp.Recipe.parse(recipe).single_step
    if not single and options.get("norm") != "l2":
        options.setdefault("step_size", "1/255")  # three steps stay inside the radius
    try:
        found = linbp.craft(
            attacked, images, labels, recipe, steps=None if single else 3, ids=["one", "two"], **options
        )
    except linbp.LinbpError as refusal:
        return f"refused: {type(refusal).__name__}"
    return digest((found.double() * 255).round().to(torch.uint8))


def crafted_with(protocol: str, folder: Path) -> str:
    """The hash of the images that `linbp craft --protocol` writes, of four PNGs of two sizes."""
    data, out = folder / "data", folder / protocol
    data.mkdir(exist_ok=True)
    draw = np.random.default_rng(8)
    lines = ["file,label"]
    sides = (32, 32) if "cifar" in protocol else (300, 280)
    for number in range(4):
        shape = (sides[number % 2] // 4, sides[0] // 4, 3)
        pixels = draw.integers(0, 256, shape, dtype=np.uint8).repeat(4, 0).repeat(4, 1)
        Image.fromarray(pixels).save(data / f"{number}.png")
        lines.append(f"{number}.png,{number}")
    (data / "images.csv").write_text("\n".join(lines))
    options = [*PROTOCOLS[protocol], "--surrogate", f"file:{Path(__file__).with_name('golden_networks.py')}:residual"]
    given = ["craft", "--protocol", protocol, *options, "--data", str(data), "--out", str(out), "--trust-labels"]
    ended = CliRunner().invoke(app, given)
    assert ended.exit_code == 0, ended.output
    made = [np.asarray(Image.open(path)) for path in sorted(out.glob("*.png"))]
    assert len(made) == 4
    return hashlib.sha256(b"".join(pixels.tobytes() for pixels in made)).hexdigest()[:32]


def gradient_hashes(found: torch.Tensor) -> tuple[str, str]:
    """Of a gradient's bits, and of its values to a ten-thousandth of each image's largest."""
    wide = found.double()
    largest = wide.abs().amax(dim=(1, 2, 3), keepdim=True)
    return digest(found), digest((wide / largest * QUANTA).round().to(torch.int16))


def record() -> dict[str, Any]:
    """All hashes of this machine, as the file holds them."""
    from golden_gradients import SIDES, gradients

    torch.set_num_threads(1)
    images: dict[str, dict[str, str]] = {}
    for dtype_name, dtype in DTYPES.items():
        images[dtype_name] = {
            f"{network}: {name_of(*case)}": crafted(network, dtype, *case)
            for network in NETWORKS
            for case in cases(network)
        }
    bits: dict[str, str] = {}
    values: dict[str, str] = {}
    for network, dtype_name in itertools.product(SIDES, DTYPES):
        exact, rounded = gradients(network, dtype_name)
        bits |= exact
        values |= rounded if dtype_name == "float64" else {}
    with tempfile.TemporaryDirectory() as folder:
        images["float64"] |= {f"protocol: {name}": crafted_with(name, Path(folder)) for name in PROTOCOLS}
    return {
        "every machine": {"images": images["float64"], "gradients": values},
        "processors": {processor(): {"images": images["float32"], "gradients": bits}},
    }


if __name__ == "__main__":
    known = json.loads(HASHES.read_text()) if HASHES.is_file() else None
    fresh = record()
    if known is not None:
        for part in ("images", "gradients"):
            old, new = known["every machine"][part], fresh["every machine"][part]
            changed = [key for key in old if old[key] != new.get(key)]
            if changed:
                sys.exit(f"{len(changed)} of {len(old)} float64 hashes of {part} differ, the first: {changed[0]}")
        fresh["processors"] = {**known["processors"], **fresh["processors"]}
    HASHES.write_text(json.dumps(fresh, indent=1, sort_keys=True) + "\n")
    print(f"{HASHES}: {processor()}; {model('residual', torch.float64).name} and {len(NETWORKS) - 1} more networks")
