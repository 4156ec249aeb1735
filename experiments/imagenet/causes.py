"""Why some attacks do on photographs what nobody would have expected: one controlled experiment for each surprise.

`common/photographs.py` says which photographs and networks these are, and what a pass is. Eight questions: `radius`
(why does a single FGSM step transfer better than twenty steps of I-FGSM?), `units` (why do BPA and ConBP do nothing on
some networks?), `leak` (how much of the gradient should an inactive unit pass?), `objective` (why does lowering the
label's logit transfer worse than raising the cross-entropy?), `features` (why is FDA weak on inverted residuals?),
`second` (why does ILA behind LinBP help on one network and harm on the other?), `ahead` (why is Nesterov's momentum
better than momentum in few steps and worse in many?) and `diverse` (why do diverse inputs harm LinBP in few steps?).

    python experiments/imagenet/causes.py --out FOLDER --passes 2    # computes what is missing in FOLDER/causes.jsonl
    python experiments/imagenet/causes.py --out FOLDER --question radius --surrogate squeezenet1_1

The lines are what `take_over/photographs.py` makes `results/causes.parquet` of; `docs/causes.md` says what came out.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
import torch
from common import photographs as photos
from common.lines import add_line, read_lines
from common.moved_on import moved_on
from torch import nn

import linbp
from linbp.jobs.provenance import device_name

EPS, LEVELS = "16/255", 16
MEDIAN = "median input of a ReLU"
STARTS = {"squeezenet1_1": 3, "mobilenet_edgetpu": 20}
LEADERS = ("linbp(start={start})", "linbp(start=0, rebalance=none, leak=0.3)", "mi", "di(scale=8/7) + mi")
"""Whose adversarial images are also moved on to the radius."""
LEAKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1)
SLOPES = {"squeezenet1_1": (1, 0.1, 0.01, 0.001, 0.0001), "mobilenet_edgetpu": (4, 1, 0.25, 0.0625)}
"""Factors of the published slopes and temperature."""
BEST = {
    "squeezenet1_1": ("conbp(start=3, slope=0.005)", "bpa(start=3, slope=0.001, temperature=0.01)"),
    "mobilenet_edgetpu": ("conbp(start=20, slope=0.5)", "bpa(start=20, slope=0.25)"),
}
"""The best of each kind, whose adversarial images are also moved on to the radius."""
ONE_OF_TWO = {"squeezenet1_1": ("bpa(start=3, slope=0.001)", "bpa(start=3, temperature=0.01)")}
"""Slope alone and temperature alone, where there are max-pools."""
OBJECTIVES, MANY = ("ifgsm", "margin", "logit"), 100
"""Objectives, and how many steps: as many as in the table of recipes at equal gradients."""
RECTIFIED = {
    "mobilenet_edgetpu": "[network.bn1, network.blocks.1.3.bn1.act, network.blocks.3.0.bn1.act, "
    "network.blocks.5.0.bn1.act, network.bn2]"
}
"""Feature maps behind a ReLU, the last one of every size, where the blocks' own results are signed."""
NODES = {
    "squeezenet1_1": ("network.features.4", "network.features.7", "network.features.10", "network.features.12"),
    "mobilenet_edgetpu": ("network.blocks.2", "network.blocks.3", "network.blocks.4", "network.blocks.5"),
}
"""Feature maps that ILA reads; the second one is that of the table of recipes."""
QUESTIONS = ("radius", "units", "leak", "objective", "features", "second", "ahead", "diverse")


@dataclass(frozen=True)
class Attack:
    """A recipe, and what is done to its adversarial images afterwards.

    Attributes:
        question: that it belongs to.
        recipe: as text.
        then: `filled`: every pixel that moved is moved on to the radius, in its direction. `shrunk`: the recipe is one
            step, of the mean distance (in whole levels) that the adversarial images of I-FGSM have from their image.
        steps: how many, of 1/255.

    Neither makes distances quite equal: a pixel that did not move stays, and at the same mean distance steps of one
    size everywhere have the smaller L2.
    """

    question: str
    recipe: str
    then: Literal["filled", "shrunk"] | None = None
    steps: int = photos.STEPS

    @property
    def label(self) -> str:
        """Its name in results and tables, in Markdown."""
        words = {None: "", "filled": ", moved on to the radius", "shrunk": ", at the mean distance of I-FGSM"}
        steps = "" if self.steps == photos.STEPS else f", {self.steps} steps"
        return f"`{self.recipe}`{steps}{words[self.then]}"


def attacks(surrogate: str) -> Iterator[Attack]:
    """All attacks on one surrogate."""
    yield from (Attack("radius", "fgsm"), Attack("radius", "ifgsm"))
    yield from (Attack("radius", "ifgsm", "filled"), Attack("radius", "fgsm", "shrunk"))
    start = STARTS[surrogate]
    for recipe in LEADERS:
        for then in (None, "filled"):
            yield Attack("radius", recipe.format(start=start), then)
    yield Attack("units", "ifgsm")
    for factor in SLOPES[surrogate]:
        yield Attack("units", f"conbp(start={start}, slope={0.5 * factor:g})")
        temperature = f", temperature={10 * factor:g}" if surrogate == "squeezenet1_1" else ""  # the other has no pool
        yield Attack("units", f"bpa(start={start}, slope={factor:g}{temperature})")
    yield from (Attack("units", recipe) for recipe in ONE_OF_TWO.get(surrogate, ()))
    yield from (Attack("units", recipe, "filled") for recipe in ("ifgsm", *BEST[surrogate]))
    for rest in ("", " + di(scale=8/7) + mi"):
        yield Attack("leak", rest.removeprefix(" + ") or "ifgsm")
        yield from (Attack("leak", f"linbp(start=0, rebalance=none, leak={leak:g}){rest}") for leak in LEAKS)
    yield from (Attack("objective", recipe, steps=MANY) for recipe in OBJECTIVES)
    if surrogate in RECTIFIED:
        yield from (Attack("features", recipe) for recipe in ("ifgsm", "fdafgsm"))
        yield Attack("features", f"fdafgsm(at={RECTIFIED[surrogate]})")
    own, node = f"linbp(start={start})", NODES[surrogate][1]
    yield Attack("second", f"{own} + mi")
    yield from (Attack("second", f"{own} + mi >> ila(at={at})") for at in NODES[surrogate])
    yield Attack("second", f"{own} + mi >> ila(at={node}) + mi")
    yield from (Attack("second", f"{own} + mi{rest}", "filled") for rest in ("", f" >> ila(at={node})"))
    for steps in (photos.STEPS, MANY):
        yield from (Attack("ahead", recipe, steps=steps) for recipe in ("mi", "ni", "ni(scale=l1)", "ni(decay=0.9)"))
        for then in (None, "filled"):
            yield from (Attack("diverse", f"{own}{rest}", then, steps) for rest in ("", " + di(scale=8/7)"))


def craft(attack: Attack, number: int, fresh: Any) -> torch.Tensor:
    """The adversarial images of a pass, in [0, 1]; `fresh(recipe, eps, steps)` runs a recipe, once."""
    clean = photos.photographs()[1][photos.rows_of(number)]
    if attack.then == "shrunk":
        moved = (fresh("ifgsm", EPS, attack.steps) - clean.float() / 255).abs() * 255
        return fresh(attack.recipe, tuple((moved.flatten(1).mean(1).round() / 255).tolist()), attack.steps)
    adv = fresh(attack.recipe, EPS, attack.steps)
    return moved_on(adv, clean, LEVELS) if attack.then == "filled" else adv


@torch.no_grad()
def middle_input(module: nn.Module, images: torch.Tensor, start: int) -> float:
    """The median of |z| over the inputs of ReLUs from a site on: in what units the network counts."""
    found: list[torch.Tensor] = []
    hooks = [
        part.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].abs().flatten()))
        for part in module.modules()
        if isinstance(part, nn.ReLU | nn.ReLU6)
    ]
    module(images)
    for hook in hooks:
        hook.remove()
    return float(np.median(torch.cat(found[start:]).numpy()))


@torch.no_grad()
def standing(logits: torch.Tensor, labels: torch.Tensor, known: torch.Tensor) -> list[float]:
    """The label's logit and the largest other one, means over the images that the network has right."""
    found, labels = logits[known].double(), labels[known, None]
    other = found.scatter(1, labels, -torch.inf).amax(1)
    return [float(found.gather(1, labels).mean()), float(other.mean())]


@torch.no_grad()
def standings(victims: dict[str, Any], clean: torch.Tensor, adv: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
    """For each network, its `standing` on clean and adversarial images, over how many, and its clean logits' spread.

    The spread is the mean over images of the standard deviation over classes, a unit in which networks are comparable.
    """
    found = {}
    for name, victim in victims.items():
        before = victim.logits(clean)
        known = before.argmax(1) == labels
        means = [standing(before, labels, known), standing(victim.logits(adv), labels, known)]
        spread = float(before[known].double().std(1).mean())
        found[name] = {"clean": means[0], "adv": means[1], "n": int(known.sum()), "spread": spread}
    return found


def compute(path: Path, name: str, passes: Sequence[int], questions: Sequence[str]) -> None:
    """Fill in the missing lines about one surrogate, pass by pass."""
    fields = ("surrogate", "question", "recipe", "pass")
    done = {tuple(line.get(field) for field in fields) for line in read_lines(path)}
    victims = {victim: photos.network(victim) for victim in photos.VICTIMS}
    _, images, labels = photos.photographs()
    surrogate = linbp.Surrogate(photos.network(name))

    def add(line: dict[str, Any]) -> None:
        add_line(path, {**dict.fromkeys(fields), **line})
        print({field: line.get(field) for field in fields}, flush=True)

    if (name, None, MEDIAN, 0) not in done:
        middle = middle_input(surrogate.model.module, images[: photos.PASS].float() / 255, STARTS[name])
        add({"surrogate": name, "recipe": MEDIAN, "pass": 0, "start": STARTS[name], "value": middle})
    for number in passes:
        rows = photos.rows_of(number)
        clean = images[rows].float() / 255
        if (None, None, "clean", number) not in done:
            asked = {"labels": labels[rows].tolist(), "predictions": photos.predictions(victims, clean)}
            add({"recipe": "clean", "pass": number, **asked})

        @cache
        def fresh(recipe: str, eps: Any, steps: int, rows: slice = rows) -> torch.Tensor:
            single = linbp.Recipe.parse(recipe).single_step
            given = {"steps": None, "step_size": None} if single else {"steps": steps, "step_size": "1/255"}
            return photos.craft(surrogate, rows, recipe, list(eps) if isinstance(eps, tuple) else eps, **given)

        for attack in attacks(name):
            if attack.question not in questions or (name, attack.question, attack.label, number) in done:
                continue
            adv = craft(attack, number, fresh)
            pixels = (adv * 255).round().to(torch.uint8)
            line = {"surrogate": name, "question": attack.question, "recipe": attack.label, "pass": number, "eps": EPS}
            line |= {"steps": attack.steps, "predictions": photos.predictions(victims, adv)}
            line["mean_levels"] = round(float((pixels.int() - images[rows].int()).abs().float().mean()), 3)
            line["sha256"] = hashlib.sha256(pixels.numpy().tobytes()).hexdigest()
            line |= {"device": device_name(torch.device("cpu")), "torch": torch.__version__, "linbp": linbp.__version__}
            if attack.question == "objective":
                line["standing"] = standings(victims, clean, adv, labels[rows])
            add(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of causes.jsonl")
    parser.add_argument("--passes", type=int, default=1, help="how many times 24 photographs")
    parser.add_argument("--surrogate", action="append", choices=list(STARTS), help="default: both")
    parser.add_argument("--question", action="append", choices=QUESTIONS, help="default: all")
    options = parser.parse_args()
    for name in options.surrogate or STARTS:
        compute(options.out / "causes.jsonl", name, range(options.passes), options.question or QUESTIONS)


if __name__ == "__main__":
    main()
