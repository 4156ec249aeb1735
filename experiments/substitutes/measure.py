"""Exposure to attacks on substitutes of 500, 2,000 and 5,000 queries, beside attacks on the owner's own network.

The victim is the ResNet-18 for CIFAR-10 that ships, exported to ONNX, so that nothing but its answers can be used. The
attacker asks it about test images 5000 to 9999, of which neither network has seen any, and starts from SqueezeNet 1.1
as trained on ImageNet, at 96 pixels. The audit has test images 0 to 299. The upper bound is the victim's own network as
the surrogate; a public network of the same classes stands beside it.

    python experiments/substitutes/measure.py ../shared/data/cifar10 --out runs/substitutes    # resumable

Everything goes through the command line. What came out is `experiments/results/substitutes.json`, and the table of the
page, which is all that is written without a folder of images.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch
from pages import markdown, write_page

import linbp
from linbp.data.cifar10 import load_cifar10
from linbp.data.files import json_bytes, write_atomically
from linbp.data.images import write_png

RESULTS = Path(__file__).parents[1] / "results" / "substitutes.json"
VICTIM, PUBLIC = "demo:cifar10/resnet18", "demo:cifar10/plain"
QUERIES = (500, 2000, 5000)
ASKED, AUDITED = range(5000, 10_000), range(300)
SIDE = 96


def backbone() -> linbp.Model:
    """SqueezeNet 1.1 as trained on ImageNet, for images of 96 pixels."""
    network = linbp.load_model("demo:squeezenet1_1")
    name = f"SqueezeNet 1.1 at {SIDE} pixels"
    return linbp.Model(network.module, input_size=SIDE, mean=network.mean, std=network.std, name=name)


def export(folder: Path) -> Path:
    """The victim as an ONNX file, with what the file does not say beside it."""
    place = folder / "victim.onnx"
    network = linbp.load_model(VICTIM)
    sidecar = {"input_size": list(network.input_size), "mean": list(network.mean), "std": list(network.std)}
    place.with_suffix(".json").write_text(json.dumps(sidecar))
    if not place.is_file():
        batch = torch.export.Dim("batch", min=1, max=4096)
        torch.onnx.export(
            network.module.eval(), (torch.zeros(2, 3, 32, 32),), place, dynamic_shapes=({0: batch},), verbose=False
        )
    return place


def save_images(data: str, folder: Path, rows: range) -> Path:
    """Test images as PNGs with a list."""
    place = folder / f"test-{rows.start}"
    listed = place / "images.csv"
    if not listed.is_file():
        found = load_cifar10(data)
        place.mkdir(parents=True, exist_ok=True)
        for row in rows:
            write_png(place / f"{row}.png", found.test_images[row].numpy())
        lines = [f"{row}.png,{int(found.test_labels[row])}" for row in rows]
        write_atomically(listed, "\n".join(["file,label", *lines, ""]).encode())
    return place


def linbp_says(*words: str | Path) -> dict[str, Any]:
    """What a command prints with `--json`."""
    command = [sys.executable, "-m", "linbp.cli", *map(str, words), "--json"]
    print("linbp", *words, flush=True)
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="a folder with CIFAR-10; without it nothing is measured")
    parser.add_argument("--out", type=Path, default=Path("runs/substitutes"))
    given = parser.parse_args()
    if given.data is not None:
        measure(given.data, given.out)
    write_page("substitutes.md", {"measured": page_table()})


def measure(data: str, out: Path) -> None:
    """Train the substitutes, audit the victim with each surrogate, and keep what came out."""
    out.mkdir(parents=True, exist_ok=True)
    victim = export(out)
    asked, audited = (save_images(data, out, rows) for rows in (ASKED, AUDITED))
    surrogates: dict[str, str] = {"owner's own network": VICTIM, "a public network of these classes": PUBLIC}
    rows = []
    for count in QUERIES:
        place = out / f"substitute-{count}"
        options = ["--backbone", f"file:{__file__}:backbone", "--data", asked, "--queries", str(count), "--out", place]
        linbp_says("substitute", "--victim", victim, *options)
        surrogates[f"substitute of {count:,} queries"] = str(place)
    for title, name in surrogates.items():
        place = out / f"audit-{len(rows)}"
        options = ["--surrogate", name, "--data", audited, "--eps", "4/255,8/255", "--out", place]
        rows.append({"surrogate": title, **facts_of(linbp_says("audit", victim, *options))})
        write_atomically(RESULTS, json_bytes(rows, indent=1))


def page_table() -> list[str]:
    """The table of docs/substitutes.md."""
    rows = []
    for one in json.loads(RESULTS.read_text()):
        rates = [one["agreement"], *(one["exposure"][eps]["worst_case"] for eps in ("4/255", "8/255"))]
        rows.append([one["surrogate"], *("" if rate is None else cell(rate) for rate in rates)])
    return markdown(["surrogate", "agreement with the victim", "exposure at 4/255", "exposure at 8/255"], rows)


def cell(rate: dict[str, Any]) -> str:
    """A share with its interval, in per cent."""
    value, low, high = (round(100 * rate[name]) for name in ("value", "low", "high"))
    return f"{value}% <small>{low}-{high}, {rate['successes']}/{rate['n']}</small>"


def facts_of(said: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of an audit."""
    (surrogate,) = said["threat_model"]["surrogates"]
    radii = {one["eps_text"]: {name: one[name] for name in ("worst_case", "best", "noise")} for one in said["exposure"]}
    return {"queries": surrogate.get("queries"), "agreement": surrogate.get("agreement"), "exposure": radii}


if __name__ == "__main__":
    main()
