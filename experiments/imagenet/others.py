"""What the tables of all recipes leave out: recipes for several surrogates, with targets, and ILA++'s other fits.

`common/photographs.py` says which photographs and networks these are, and what a pass is. Three questions: `ensemble`
(two surrogates together, six victims), `targeted` (the class 500 further on, the LinBP paper's rule) and `fits` (ILA++
with its other fits). About 100 forward and backward passes an image, those of all surrogates together, as in the first
table of all recipes; ensembles also with 20 steps each.

    python experiments/imagenet/others.py --passes 1     # computes what is missing, then writes the tables
    python experiments/imagenet/others.py --tables       # writes the tables from what there is
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import lines as files
from common import photographs as photos
from common.lines import Lines, read_lines
from common.outcomes import Outcomes, compared, passes_of_all
from common.pages import put, table
from common.photographs import VICTIMS

import linbp
from imagenet import measured, tables
from imagenet.measured import BUDGETS, MIXED
from linbp.attack import Recipe, parse_radius

RESULTS = files.RESULTS / "imagenet" / "others.jsonl"
BOTH = "both"
"""SqueezeNet and EdgeTPU together."""
OWN_RULES = {
    "squeezenet1_1": "linbp(start=0, rebalance=none, leak=0.3)",
    "mobilenet_edgetpu": "linbp(start=0, rebalance=none, leak=0.1)",
}
"""LinBP with the leak that suits each network."""
FUSES = ("logits", "probabilities", "losses")
CLASSES, SHIFT = 1000, 500
"""Targets are the class so much further on, as in the LinBP paper's released code."""
TITLES = {"ensemble": "Two surrogates together", "targeted": "With targets", "fits": "The fits of ILA++"}
WITH_LINBP = re.compile(r"linbp\([^)]*\) \+ | \+ linbp\([^)]*\)|, each network with a rule of its own")
"""What a row with LinBP has more than the one that it is compared with, where there is one."""


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        question: that it belongs to.
        surrogate: a network, or both.
        recipe: as text.
        budget: `gradients` or `steps`, as in the tables of all recipes.
        fuse: how an ensemble is averaged; None for a single network.
        own_rules: whether each network of an ensemble has its rule of `OWN_RULES`.
    """

    question: str
    surrogate: str
    recipe: str
    budget: str = "gradients"
    fuse: str | None = None
    own_rules: bool = False

    def settings(self) -> dict[str, Any]:
        """Steps, step size and gradients an image."""
        recipe, members = Recipe.parse(self.recipe), 1 if self.fuse is None else len(OWN_RULES)
        size = parse_radius(measured.settings(recipe, self.budget, members)["step_size"])
        return {**measured.cost(recipe, self.budget, members), "step_size": size}


def attacks() -> Iterator[Attack]:
    """All attacks."""
    for budget in BUDGETS:
        yield from (Attack("ensemble", BOTH, "mi", budget, fuse) for fuse in FUSES)
        yield Attack("ensemble", BOTH, MIXED, budget, "logits")
        yield Attack("ensemble", BOTH, MIXED, budget, "logits", own_rules=True)
        yield from (Attack("ensemble", BOTH, recipe, budget, "logits") for recipe in ("svre-mifgsm", "mi-cwa"))
    for name, rule in OWN_RULES.items():
        plain = ("ifgsm", "mi", MIXED, "targeted-logit(scale=8/7)", "targeted-margin(scale=8/7)")
        yield from (Attack("targeted", name, recipe) for recipe in (*plain, f"{rule} + {MIXED}"))
        yield Attack("targeted", name, f"targeted-logit(scale=8/7) + {rule}")
        # Which of its parts LinBP does not go with: the objective, or the smoothed gradient?
        yield from (Attack("targeted", name, f"{part} + {rule} + {MIXED}") for part in ("logit", "ti(size=5)"))
        at = measured.PLACES[name]["middle"]
        yield from (Attack("fits", name, f"mi >> ila-plus-plus(at={at}, fit={fit})") for fit in ("ridge", "svr"))


def compute(questions: Sequence[str], passes: Sequence[int], compiled: bool) -> None:
    """Fill in the missing lines, pass by pass."""
    runner = photos.Runner(RESULTS, tuple(Attack.__dataclass_fields__), compiled=compiled)
    _, _, labels = photos.photographs()
    plain = {name: linbp.Surrogate(photos.network(name)) for name in OWN_RULES}
    ruled = {name: one.with_rule(Recipe.parse(OWN_RULES[name]).stages[0].rules) for name, one in plain.items()}
    for number in passes:
        rows = photos.rows_of(number)
        for attack in attacks():
            settings = attack.settings()
            line = {**vars(attack), "pass": number, **settings}
            if attack.question not in questions or line in runner:
                continue
            start = time.time()
            surrogate: Any = plain.get(attack.surrogate)
            if attack.fuse is not None:
                surrogate = linbp.Ensemble([*(ruled if attack.own_rules else plain).values()], attack.fuse)
            targets = (labels[rows] + SHIFT) % CLASSES if attack.question == "targeted" else None
            steps, size = settings["steps"], settings["step_size"]
            adv = photos.craft(
                surrogate, rows, attack.recipe, measured.EPS, targets=targets, steps=steps, step_size=size
            )
            runner.keep(line, adv, time.time() - start)


def name_of(line: dict[str, Any]) -> str:
    """An attack as the tables call it."""
    words = f"`{line['recipe']}`"
    if line.get("own_rules"):
        words += ", each network with a rule of its own"
    return words if line.get("fuse") is None else f"{words}, {line['fuse']} averaged"


def table_of(lines: Lines, clean: Lines, surrogate: str, base: str, targeted: bool) -> list[str]:
    """One table: means over victims, and the difference from the row that is the comparison."""
    lines = [{**line, "recipe": name_of(line)} for line in lines]
    members = [*OWN_RULES] if surrogate == BOTH else [surrogate]
    passes = passes_of_all(lines)
    if targeted:
        outcomes = Outcomes([*lines, *clean], members, passes, lambda said, labels: said == (labels + SHIFT) % CLASSES)
    else:
        outcomes = Outcomes([*lines, *clean], members, passes)
    names = outcomes.success
    less = {name: WITH_LINBP.sub("", name) for name in names}
    bases = {name: one if one in names and one != name else base for name, one in less.items()}
    others = [name for name in names if name != base]
    tests = dict(zip(others, compared([(outcomes, name, bases[name]) for name in others]), strict=True))
    rows = []
    for name in sorted(names, key=lambda name: -outcomes.mean(name)):
        line, own = outcomes.line[name], [f"{100 * (outcomes.rate(name, one).value or 0):.0f}" for one in members]
        gap, p, _, chance = tests.get(name, [""] * 4)
        against = bases[name] if name in tests else ""
        rows.append([name, line["gradients"], line["steps"], *outcomes.cells(name), *own, against, gap, p, chance])
    own = [f"`{name}` itself" if surrogate == BOTH else "itself" for name in members]
    heads = ["recipe", "gradients", "steps", "mean", *own, "against", "difference", "p", "McNemar"]
    head = f"{outcomes.n} photographs, {len(outcomes.victims)} victims."
    return [head, "", *table(heads, rows, left=(0, 4 + len(own))), ""]


def write(lines: Lines, recipes: Lines) -> None:
    """Put the tables into the page.

    Args:
        lines: of this experiment.
        recipes: of the tables of all recipes, whose rows are compared with and whose clean photographs these are.
    """
    clean = [line for line in recipes if line["recipe"] == "clean"]
    text: list[str] = []
    for question, title in TITLES.items():
        mine = [line for line in lines if line["question"] == question]
        text += [f"### {title}", ""] if mine else []
        for budget, words in BUDGETS.items():
            for surrogate in (BOTH, *OWN_RULES):
                some = [line for line in mine if (line["surrogate"], line["budget"]) == (surrogate, budget)]
                if not some:
                    continue
                base = "`ifgsm`" if question == "targeted" else "`mi`, logits averaged"
                if question == "fits":
                    again = [line for line in recipes if (line["surrogate"], line["budget"]) == (surrogate, budget)]
                    first = some[0]["recipe"].partition(", fit=")[0] + ")"
                    some += [line for line in again if line["recipe"] in ("mifgsm", first)]
                    base = f"`{first}`"
                where = "SqueezeNet and EdgeTPU together" if surrogate == BOTH else VICTIMS[surrogate]
                text += [f"#### {where}, {words}", "", *table_of(some, clean, surrogate, base, question == "targeted")]
    put(tables.PAGE, {"others": text})


def main() -> None:
    parser = photos.arguments(__doc__)
    parser.add_argument("--question", action="append", choices=list(TITLES), help="default: all")
    options = parser.parse_args()
    if not options.tables:
        compute(options.question or list(TITLES), range(options.passes), options.compile)
    write(read_lines(RESULTS), read_lines(measured.RECIPES))


if __name__ == "__main__":
    main()
