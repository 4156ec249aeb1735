"""Do the best attacks with LinBP beat the best ones without it? On photographs that did not help to pick them.

`imagenet_recipes.py` and `imagenet_causes.py` tried many recipes and parameters on their first 24 photographs, and
`--pick` here some more; the best of many rows is partly luck. So the leaders are run again, at equal gradients and
equal steps (20 steps of 1/255, one gradient each), at two radii, on the photographs after those. The surrogates,
photographs, victims and passes are those of `imagenet_transfer.py`, which had looked at some of the ingredients (SGM's
0.5, the sites 3 and 20) on all of the photographs before. Interrupted and started again, it goes on where it was;
every line of the results file is one attack on one pass.

    python experiments/imagenet_contenders.py --pick             # more candidates, first 24 photographs, 8/255
    python experiments/imagenet_contenders.py                    # computes what is missing, then writes the tables
    python experiments/imagenet_contenders.py --passes 4 --surrogate squeezenet1_1 --compile
    python experiments/imagenet_contenders.py --tables           # writes the tables from what there is
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import imagenet_transfer as engine
from result_lines import add_line, read_lines

import linbp

RESULTS = Path(__file__).parent / "results" / "imagenet_contenders.jsonl"
MIXED = "di(scale=8/7) + mi"
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
    done = {engine.key(line) for line in read_lines(RESULTS)}
    before = {engine.key(line): line for line in read_lines(engine.RESULTS)}
    _, images, labels = engine.photographs()
    victims = engine.victims_on(device, compiled)
    surrogate = linbp.Surrogate(engine.network(name)).to(device)
    facts = engine.made_with(device)
    for group in groups:
        for number in group:
            entry = {"surrogate": None, "recipe": "clean", "eps": None, "pass": number}
            if engine.key(entry) not in done:
                rows, known = slice(number * engine.PASS, (number + 1) * engine.PASS), before.get(engine.key(entry))
                clean = known["predictions"] if known else engine.predictions(victims, images[rows].float() / 255)
                add_line(RESULTS, {**entry, "labels": labels[rows].tolist(), "predictions": clean})
        for eps in radii:
            for recipe in recipes:
                lines = {number: {"surrogate": name, "recipe": recipe, "eps": eps, "pass": number} for number in group}
                lines = {number: line for number, line in lines.items() if engine.key(line) not in done}
                for number in [number for number, line in lines.items() if engine.key(line) in before]:
                    known = before[engine.key(lines[number])]
                    found = {key: known[key] for key in ("predictions", "sha256", "seconds")}
                    add_line(RESULTS, {**lines.pop(number), **found, "from": engine.RESULTS.name})
                if not lines:
                    continue
                begin = time.time()
                made = engine.craft_passes(surrogate, [*lines], recipe, eps, steps=engine.STEPS)
                answers = {number: engine.answers(victims, made[number]) for number in lines}
                seconds = round((time.time() - begin) / len(lines), 1)
                for number, line in lines.items():
                    clean = images[number * engine.PASS : (number + 1) * engine.PASS]
                    moved = ((made[number] * 255).round().int() - clean.int()).abs()
                    levels = {"mean_levels": round(float(moved.float().mean()), 3)}
                    add_line(RESULTS, {**line, **levels, **answers[number], "seconds": seconds, **facts})
                print(f"passes {[*lines]}, {name}, {eps}, {recipe}: {time.time() - begin:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="write the tables only")
    parser.add_argument("--pick", action="store_true", help="try more candidates on the first 24 photographs")
    parser.add_argument("--surrogate", action="append", choices=list(WITH_LINBP), help="default: all")
    parser.add_argument("--eps", action="append", choices=engine.RADII, help="default: both")
    parser.add_argument("--passes", type=int, default=12, help="how many times 24 photographs, after the first 24")
    parser.add_argument("--together", type=int, default=1, help="how many passes to compute in one batch")
    parser.add_argument("--device", default="cpu", help="where the networks run")
    parser.add_argument("--compile", action="store_true", help="compile the victims: half their time; needs a compiler")
    options = parser.parse_args()
    if not options.tables:
        for name in options.surrogate or WITH_LINBP:
            recipes, radii = (*WITHOUT_LINBP[name], *WITH_LINBP[name]), options.eps or engine.RADII
            passes = range(FIRST, FIRST + options.passes)
            if options.pick:
                recipes, radii, passes = dict.fromkeys((*recipes, *CANDIDATES[name])), ("8/255",), range(FIRST)
            groups = engine.together(passes, options.together)
            compute(name, recipes, radii, groups, options.device, options.compile)
    from imagenet_contenders_tables import write

    write(read_lines(RESULTS), WITH_LINBP, WITHOUT_LINBP, FIRST)


if __name__ == "__main__":
    main()
