"""Why some attacks do on photographs what nobody would have expected: one controlled experiment for each surprise.

`common/photographs.py` says which photographs and networks these are, and what a pass is. Eight questions: `radius`
(why does a single FGSM step transfer better than twenty steps of I-FGSM?), `units` (why do BPA and ConBP do nothing on
some networks?), `leak` (how much of the gradient should an inactive unit pass?), `objective` (why does lowering the
label's logit transfer worse than raising the cross-entropy?), `features` (why is FDA weak on inverted residuals?),
`second` (why does ILA behind LinBP help on one network and harm on the other?), `ahead` (why is Nesterov's momentum
better than momentum in few steps and worse in many?) and `diverse` (why do diverse inputs harm LinBP in few steps?).

    python experiments/imagenet/causes.py --passes 2     # computes what is missing, then writes the tables
    python experiments/imagenet/causes.py --question radius --surrogate squeezenet1_1 --compile
    python experiments/imagenet/causes.py --tables       # writes the tables from what there is
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
import torch
from common import lines as files
from common import photographs as photos
from common.lines import Lines, read_lines
from common.moved_on import moved_on
from common.outcomes import Outcomes, compared, passes_of_all
from common.pages import put, table
from common.photographs import VICTIMS
from torch import nn

import linbp
from imagenet import standings, tables

RESULTS = files.RESULTS / "imagenet" / "causes.jsonl"
FIELDS = ("surrogate", "question", "recipe")
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
TITLES = {
    "radius": "The radius, or the direction?",
    "units": "The slope of smooth derivatives",
    "leak": "How much an inactive unit passes",
    "objective": "What the objective does to the logits",
    "features": "FDA on feature maps with and without a sign",
    "second": "A second stage",
    "ahead": "Where Nesterov's momentum looks",
    "diverse": "Diverse inputs in few steps and in many",
}
ENDING = "moved on to the radius"
PLAIN, FILLED, MIXED = "`ifgsm`", f"`ifgsm`, {ENDING}", "`di(scale=8/7) + mi`"
OF_MANY_STEPS = "`ifgsm`, 100 steps"
"""Rows that others are compared with."""
WITHOUT = {"second": r"(`.* \+ mi) >> ila.*(?=`)", "ahead": r"(`)ni.*(?=`)", "diverse": r"(`.*) \+ di\(scale=8/7\)"}
"""What distinguishes a row of these questions from the one that it is compared with, of the same steps and ending."""


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
        words = {
            None: "",
            "filled": ", moved on to the radius",
            "shrunk": ", at the mean distance of I-FGSM",
        }
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


def base_of(question: str, recipe: str) -> str:
    """The row that a row is compared with; itself: with none."""
    if question in WITHOUT:
        return re.sub(WITHOUT[question], r"\1mi" if question == "ahead" else r"\1", recipe)
    if recipe == FILLED:
        return "`fgsm`" if question == "radius" else PLAIN
    if recipe.endswith(ENDING):
        return FILLED
    if question == "objective":
        return OF_MANY_STEPS
    if recipe.startswith("`fdafgsm(at="):
        return "`fdafgsm`"
    return MIXED if question == "leak" and "di(" in recipe else PLAIN


def craft(surrogate: linbp.Surrogate, attack: Attack, number: int, fresh: Any) -> torch.Tensor:
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


def compute(name: str, passes: Sequence[int], questions: Sequence[str], compiled: bool) -> None:
    """Fill in the missing lines, pass by pass."""
    runner = photos.Runner(RESULTS, FIELDS, compiled=compiled)
    _, images, labels = photos.photographs()
    model = photos.network(name)
    surrogate, start = linbp.Surrogate(model), STARTS[name]
    median = {"surrogate": name, "question": None, "recipe": MEDIAN, "pass": 0, "start": start}
    if median not in runner:
        runner.add({**median, "value": middle_input(model.module, images[: photos.PASS].float() / 255, start)})
    for number in passes:
        runner.clean(number)

        @cache
        def fresh(recipe: str, eps: Any, steps: int, number: int = number) -> torch.Tensor:
            single = linbp.Recipe.parse(recipe).single_step
            given = {"steps": None, "step_size": None} if single else {"steps": steps, "step_size": "1/255"}
            eps = list(eps) if isinstance(eps, tuple) else eps
            return photos.craft(surrogate, photos.rows_of(number), recipe, eps, **given)

        for attack in attacks(name):
            line = {"surrogate": name, "question": attack.question, "recipe": attack.label, "pass": number}
            if attack.question not in questions or line in runner:
                continue
            start_time = time.time()
            adv = craft(surrogate, attack, number, fresh)
            line |= {"eps": EPS, "steps": attack.steps}
            if attack.question == "objective":
                rows = photos.rows_of(number)
                line["standing"] = standings.measure(runner.victims, images[rows].float() / 255, adv, labels[rows])
            runner.keep(line, adv, time.time() - start_time)


def table_of(lines: Lines, surrogate: str, question: str) -> list[str]:
    """One table: means over victims, and the difference from the row that is the comparison."""
    mine = [line for line in lines if (line["surrogate"], line["question"]) == (surrogate, question)]
    passes = passes_of_all(mine)
    if not passes:
        return []
    outcomes = Outcomes([*mine, *(line for line in lines if line["recipe"] == "clean")], surrogate, passes)
    mine = [line for line in mine if line["pass"] in passes]
    bases = {name: base_of(question, name) for name in outcomes.success}
    pairs = [(outcomes, name, base) for name, base in bases.items() if name != base]
    found = {name: cells for (_, name, _), cells in zip(pairs, compared(pairs), strict=True)}
    rows = []
    for name in outcomes.success:
        levels = np.mean([line["mean_levels"] for line in mine if line["recipe"] == name])
        own = f"{100 * (outcomes.rate(name, surrogate).value or 0):.0f}"
        gap, p, _, chance = found.get(name, [""] * 4)
        against = bases[name] if name in found else ""
        rows.append([name, *outcomes.cells(name), own, f"{levels:.1f}", against, gap, p, chance])
    heads = ["recipe", "mean", "itself", "levels a pixel", "against", "difference", "p", "McNemar"]
    title = f"#### {VICTIMS[surrogate]}, {outcomes.n} photographs"
    return [title, "", *table(heads, rows, left=(0, 4)), "", *standings.table_of(mine, surrogate, outcomes.victims)]


def write(lines: Lines) -> None:
    """Put the tables into the page."""
    text: list[str] = []
    for question, title in TITLES.items():
        found = [row for surrogate in photos.SURROGATES for row in table_of(lines, surrogate, question)]
        text += [f"### {title}", "", *found] if found else []
    values = [line for line in lines if line["recipe"] == MEDIAN]
    words = [f"{line['value']:.3g} from site {line['start']} of {VICTIMS[line['surrogate']]} on" for line in values]
    text += [f"Median of |z| over the inputs of ReLUs: {', '.join(words)}.", ""] if words else []
    put(tables.PAGE, {"causes": text})


def main() -> None:
    parser = photos.arguments(__doc__, "surrogate")
    parser.add_argument("--question", action="append", choices=list(TITLES), help="default: all")
    options = parser.parse_args()
    for name in () if options.tables else options.surrogate or STARTS:
        compute(name, range(options.passes), options.question or list(TITLES), options.compile)
    write(read_lines(RESULTS))


if __name__ == "__main__":
    main()
