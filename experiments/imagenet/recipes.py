"""Every attack on one surrogate at equal cost, and at equal steps, measured on the other networks.

`common/photographs.py` says which photographs and networks these are, and what a pass is.

    python experiments/imagenet/recipes.py                                   # computes what is missing, then the tables
    python experiments/imagenet/recipes.py --surrogate squeezenet1_1 --passes 2
    python experiments/imagenet/recipes.py --at-most 100                            # leaves the dearest recipes out
    python experiments/imagenet/recipes.py --device cuda --together 2 --share 1/6   # another five take 2/6 to 6/6
    python experiments/imagenet/recipes.py --tables                          # writes the tables from what there is
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import photographs as photos
from common.lines import Lines, is_mine, read_lines
from common.outcomes import Outcomes, compared, passes_of_all
from common.pages import put, table
from common.photographs import VICTIMS

import linbp
from imagenet import measured, tables
from imagenet.measured import BUDGETS, EPS, MIXED, PLACES
from linbp.attack import Recipe, parse_radius

RESULTS = measured.RECIPES
FIELDS = ("surrogate", "budget", "recipe")
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
"""Smooth derivatives in the units of each network; `causes.py` is where they come from."""
DEAR = 100
"""Gradients an image: recipes that take more may have been run on fewer photographs."""
FEWEST = 10
"""Recipes: a table with fewer compares nothing."""
COMPARED = (
    (f"linbp(start=0, rebalance=none, leak=0.3) + {MIXED}", "mdi2fgsm"),
    (f"linbp(start=0, rebalance=none, leak=0.3) + {MIXED}", f"conbp(start=3, slope=0.005) + {MIXED}"),
    (f"linbp(start=0, rebalance=none, leak=0.1) + si + {MIXED}", f"si + {MIXED}"),
    (f"linbp(start=0, rebalance=none, leak=0.1) + si + {MIXED}", f"vt + {MIXED}"),
    (f"linbp(start=0, rebalance=none, leak=0.3) + {MIXED}", f"vt + {MIXED}"),
    (f"vt + {MIXED}", "mdi2fgsm"),
    ("vmifgsm", "mdi2fgsm"),
    ("vnifgsm", "mdi2fgsm"),
    ("pgn-mifgsm", "mdi2fgsm"),
    ("linbp(start=3)", "ifgsm"),
    ("linbp(start=20)", "ifgsm"),
    (f"si + {MIXED}", "mdi2fgsm"),
    (f"linbp(start=3) + {MIXED}", "mdi2fgsm"),
    (f"linbp(start=20) + {MIXED}", "mdi2fgsm"),
    (f"linbp(start=28) + {MIXED}", "mdi2fgsm"),
    ("admix-mifgsm", "mdi2fgsm"),
    ("conbp(start=3)", "ifgsm"),
    ("conbp(start=20)", "ifgsm"),
    ("bpa(start=3)", "ifgsm"),
    ("bpa(start=20)", "ifgsm"),
    ("bpa(start=3, slope=0.001, temperature=0.01)", "tapfgsm"),
    ("linbp(start=3) + mi >> ila(at=network.features.7)", "linbp(start=3) + mi"),
    ("linbp(start=20) + mi >> ila(at=network.blocks.3)", "linbp(start=20) + mi"),
    ("nifgsm", "mifgsm"),
    ("linbp(start=3) + di(scale=8/7)", "linbp(start=3)"),
    ("linbp(start=20) + di(scale=8/7)", "linbp(start=20)"),
    ("pgd-noise", "ifgsm"),
    ("sgm(gamma=0.2)", "sgm(gamma=0.5)"),
    ("fdafgsm", "ifgsm"),
    ("logit", "ifgsm"),
    ("fgsm", "ifgsm"),
)
"""Pairs that the text compares, beside the leaders; those of which both were run on a surrogate."""


def recipes(surrogate: str) -> list[str]:
    """The attacks on one surrogate: those without LinBP first."""
    residual = RESIDUAL if surrogate == "mobilenet_edgetpu" else ()
    smooth = [f"{rule}{rest}" for rule in SMOOTH[surrogate] for rest in ("", " + di(scale=8/7) + mi")]
    return [text.format(**PLACES[surrogate]) for text in (*WITHOUT_LINBP, *smooth, *residual, *WITH_LINBP)]


def schedule(text: str, budget: str) -> tuple[int, float]:
    """Steps and step size of a recipe under a budget, of a single step 1 and none: two budgets may give the same."""
    found = measured.settings(Recipe.parse(text), budget)
    return (1, 0.0) if found["steps"] is None else (found["steps"], parse_radius(found["step_size"]))


def measured_before() -> dict[tuple[Any, ...], dict[str, Any]]:
    """What is known of the same recipe, steps and step size: by the other scripts, or under the other budget."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    run_of = functools.cache(schedule)
    for path in (measured.TRANSFER, measured.CONTENDERS, RESULTS):
        for line in read_lines(path):
            if line.get("eps", EPS) not in (EPS, None):
                continue
            name, text = line["surrogate"], line["recipe"]
            run = run_of(text, line.get("budget", "steps")) if name else None
            if run and line.get("steps", run[0]) != run[0]:
                continue  # made when this script had other numbers
            found.setdefault((name, text, run, line["pass"]), {"from": path.name, **line})
    return found


Task = tuple[Sequence[int], str, str, str]
"""Passes that are computed together, surrogate, budget, recipe."""


def tasks(
    names: Sequence[str], passes: Sequence[int], budgets: Sequence[str], count: int, most: float = float("inf")
) -> list[Task]:
    """All attacks on the first passes, the dearest ones first, then on the next: a table is of what all have done.

    But for those that take more gradients an image than `most`.
    """
    found: list[Task] = []
    for group in photos.together(passes, count):
        mine = [(group, name, budget, text) for name in names for budget in budgets for text in recipes(name)]
        costs = [measured.cost(Recipe.parse(text), budget)["gradients"] for _, _, budget, text in mine]
        order = sorted(range(len(mine)), key=lambda number: -costs[number])
        found += [mine[number] for number in order if costs[number] <= most]
    return found


def compute(todo: Sequence[Task], share: tuple[int, int], device: str, compiled: bool) -> None:
    """Fill in the lines that are missing of this process's tasks."""
    runner, before = photos.Runner(RESULTS, FIELDS, device, compiled), measured_before()
    names = dict.fromkeys(name for _, name, _, _ in todo)
    surrogates = {name: linbp.Surrogate(photos.network(name)).to(device) for name in names}
    _, images, labels = photos.photographs()
    pool = linbp.Pool(images, labels)
    for number in dict.fromkeys(number for group, _, _, _ in todo for number in group) if share[0] == 1 else ():
        runner.clean(number, before.get((None, "clean", None, number)))
    for turn, (group, name, budget, text) in enumerate(todo):
        if not is_mine(turn, share):
            continue
        recipe, run = Recipe.parse(text), schedule(text, budget)
        line = {"surrogate": name, "budget": budget, "recipe": text, **measured.cost(recipe, budget)}
        known = {n: before[name, text, run, n] for n in group if (name, text, run, n) in before}
        mixing = any(part.needs_pool for stage in recipe.stages for part in stage.transforms)
        made = runner.attack(
            [{**line, "pass": number} for number in group],
            surrogates[name],
            recipe,
            EPS,
            known,
            pool=pool if mixing else None,
            **measured.settings(recipe, budget),
        )
        for one in made:  # the other budget may come to the same
            before.setdefault((name, text, run, one["pass"]), {**one, "from": RESULTS.name})


def tables_of(lines: Lines, surrogate: str, budget: str) -> list[str]:
    """The tables of one surrogate and budget.

    Where dear recipes were run on fewer photographs than the others, they have a table of their own, with what leads
    there.
    """
    clean = [line for line in lines if line["recipe"] == "clean"]
    mine = [line for line in lines if (line["surrogate"], line["budget"]) == (surrogate, budget)]
    cheap = [line for line in mine if line["gradients"] <= DEAR]
    there = {line["pass"] for line in clean}
    every, of_cheap = (passes_of_all(some) & there for some in (mine, cheap))
    if len({line["recipe"] for line in mine}) < FEWEST or not of_cheap:
        return []
    title = f"{VICTIMS[surrogate]}, eps {EPS}, {BUDGETS[budget]}"
    if of_cheap == every:
        return with_tests(Outcomes([*mine, *clean], surrogate, every), title)
    text = with_tests(Outcomes([*cheap, *clean], surrogate, of_cheap), f"{title}, all but the dearest")
    if every:
        order = ranked(Outcomes([*cheap, *clean], surrogate, every))
        leaders = {"mdi2fgsm", "ifgsm"}
        for with_linbp in (True, False):
            leaders.update([name for name in order if ("linbp" in name) is with_linbp][:1])
        dearest = [line for line in mine if line["recipe"] in leaders or line["gradients"] > DEAR]
        outcomes = Outcomes([*dearest, *clean], surrogate, every)
        text += with_tests(outcomes, f"{title}, the dearest and what leads")
    return text


def ranked(outcomes: Outcomes) -> list[str]:
    """The recipe with the highest mean first."""
    return sorted(outcomes.success, key=lambda recipe: -outcomes.mean(recipe))


def with_tests(outcomes: Outcomes, title: str) -> list[str]:
    """All recipes; then the best with LinBP against the best without, and pairs that the text compares."""
    order = ranked(outcomes)
    ours = [recipe for recipe in order if "linbp" in recipe]
    others = [recipe for recipe in order if "linbp" not in recipe]
    plain = [recipe for recipe in ours if "+" not in recipe and ">>" not in recipe]
    pairs = [(one, other) for one in ours[:1] for other in (*others[:1], "mdi2fgsm")]
    pairs += [*((one, "ifgsm") for one in plain[:1]), *COMPARED]
    pairs = [pair for pair in dict.fromkeys(pairs) if all(recipe in order for recipe in pair)]
    cells = compared([(outcomes, *pair) for pair in pairs])
    rows = [[f"`{one}`", f"`{other}`", *found] for (one, other), found in zip(pairs, cells, strict=True)]
    heads = ["recipe", "against", "difference", "p", "only the first, only the second", "McNemar"]
    text = (
        "Differences of the means over victims, paired by photograph; p of the permutation test, corrected by Holm's "
        f"method for the {len(pairs)} comparisons of this table; McNemar's p is not corrected."
    )
    whole = tables.of_networks(outcomes, title, order, ("gradients", "steps"))
    return [*whole, text, "", *table(heads, rows, left=(0, 1)), ""]


def write(lines: Lines) -> None:
    """Put the tables into the page."""
    text = [row for name in photos.SURROGATES for budget in BUDGETS for row in tables_of(lines, name, budget)]
    put(tables.PAGE, {"recipes": text})


def main() -> None:
    parser = photos.arguments(__doc__, "surrogate", "share", "together", "device")
    parser.add_argument("--budget", action="append", choices=list(BUDGETS), help="default: both")
    parser.add_argument(
        "--at-most",
        type=int,
        default=float("inf"),
        help="leave out recipes of more gradients an image; where they are behind, those of more than 100 have a table",
    )
    options = parser.parse_args()
    if not options.tables:
        names, budgets = options.surrogate or list(PLACES), options.budget or list(BUDGETS)
        todo = tasks(names, range(options.passes), budgets, options.together, options.at_most)
        compute(todo, options.share, options.device, options.compile)
    if options.share[0] == 1:
        write(read_lines(RESULTS))


if __name__ == "__main__":
    main()
