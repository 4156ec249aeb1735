"""Takes the lines of the first edition's CIFAR-10 experiments over into tables of results.

The lines, one attack on 250 images each, were `experiments/results/cifar10/attacks.jsonl` and `wide/*.jsonl`. They are
in this repository's history; the tables hold all that they said:

    git log --diff-filter=D --format=%H -- experiments/results/cifar10/attacks.jsonl    # the commit that removed them
    git worktree add lines COMMIT~
    python experiments/take_over/cifar10.py lines/experiments/results/cifar10
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from rows import Part, part, read, save

from linbp.bench.keys import content_key

PIECE = 250
WIDE = ("seed0", "seed1", "seed2", "shifted")
"""Files of the sources of full width; each is a VGG-19-BN of its own."""


def names(line: dict[str, Any], source: str) -> tuple[str, str]:
    """What the table calls the surrogate and the recipe of a line, of a file whose VGG's name has something added."""
    surrogate = line["surrogate"] + (source if line["surrogate"] == "vgg19_bn" else "")
    if line.get("removed") is not None:
        surrogate += f", LinS from {line['removed']}"
        surrogate += "" if line.get("smoothing") is None else f", smoothing {line['smoothing']:g}"
    if line.get("spread"):
        surrogate += ", projections spread"
    recipe = line["recipe"] + (", moved on to the radius" if line.get("filled") else "")
    return surrogate, recipe + (f", {line['steps']} leaps of two radii" if line.get("leaps") else "")


def columns(line: dict[str, Any], selection: dict[str, Any], source: str) -> Iterator[Part]:
    """The rows of one line, a victim at a time."""
    surrogate, recipe = names(line, source)
    answers = {name: np.array([*map(int, digits)]) for name, digits in line["predictions"].items()}
    own = answers.pop("itself")
    images = slice(line["piece"] * PIECE, line["piece"] * PIECE + len(own))
    labels = np.array(selection["labels"][images])
    # A level, or longer where so many steps would not reach the radius, or a leap of two radii.
    eps = Fraction(line["eps"])
    step_size = 2 * eps if line.get("leaps") else max(Fraction(1, 255), eps / line["steps"])
    weights = line.get("lins", {}).get("file_sha256", line["surrogate_sha256"])
    for victim, classes in answers.items():
        white_box = victim == line["surrogate"] and "lins" not in line
        yield part(
            line,
            [f"{row:05}" for row in selection["images"][images]],
            content_key(surrogate, weights, recipe, line["eps"], line["steps"]),
            line["eps"],
            label=labels,
            surrogate=surrogate,
            surrogate_model=line["surrogate"],
            surrogate_key=weights,
            recipe=recipe,
            recipe_text=line["recipe"],
            steps=line["steps"],
            step_size=float(step_size),
            gradients=line["gradients"],
            victim=victim + (source if victim == "vgg19_bn" else ""),
            victim_model=victim,
            victim_key=selection["networks"][victim],
            white_box=white_box,
            surrogate_adv=own,
            clean_prediction=labels,  # the images are those that all victims have right
            adv_prediction=classes,
            # A network is no victim of its own variants.
            selected=white_box or victim != line["surrogate"].partition("-")[0],
            success=classes != labels,
            loss=line["loss"][victim],
            clean_loss=selection["loss"][victim],
            levels=line.get("levels"),
            piece=line["piece"],
        )


def take_over(name: str, files: dict[str, Path]) -> None:
    """Write the table of a study from its files, by what is added to the name of each one's VGG."""
    parts: list[Part] = []
    facts: dict[str, Any] = {"accuracy": {}, "images": {}, "chosen_starts": {}}
    for source, path in files.items():
        found = read(path)
        selection = next(line["selection"] for line in found if "selection" in line)
        lines = [line for line in found if "piece" in line]
        once = {(*names(line, source), line["eps"], line["steps"], line["piece"]): line for line in lines}
        parts += [part for line in once.values() for part in columns(line, selection, source)]
        for network, share in selection["accuracy"].items():
            facts["accuracy"][network + (source if network == "vgg19_bn" else "")] = share
        tuned = {names(line, source)[0]: line["lins"] for line in lines if "lins" in line}
        facts["accuracy"] |= {network: lins["right"] / lins["n"] for network, lins in tuned.items()}
        facts["images"][source] = {"right_on_all": selection["right_on_all"], "selected": len(selection["images"])}
        facts["chosen_starts"] |= {line["surrogate"]: line["choice"]["start"] for line in found if "choice" in line}
    save(name, parts, facts)


def main() -> None:
    folder = Path(sys.argv[1])
    take_over("cifar10", {"": folder / "attacks.jsonl"})
    take_over("cifar10-wide", {f"-{name}": folder / "wide" / f"{name}.jsonl" for name in WIDE})


if __name__ == "__main__":
    main()
