"""How well attacks made on two surrogates transfer to eight other networks, on 300 photographs.

    python experiments/imagenet/transfer.py              # computes what is missing, then writes the tables
    python experiments/imagenet/transfer.py --share 1/2  # every second pass; another process takes --share 2/2
    python experiments/imagenet/transfer.py --tables     # writes the tables from what there is

`common/photographs.py` says which photographs and networks these are, and what a pass is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import photographs as photos
from common.lines import Lines, is_mine, read_lines
from common.pages import put

import linbp
from imagenet import measured, tables

RESULTS = measured.TRANSFER
FIELDS = ("surrogate", "recipe", "eps")
BASELINES = ("ifgsm", "pgd", "mifgsm", "difgsm", "mdi2fgsm")
POSITIONS = measured.POSITIONS
PAIRS = {
    "squeezenet1_1": (
        ("linbp(start=0)", "ifgsm"),
        ("linbp(start=3)", "ifgsm"),
        ("linbp(start=0)", "mifgsm"),
        ("linbp(start=3) + di(scale=8/7) + mi", "mdi2fgsm"),
    ),
    "mobilenet_edgetpu": (
        ("linbp(start=0)", "ifgsm"),
        ("linbp(start=20)", "ifgsm"),
        ("linbp(start=20)", "linbp(start=20, rebalance=none)"),
        ("linbp(start=20)", "sgm(gamma=0.5)"),
        ("linbp(start=20) + di(scale=8/7) + mi", "mdi2fgsm"),
        ("linbp(start=0, sites=outside)", "ifgsm"),
        ("linbp(start=0, sites=outside)", "linbp(start=20)"),
        ("linbp(start=0, sites=outside)", "sgm(gamma=0.2)"),
        ("linbp(start=0, sites=outside)", "sgm(gamma=0.5)"),
        ("linbp(start=0, sites=outside) + di(scale=8/7) + mi", "mdi2fgsm"),
    ),
}
"""What is compared: a recipe, and the one it is compared with."""


def recipes(surrogate: str) -> tuple[str, ...]:
    """The attacks on one surrogate, the most telling first."""
    positions = POSITIONS[surrogate]
    if surrogate == "squeezenet1_1":  # no sums: SGM has nothing to act on, and rebalance=branch is rebalance=none
        return (
            *BASELINES,
            *(f"linbp(start={k})" for k in positions),
            "linbp(start=3) + di(scale=8/7) + mi",
            *(f"linbp(start={k}, rebalance=site)" for k in positions),
        )
    return (
        *BASELINES,
        "sgm(gamma=0.2)",
        "sgm(gamma=0.5)",
        *(f"linbp(start={k})" for k in positions),
        "linbp(start=0, sites=outside)",
        "linbp(start=20) + di(scale=8/7) + mi",
        "linbp(start=0, sites=outside) + di(scale=8/7) + mi",
        *(f"linbp(start={k}, rebalance=none)" for k in positions),
        *(f"linbp(start={k}, rebalance=site)" for k in positions),
    )


def compute(passes: Sequence[int], names: Sequence[str], device: str, compiled: bool) -> None:
    """Fill in the missing lines, pass by pass."""
    runner = photos.Runner(RESULTS, FIELDS, device, compiled)
    surrogates = {name: linbp.Surrogate(photos.network(name)).to(device) for name in names}
    for name, surrogate in surrogates.items():
        print(name, surrogate.notes, flush=True)
    for number in passes:
        runner.clean(number)
        for name, surrogate in surrogates.items():
            for eps in photos.RADII:
                for recipe in recipes(name):
                    line = {"surrogate": name, "recipe": recipe, "eps": eps, "pass": number}
                    runner.attack([line], surrogate, recipe, eps, {}, steps=photos.STEPS)


def write(lines: Lines) -> None:
    """Put the tables into the page."""
    text = [row for name in photos.SURROGATES for eps in photos.RADII for row in tables.at_radius(lines, name, eps)]
    put(tables.PAGE, {"tables": [*text, *tables.differences(lines, PAIRS, "### Differences")]})


def main() -> None:
    options = photos.arguments(__doc__, "surrogate", "share", "device").parse_args()
    if not options.tables:
        passes = [number for number in range(options.passes) if is_mine(number, options.share)]
        compute(passes, options.surrogate or list(photos.SURROGATES), options.device, options.compile)
    if options.share[0] == 1:
        write(read_lines(RESULTS))


if __name__ == "__main__":
    main()
