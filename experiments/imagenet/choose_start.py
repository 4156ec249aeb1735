"""Which criterion finds a good start for LinBP without asking a victim? The first 24 photographs, two surrogates.

LinBP is run from eight positions of each surrogate (twenty steps, as in `transfer.py`), and its adversarial images are
shown to the surrogate itself, to the surrogate through changes of the input or with noise on its weights, and to other
networks. What counts is the mean rise of the cross-entropy on the other networks; the one that is asked is left out.

    python experiments/imagenet/choose_start.py --work FOLDER    # crafts into FOLDER, and measures, what is missing
    python experiments/imagenet/choose_start.py --tables         # writes the table of `docs/position.md`
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
import torch
from common import lines as files
from common import photographs as photos
from common.lines import Lines, add_line, read_lines
from common.pages import DOCS, put, table
from common.photographs import VICTIMS
from torch.nn import functional
from torchvision.transforms import functional as change

import linbp
from imagenet import measured

RESULTS = files.RESULTS / "imagenet" / "choose_start.jsonl"
COUNT = photos.PASS
POSITIONS = measured.POSITIONS
OTHERS = ("squeezenet1_1", "mobilenet_edgetpu", "mobilenetv2_tf1", "mobilenetv1_tf1", "efficientnet_lite0")
CHANGES = ("shrunk to 3/4", "shrunk to 1/2", "blurred", "noise", "darkened", "flipped", "rotated")
Probe = tuple[str, Any, Callable[[torch.Tensor], torch.Tensor]]


def changes() -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Changes of images (24, 3, 299, 299) in [0, 1]."""
    draw = torch.Generator().manual_seed(1)
    noise = (torch.rand(COUNT, 3, 299, 299, generator=draw) * 2 - 1) * 24 / 255

    def shrunk(scale: float) -> Callable[[torch.Tensor], torch.Tensor]:
        def shrink(images: torch.Tensor) -> torch.Tensor:
            small = functional.interpolate(images, scale_factor=scale, mode="bilinear", antialias=True)
            return functional.pad(small, (20, 20, 20, 20), value=0.5)

        return shrink

    every = (
        shrunk(0.75),
        shrunk(0.5),
        lambda images: change.gaussian_blur(images, 9, 2.0),
        lambda images: (images + noise).clamp(0, 1),
        lambda images: images * 0.5,
        lambda images: images.flip(-1),
        lambda images: change.rotate(images, 10, change.InterpolationMode.BILINEAR),
    )
    return dict(zip(CHANGES, every, strict=True))


def noisy(model: Any, seed: int) -> Any:
    """The network with Gaussian noise on its weights, a twentieth of their standard deviation."""
    other = copy.deepcopy(model)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.module.parameters():
            if parameter.ndim > 1:
                parameter.add_(torch.randn(parameter.shape, generator=draw) * parameter.std() * 0.05)
    return other


def recipes(surrogate: str) -> list[str]:
    """The ordinary gradient and LinBP from eight positions."""
    return ["ifgsm", *(f"linbp(start={start})" for start in POSITIONS[surrogate])]


def images_of(surrogate: linbp.Surrogate, name: str, eps: str, recipe: str, folder: Path) -> torch.Tensor:
    """The adversarial images in [0, 1], crafted unless they lie in the folder."""
    place = folder / f"{name}_{eps.partition('/')[0]}_{recipe}.npy"
    if not place.is_file():
        found = photos.craft(surrogate, slice(COUNT), recipe, eps, steps=photos.STEPS)
        np.save(place, (found * 255).round().to(torch.uint8).numpy())
    return torch.from_numpy(np.load(place)).float() / 255


def compute(folder: Path) -> None:
    """Fill in the missing lines."""
    folder.mkdir(parents=True, exist_ok=True)
    done = {(line["surrogate"], line["eps"], line["recipe"]) for line in read_lines(RESULTS)}
    _, images, labels = photos.photographs()
    clean, labels = images[:COUNT].float() / 255, labels[:COUNT]
    networks = {name: photos.network(name) for name in OTHERS}

    def losses(model: Any, of: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(model.logits(of), labels, reduction="none")

    for name in POSITIONS:
        own = networks[name]
        probes: list[Probe] = [("itself", own, lambda images: images)]
        probes += [(what, own, how) for what, how in changes().items()]
        probes += [(f"noise on weights {seed}", noisy(own, seed), lambda images: images) for seed in (0, 1)]
        probes += [(other, model, lambda images: images) for other, model in networks.items() if other != name]
        before = {what: losses(model, how(clean)) for what, model, how in probes}
        surrogate = linbp.Surrogate(own)
        for eps in photos.RADII:
            for recipe in recipes(name):
                if (name, eps, recipe) in done:
                    continue
                adv = images_of(surrogate, name, eps, recipe, folder)
                rises = {what: (losses(model, how(adv)) - before[what]).tolist() for what, model, how in probes}
                rounded = {what: [round(value, 3) for value in values] for what, values in rises.items()}
                line = {"surrogate": name, "eps": eps, "recipe": recipe, "rises": rounded}
                add_line(RESULTS, line)
                print(name, eps, recipe, flush=True)


def rows_of(lines: Lines) -> list[list[str]]:
    """For each criterion, the position that it chooses and what that position is worth on the other networks."""
    rows = []
    for name, eps in product(POSITIONS, photos.RADII):
        rises = {
            line["recipe"]: {what: float(np.mean(values)) for what, values in line["rises"].items()}
            for line in lines
            if (line["surrogate"], line["eps"]) == (name, eps)
        }
        if len(rises) < len(recipes(name)):
            continue
        sites, others = POSITIONS[name], [other for other in OTHERS if other != name]
        criteria: list[tuple[str, list[str], list[str]]] = [
            ("its own loss", ["itself"], others),
            ("itself through changed inputs", list(CHANGES), others),
            ("itself with noise on its weights", ["noise on weights 0", "noise on weights 1"], others),
        ]
        criteria += [(f"proxy {other}", [other], [one for one in others if one != other]) for other in others]
        for criterion, asked, judges in criteria:
            score = {k: np.mean([rises[f"linbp(start={k})"][what] for what in asked]) for k in sites}
            worth = {k: np.mean([rises[f"linbp(start={k})"][judge] for judge in judges]) for k in sites}
            ordinary = np.mean([rises["ifgsm"][judge] for judge in judges])
            chosen, best = max(sites, key=score.__getitem__), max(sites, key=worth.__getitem__)
            cells = [f"**{worth[chosen]:.2f}**", f"{worth[best]:.2f} ({best})"]
            cells += [f"{min(worth.values()):.2f}", f"{ordinary:.2f}"]
            rows.append([VICTIMS[name], eps, criterion, str(chosen), *cells])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder where adversarial images are kept, outside the repository")
    parser.add_argument("--tables", action="store_true", help="write the table only")
    options = parser.parse_args()
    if not options.tables:
        if options.work is None:
            parser.error("name a folder with --work")
        compute(options.work)
    heads = ["surrogate", "eps", "criterion", "its site", "rise on the others", "best of eight", "worst of eight"]
    rows = rows_of(read_lines(RESULTS))
    put(DOCS / "position.md", {"criteria": [*table([*heads, "I-FGSM"], rows, left=(0, 1, 2)), ""]})


if __name__ == "__main__":
    main()
