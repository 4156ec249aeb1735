"""What the tables of all recipes leave out: recipes for several surrogates, with targets, and ILA++'s other fits.

Photographs, victims and passes are those of `imagenet_transfer.py`. Three questions: `ensemble` (two surrogates
together, six victims), `targeted` (the class 500 further on, the LinBP paper's rule) and `fits` (ILA++ with its other
fits). About 100 forward and backward passes an image, those of all surrogates together, as in the first table of all
recipes; ensembles also with 20 steps each. Interrupted and started again, it goes on where it was.

    python experiments/imagenet_others.py --passes 1     # computes what is missing, then writes the tables
    python experiments/imagenet_others.py --tables       # writes the tables from what there is
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagenet_recipes as recipes
import imagenet_transfer as engine
from imagenet_contenders import MIXED
from imagenet_others_tables import BOTH, CLASSES, OWN_RULES, SHIFT, write
from result_lines import add_line, read_lines

import linbp
from linbp.attack import Recipe, parse_radius

RESULTS = Path(__file__).parent / "results" / "imagenet_others.jsonl"
FUSES = ("logits", "probabilities", "losses")
QUESTIONS = ("ensemble", "targeted", "fits")


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
        steps = recipes.STEPS
        if self.budget == "gradients":
            steps = 1
            while recipe.gradients(steps + 1, members) <= recipes.GRADIENTS:
                steps += 1
        size = max(1 / 255, parse_radius(recipes.EPS) / steps)
        return {"steps": steps, "step_size": size, "gradients": recipe.gradients(steps, members)}


def attacks() -> Iterator[Attack]:
    """All attacks."""
    for budget in recipes.BUDGETS:
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
        at = recipes.PLACES[name]["middle"]
        yield from (Attack("fits", name, f"mi >> ila-plus-plus(at={at}, fit={fit})") for fit in ("ridge", "svr"))


def key(attack: Attack, number: int) -> tuple[Any, ...]:
    """What one line of the results is the result of."""
    return (*vars(attack).values(), number)


def compute(questions: list[str], passes: range, compiled: bool) -> None:
    """Fill in the missing lines, pass by pass."""
    done = {
        key(Attack(**{name: line[name] for name in Attack.__dataclass_fields__}), line["pass"])
        for line in read_lines(RESULTS)
    }
    _, _, labels = engine.photographs()
    victims = engine.victims_on("cpu", compiled)
    plain = {name: linbp.Surrogate(engine.network(name)) for name in OWN_RULES}
    ruled = {name: one.with_rule(Recipe.parse(OWN_RULES[name]).rules) for name, one in plain.items()}
    for number in passes:
        rows = slice(number * engine.PASS, (number + 1) * engine.PASS)
        for attack in attacks():
            if attack.question not in questions or key(attack, number) in done:
                continue
            begin, settings = time.time(), attack.settings()
            surrogate: Any = plain.get(attack.surrogate)
            if attack.fuse is not None:
                surrogate = linbp.Ensemble([*(ruled if attack.own_rules else plain).values()], attack.fuse)
            lengths = {name: settings[name] for name in ("steps", "step_size")}
            targets = (labels[rows] + SHIFT) % CLASSES if attack.question == "targeted" else None
            adv = engine.craft(surrogate, rows, attack.recipe, recipes.EPS, targets=targets, **lengths)
            add_line(
                RESULTS,
                {
                    **vars(attack),
                    "pass": number,
                    **settings,
                    **engine.answers(victims, adv),
                    "seconds": round(time.time() - begin, 1),
                    **engine.made_with("cpu"),
                },
            )
            print(f"pass {number}, {attack}: {time.time() - begin:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="write the tables only")
    parser.add_argument("--question", action="append", choices=QUESTIONS, help="default: all")
    parser.add_argument("--passes", type=int, default=13, help="how many times 24 photographs")
    parser.add_argument("--compile", action="store_true", help="compile the victims: half their time; needs a compiler")
    options = parser.parse_args()
    if not options.tables:
        compute(options.question or list(QUESTIONS), range(options.passes), options.compile)
    write(read_lines(RESULTS), read_lines(recipes.RESULTS))


if __name__ == "__main__":
    main()
