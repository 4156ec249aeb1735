"""Takes the lines of the first edition's experiments on photographs over into two tables of results.

The lines, one attack on 24 photographs each, were `experiments/results/imagenet/*.jsonl`; they are in this repository's
history. `photographs` has what was run to compare attacks, `causes` what was run to find out why:

    git log --diff-filter=D --format=%H -- experiments/results/imagenet/transfer.jsonl    # the commit that removed them
    git worktree add lines COMMIT~
    python experiments/take_over/photographs.py lines/experiments/results/imagenet
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from rows import Part, part, read, save

import linbp
from linbp.bench.keys import content_key

PASS, STEPS = 24, 20
FILES = ("transfer", "recipes", "contenders", "others")
BOTH = ("squeezenet1_1", "mobilenet_edgetpu")
CLASSES, SHIFT = 1000, 500
"""Targets are the class so much further on."""
Line = dict[str, Any]


def surrogate_of(line: Line) -> str:
    """What the table calls the surrogate, and how several are averaged."""
    if line["surrogate"] != "both":
        return str(line["surrogate"])
    return " + ".join(BOTH) + (", a rule of its own each" if line["own_rules"] else "") + f", {line['fuse']} averaged"


def recipe_of(line: Line) -> tuple[str, str]:
    """What the table calls the recipe, and the recipe: a line on causes has it in Markdown, with what followed."""
    text = line["recipe"].split("`")[1] if "`" in line["recipe"] else line["recipe"]
    name = line["recipe"].replace("`", "")
    if line.get("question") == "targeted":
        name += ", with targets"
    elif "mean_levels" in line and line.get("question"):
        name = f"{line['question']}: " + name.replace(f", {line.get('steps')} steps", "")
    return name, text


def rows_of(line: Line, clean: Line) -> Iterator[Part]:
    """The rows of one line, a victim at a time."""
    labels = np.array(clean["labels"])
    surrogate, (name, text) = surrogate_of(line), recipe_of(line)
    recipe, members = linbp.Recipe.parse(text), BOTH if line["surrogate"] == "both" else (line["surrogate"],)
    steps = 1 if recipe.single_step else line.get("steps") or STEPS
    gradients = recipe.gradients(steps, len(members))
    assert line.get("gradients", gradients) == gradients, line
    targets = (labels + SHIFT) % CLASSES if line.get("question") == "targeted" else None
    eps = line.get("eps") or "16/255"
    # A level, or what reaches the radius: of a single step, and where recipes had equal gradients.
    equal = recipe.single_step or line.get("budget") == "gradients"
    step_size = max(Fraction(1, 255), Fraction(eps) / steps) if equal else Fraction(1, 255)
    for victim, found in line["predictions"].items():
        classes, before = np.array(found), np.array(clean["predictions"][victim])
        yield part(
            line,
            [f"{line['pass'] * PASS + place:03}" for place in range(len(labels))],
            content_key(surrogate, name, eps, steps),
            eps,
            label=labels,
            target=targets,
            surrogate=surrogate,
            surrogate_model=" + ".join(members),
            recipe=name,
            recipe_text=text,
            steps=steps,
            step_size=float(step_size),
            gradients=gradients,
            victim=victim,
            victim_model=victim,
            white_box=victim in members,
            clean_prediction=before,
            adv_prediction=classes,
            selected=True,
            success=np.where(before == labels, classes != labels if targets is None else classes == targets, None),
            levels=line.get("mean_levels"),
            piece=line["pass"],
        )


def take_over(name: str, files: list[list[Line]], facts: dict[str, Any]) -> None:
    """Write the table of a study; the files have the same attacks once each, or with the same answers."""
    lines = [line for file in files for line in file if "predictions" in line]
    clean = {line["pass"]: line for line in lines if line["recipe"] == "clean"}
    once: dict[Any, Line] = {}
    for line in lines:
        if line["recipe"] != "clean":
            steps = line.get("steps") or STEPS
            key = (surrogate_of(line), *recipe_of(line), line.get("eps") or "16/255", steps, line["pass"])
            assert once.setdefault(key, line)["predictions"] == line["predictions"], key
    save(name, [part for line in once.values() for part in rows_of(line, clean[line["pass"]])], facts)


def logit_moves(lines: list[Line]) -> dict[str, Any]:
    """By surrogate, recipe and network: how far the label's logit and the largest other one moved.

    Means over the images that the network has right, in standard deviations of its logits on clean images.
    """
    found: dict[str, Any] = {}
    for line in lines:
        for network, told in line.get("standing", {}).items():
            moved = (np.array(told["adv"]) - np.array(told["clean"])) / told["spread"]
            recipe = line["recipe"].split("`")[1]
            found.setdefault(line["surrogate"], {}).setdefault(recipe, {})[network] = [round(x, 4) for x in moved]
    return found


def main() -> None:
    folder = Path(sys.argv[1])
    take_over("photographs", [read(folder / f"{name}.jsonl") for name in FILES], {})
    causes = read(folder / "causes.jsonl")
    medians = {line["surrogate"]: line["value"] for line in causes if "value" in line}
    take_over("causes", [causes], {"logit_moves": logit_moves(causes), "median_input_of_a_relu": medians})


if __name__ == "__main__":
    main()
