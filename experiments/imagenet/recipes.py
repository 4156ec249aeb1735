"""Every attack on one surrogate at equal cost, and at equal steps, measured on the other networks.

The surrogates, photographs, victims and passes are those of `imagenet_transfer.py`. Interrupted and started again, it
goes on where it was; every line of the results file is one attack on one pass.

    python experiments/imagenet_recipes.py                                   # computes what is missing, then the tables
    python experiments/imagenet_recipes.py --surrogate squeezenet1_1 --passes 2
    python experiments/imagenet_recipes.py --at-most 100                            # leaves the dearest recipes out
    python experiments/imagenet_recipes.py --device cuda --together 2 --share 1/6   # another five take 2/6 to 6/6
    python experiments/imagenet_recipes.py --tables                          # writes the tables from what there is
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagenet_contenders as contenders
import imagenet_transfer as engine
from result_lines import add_line, read_lines
from sharing import is_mine, share_of

import linbp
from linbp.attack import Recipe, parse_radius

RESULTS = Path(__file__).parent / "results" / "imagenet_recipes.jsonl"
EPS = "16/255"
GRADIENTS = 100
"""Of every image in the first table; a recipe that takes several a step gets fewer steps."""
STEPS = engine.STEPS
"""In the second table, of 1/255 each, as in the engine's table and the contenders'."""
BUDGETS = ("gradients", "steps")

WITHOUT_LINBP = (
    "fgsm",
    "ifgsm",
    "pgd",
    "pgd-noise",
    "mifgsm",
    "nifgsm",
    "difgsm(scale=8/7)",
    "mdi2fgsm",
    "tifgsm + mi",
    "sifgsm",
    "simifgsm",
    "sinifgsm",
    "admix-mifgsm",
    "vmifgsm",
    "vnifgsm",
    "pgn-mifgsm",
    "logit",
    "margin",
    "tapfgsm",
    "nrdmfgsm",
    "fdafgsm",
    "ila(at={middle})",
    "mi >> ila(at={middle})",
    "mi >> ilaf(at={middle})",
    "mi >> ila-plus-plus(at={middle})",
    "conbp(start={start})",
    "conbp(start={start}) + di(scale=8/7) + mi",
    "bpa(start={start})",
    "bpa(start={start}) + di(scale=8/7) + mi",
    "si + di(scale=8/7) + mi",
    "vt + di(scale=8/7) + mi",
)
WITH_LINBP = (
    "linbp(start={start})",
    "linbp(start={start}) + mi",
    "linbp(start={start}) + di(scale=8/7)",
    "linbp(start={start}) + di(scale=8/7) + mi",
    "linbp(start={start}) + mi >> ila(at={middle})",
    "linbp(start=0, rebalance=none, leak=0.1)",
    "linbp(start=0, rebalance=none, leak=0.1) + mi",
    "linbp(start=0, rebalance=none, leak=0.1) + di(scale=8/7) + mi",
    "linbp(start=0, rebalance=none, leak=0.1) + si + di(scale=8/7) + mi",
    "linbp(start=0, rebalance=none, leak=0.3) + di(scale=8/7) + mi",
    "linbp(start={late}) + di(scale=8/7) + mi",
    "linbp(start={late}, leak=0.3) + di(scale=8/7) + mi",
)
RESIDUAL = ("sgm(gamma=0.2)", "sgm(gamma=0.5)", "sgm(gamma=0.5) + di(scale=8/7) + mi")
SMOOTH = {
    "squeezenet1_1": ("conbp(start={start}, slope=0.005)", "bpa(start={start}, slope=0.001, temperature=0.01)"),
    "mobilenet_edgetpu": ("bpa(start={start}, slope=0.25)",),
}
"""Smooth derivatives in the units of each network; `imagenet_causes.py` is where they come from."""
PLACES = {
    "squeezenet1_1": {"start": 3, "late": 20, "middle": "network.features.7"},
    "mobilenet_edgetpu": {"start": 20, "late": 28, "middle": "network.blocks.3"},
}


def recipes(surrogate: str) -> list[str]:
    """The attacks on one surrogate: those without LinBP first."""
    residual = RESIDUAL if surrogate == "mobilenet_edgetpu" else ()
    smooth = [f"{rule}{rest}" for rule in SMOOTH[surrogate] for rest in ("", " + di(scale=8/7) + mi")]
    return [text.format(**PLACES[surrogate]) for text in (*WITHOUT_LINBP, *smooth, *residual, *WITH_LINBP)]


def settings(recipe: Recipe, budget: str) -> dict[str, Any]:
    """Steps and step size of a recipe: equal gradients an image in all its stages, or equal steps."""
    if recipe.single_step:
        return {"steps": None, "step_size": None}
    if budget == "steps":
        return {"steps": STEPS, "step_size": "1/255"}
    steps = 1
    while recipe.gradients(steps + 1) <= GRADIENTS:
        steps += 1
    return {"steps": steps, "step_size": max(1 / 255, parse_radius(EPS) / steps)}


def schedule(text: str, budget: str) -> tuple[int, float]:
    """Steps and step size of a recipe under a budget, of a single step 1 and none: two budgets may give the same."""
    found = settings(Recipe.parse(text), budget)
    if found["steps"] is None:
        return 1, 0.0
    return found["steps"], parse_radius(found["step_size"])


def measured_before() -> dict[tuple[Any, ...], dict[str, Any]]:
    """What is known of the same recipe, steps and step size: by the other scripts, or under the other budget."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    run_of = functools.cache(schedule)
    for path in (engine.RESULTS, contenders.RESULTS, RESULTS):
        for line in read_lines(path):
            if line.get("eps", EPS) not in (EPS, None):
                continue
            name, text = line["surrogate"], line["recipe"]
            run = run_of(text, line.get("budget", "steps")) if name else None
            if run and line.get("steps", run[0]) != run[0]:
                continue  # made when this script had other numbers
            same = {key: line[key] for key in COPIED if key in line}
            found.setdefault((name, text, run, line["pass"]), {**same, "from": line.get("from", path.name)})
    return found


COPIED = ("predictions", "sha256", "seconds", "device", "torch", "linbp")
Task = tuple[Sequence[int], str, str, str]
"""Passes that are computed together, surrogate, budget, recipe."""


def tasks(
    names: Sequence[str], passes: Sequence[int], budgets: Sequence[str], count: int, most: float = float("inf")
) -> list[Task]:
    """All attacks on the first passes, the dearest ones first, then on the next: a table is of what all have done.

    But for those that take more gradients an image than `most`.
    """
    found: list[Task] = []
    for group in engine.together(passes, count):
        mine = [(group, name, budget, text) for name in names for budget in budgets for text in recipes(name)]
        costs = [cost(Recipe.parse(text), budget)["gradients"] for _, _, budget, text in mine]
        order = sorted(range(len(mine)), key=lambda number: -costs[number])
        found += [mine[number] for number in order if costs[number] <= most]
    return found


def cost(recipe: Recipe, budget: str) -> dict[str, int]:
    """Steps, and gradients an image."""
    steps = settings(recipe, budget)["steps"] or 1
    return {"steps": steps, "gradients": recipe.gradients(steps)}


def compute(todo: Sequence[Task], share: tuple[int, int], device: str, compiled: bool) -> None:
    """Fill in the lines that are missing of this process's tasks."""
    done = {(line["surrogate"], line["budget"], line["recipe"], line["pass"]) for line in read_lines(RESULTS)}
    before = measured_before()
    _, images, labels = engine.photographs()
    victims = engine.victims_on(device, compiled)
    names = dict.fromkeys(name for _, name, _, _ in todo)
    surrogates = {name: linbp.Surrogate(engine.network(name)).to(device) for name in names}
    pool = linbp.Pool(images, labels)
    facts = engine.made_with(device)
    for number in dict.fromkeys(number for group, _, _, _ in todo for number in group) if share[0] == 1 else ():
        if (None, None, "clean", number) not in done:
            rows = slice(number * engine.PASS, (number + 1) * engine.PASS)
            known = before.get((None, "clean", None, number))
            clean = known["predictions"] if known else engine.predictions(victims, images[rows].float() / 255)
            line = {"surrogate": None, "budget": None, "recipe": "clean", "pass": number}
            add_line(RESULTS, {**line, "labels": labels[rows].tolist(), "predictions": clean})
    for turn, (group, name, budget, text) in enumerate(todo):
        missing = [number for number in group if (name, budget, text, number) not in done]
        if not is_mine(turn, share) or not missing:
            continue
        recipe = Recipe.parse(text)
        lines = {
            number: {"surrogate": name, "budget": budget, "recipe": text, "pass": number, **cost(recipe, budget)}
            for number in missing
        }
        run = schedule(text, budget)
        for number in [number for number in missing if (name, text, run, number) in before]:
            add_line(RESULTS, {**lines.pop(number), **before[name, text, run, number]})
        if not lines:
            continue
        mixing = any(part.needs_pool for stage in recipe.stages for part in stage.transforms)
        begin = time.time()
        adv = engine.craft_passes(
            surrogates[name], [*lines], recipe, EPS, pool=pool if mixing else None, **settings(recipe, budget)
        )
        found = {number: engine.answers(victims, adv[number]) for number in lines}
        seconds = round((time.time() - begin) / len(lines), 1)
        for number, line in lines.items():
            add_line(RESULTS, {**line, **found[number], "seconds": seconds, **facts})
            same = {**found[number], "seconds": seconds, **facts, "from": RESULTS.name}
            before.setdefault((name, text, run, number), same)  # the other budget may come to the same
        print(f"passes {[*lines]}, {name}, equal {budget}, {text}: {time.time() - begin:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="write the tables only")
    parser.add_argument("--surrogate", action="append", choices=list(PLACES), help="default: all")
    parser.add_argument("--budget", action="append", choices=list(BUDGETS), help="default: both")
    parser.add_argument("--passes", type=int, default=13, help="how many times 24 photographs")
    parser.add_argument("--together", type=int, default=1, help="how many passes to compute in one batch")
    parser.add_argument("--share", type=share_of, default=(1, 1), help="which of how many processes this is: 1/2")
    parser.add_argument(
        "--at-most",
        type=int,
        default=float("inf"),
        help="leave out recipes of more gradients an image; where they are behind, those of more than 100 have a table",
    )
    parser.add_argument("--device", default="cpu", help="where the networks run")
    parser.add_argument("--compile", action="store_true", help="compile the victims: half their time; needs a compiler")
    options = parser.parse_args()
    if not options.tables:
        names, budgets = options.surrogate or list(PLACES), options.budget or list(BUDGETS)
        todo = tasks(names, range(options.passes), budgets, options.together, options.at_most)
        compute(todo, options.share, options.device, options.compile)
    if options.share[0] == 1:
        from imagenet_recipes_tables import write

        write(read_lines(RESULTS))


if __name__ == "__main__":
    main()
