"""Do the best attacks with LinBP beat the best ones without it? On photographs that did not help to pick them.

`recipes.py` and `causes.py` tried many recipes and parameters on their first 24 photographs, and `--pick` here some
more; the best of many rows is partly luck. So the leaders are run again, at equal gradients and equal steps (20 steps
of 1/255, one gradient each), at two radii, on the photographs after those. What `transfer.py` has computed is taken
from there; it had looked at some of the ingredients (SGM's 0.5, the sites 3 and 20) on all of the photographs before.

    python experiments/imagenet/contenders.py --pick             # more candidates, first 24 photographs, 8/255
    python experiments/imagenet/contenders.py                    # computes what is missing, then writes the tables
    python experiments/imagenet/contenders.py --passes 4 --surrogate squeezenet1_1 --compile
    python experiments/imagenet/contenders.py --tables           # writes the tables from what there is
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import photographs as photos
from common.lines import Lines, read_lines
from common.pages import put

import linbp
from imagenet import measured, tables
from imagenet.measured import MIXED

RESULTS = measured.CONTENDERS
FIELDS = ("surrogate", "recipe", "eps")
POOLS = "bpa(activations=false, temperature=0.01)"
"""BPA's half for max-pools, at the temperature that is good on SqueezeNet; EdgeTPU has none."""
WITHOUT_LINBP = {
    "squeezenet1_1": (
        "mdi2fgsm",
        f"conbp(start=3, slope=0.005) + {MIXED}",
        f"bpa(start=3, slope=0.001, temperature=0.01) + {MIXED}",
        f"{POOLS} + {MIXED}",
    ),
    "mobilenet_edgetpu": (
        "mdi2fgsm",
        f"sgm(gamma=0.5) + {MIXED}",
        f"conbp(start=20) + {MIXED}",
        f"bpa(start=20, slope=0.25) + {MIXED}",
        f"bpa(start=20, slope=0.25) + sgm(gamma=0.5) + {MIXED}",
        f"conbp(start=20) + sgm(gamma=0.5) + {MIXED}",
    ),
}
"""The leaders of the first 24 photographs, in the units of each network, and MDI2."""
WITH_LINBP = {
    "squeezenet1_1": (
        f"linbp(start=0, rebalance=none, leak=0.3) + {MIXED}",
        f"linbp(start=0, rebalance=none, leak=0.1) + {POOLS} + {MIXED}",
    ),
    "mobilenet_edgetpu": (
        f"linbp(start=0, rebalance=none, leak=0.1) + {MIXED}",
        f"linbp(start=0, rebalance=none, leak=0.1) + sgm(gamma=0.5) + {MIXED}",
    ),
}
CANDIDATES = {
    "squeezenet1_1": (
        "tapfgsm",
        f"tap + {MIXED}",
        f"conbp(start=3, slope=0.005) + {POOLS} + {MIXED}",
        *(f"bpa(activations=false, temperature={temperature}) + {MIXED}" for temperature in (0.001, 0.1)),
        f"linbp(start=0, rebalance=none, leak=0.3) + tap + {MIXED}",
        f"linbp(start=20, leak=0.3) + {MIXED}",
        *(f"linbp(start=0, rebalance=none, leak={leak}) + {MIXED}" for leak in (0.1, 0.2, 0.5)),
        *(f"linbp(start=0, rebalance=none, leak={leak}) + {POOLS} + {MIXED}" for leak in (0.05, 0.2, 0.3)),
        f"linbp(start=0, rebalance=none, leak=0.1) + bpa(activations=false, temperature=0.001) + {MIXED}",
        f"linbp(start=0, rebalance=none, leak=0.1) + bpa(activations=false, temperature=0.1) + {MIXED}",
    ),
    "mobilenet_edgetpu": (
        "tapfgsm",
        f"tap + {MIXED}",
        f"sgm(gamma=0.2) + {MIXED}",
        f"conbp(start=20, slope=0.5) + sgm(gamma=0.2) + {MIXED}",
        f"linbp(start=0, rebalance=none, leak=0.1) + tap + {MIXED}",
        f"linbp(start=0, rebalance=none, leak=0.1) + sgm(gamma=0.2) + {MIXED}",
        f"linbp(start=0, rebalance=none, leak=0.05) + {MIXED}",
        f"linbp(start=0, rebalance=none, leak=0.05) + sgm(gamma=0.5) + {MIXED}",
        f"linbp(start=28, leak=0.3) + {MIXED}",
        f"linbp(start=28, leak=0.3, gamma=0.5) + {MIXED}",
        f"linbp(start=20, leak=0.1) + {MIXED}",
        f"linbp(start=20, leak=0.1, gamma=0.5) + {MIXED}",
    ),
}
"""What `--pick` tries beside the contenders, at 8/255, where there is room above MDI2 on both networks."""
FIRST = 1
"""The pass that comes first for contenders: pass 0 is what they were picked on."""


def compute(
    name: str,
    recipes: Sequence[str],
    radii: Sequence[str],
    groups: Sequence[Sequence[int]],
    device: str,
    compiled: bool,
) -> None:
    """Fill in the missing lines, one group of passes after the other."""
    runner = photos.Runner(RESULTS, FIELDS, device, compiled)
    before = {runner.key(line): {**line, "from": measured.TRANSFER.name} for line in read_lines(measured.TRANSFER)}
    surrogate = linbp.Surrogate(photos.network(name)).to(device)
    for group in groups:
        for number in group:
            runner.clean(number, before.get(runner.key({"recipe": "clean", "pass": number})))
        for eps, recipe in product(radii, recipes):
            lines = [{"surrogate": name, "recipe": recipe, "eps": eps, "pass": number} for number in group]
            known = {line["pass"]: before[runner.key(line)] for line in lines if runner.key(line) in before}
            runner.attack(lines, surrogate, recipe, eps, known, steps=photos.STEPS)


def write(lines: Lines) -> None:
    """Put the tables into the page; what comes before the first pass only picked the contenders."""
    recipes = {name: {*WITHOUT_LINBP[name], *WITH_LINBP[name]} for name in WITH_LINBP}
    judged = [
        line
        for line in lines
        if line["recipe"] == "clean" or (line["pass"] >= FIRST and line["recipe"] in recipes[line["surrogate"]])
    ]
    tried = [line for line in lines if line["pass"] < FIRST]
    pairs = {name: [*product(WITH_LINBP[name], WITHOUT_LINBP[name])] for name in WITH_LINBP}
    text = [row for name in recipes for eps in photos.RADII for row in tables.at_radius(judged, name, eps)]
    text += tables.differences(judged, pairs, "### With LinBP against without")
    picked = [row for name in recipes for row in tables.at_radius(tried, name, "8/255", "####")]
    text += ["### What was tried on the first 24 photographs", "", *picked] if picked else []
    put(tables.PAGE, {"contenders": text})


def main() -> None:
    parser = photos.arguments(__doc__, "surrogate", "together", "device", passes=12)
    parser.add_argument("--pick", action="store_true", help="try more candidates on the first 24 photographs")
    parser.add_argument("--eps", action="append", choices=photos.RADII, help="default: both")
    options = parser.parse_args()
    for name in () if options.tables else options.surrogate or WITH_LINBP:
        recipes, radii = (*WITHOUT_LINBP[name], *WITH_LINBP[name]), options.eps or photos.RADII
        passes = range(FIRST, FIRST + options.passes)
        if options.pick:
            recipes, radii, passes = (*dict.fromkeys((*recipes, *CANDIDATES[name])),), ("8/255",), range(FIRST)
        compute(name, recipes, radii, photos.together(passes, options.together), options.device, options.compile)
    write(read_lines(RESULTS))


if __name__ == "__main__":
    main()
