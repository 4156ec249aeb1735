"""Writes the tables of docs/suites.md, and docs/tables/leak.csv with every victim, from the answers that are kept.

python experiments/exposure/page.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import choose
import leak
import numpy as np
from answers import RESULTS, Answers, Run, worst_case
from common.lines import read_lines
from pages import between, markdown
from study import TABLES, csv_text

from linbp.data.files import write_atomically
from linbp.evaluation.statistics import difference_by_image, mean_over_victims, paired_test, rate

PAGE = TABLES.parent / "suites.md"
NAMES = {
    "vgg19_bn": "VGG-19-BN",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "wrn16_8": "WRN-16-8",
    "mobilenet_v2": "MobileNet v2",
    "plain": "plain",
    "cct2_3x2": "CCT-2",
    "squeezenet1_1": "SqueezeNet 1.1",
    "squeezenet1_0_dc": "SqueezeNet 1.0",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "efficientnet_lite2": "EfficientNet-Lite2",
    "mobilenetv2_tf1": "MobileNet v2",
    "mobilenetv1_tf1": "MobileNet v1",
    "mobilenetv1_075_tf1": "MobileNet v1 0.75",
    "mobilenet_edgetpu": "MobileNet EdgeTPU",
}
TITLES = {"cifar10": "CIFAR-10, eps 4/255", "imagenet": "photographs, eps 8/255"}
HALF = "imagenet-4"
"""The photographs at half the radius."""
ALL_LEAKS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)


def mean_cell(answers: Answers) -> str:
    """Mean over the victims that count, with its interval."""
    shown = answers[(answers >= 0).any(axis=1)]
    found = mean_over_victims(shown == 1, shown >= 0, unit=100)
    return f"{found.value:.1f} <small>{found.low:.1f}-{found.high:.1f}</small>"


def rate_cell(answers: Answers) -> str:
    """One victim's rate with its interval; nothing where none counts."""
    found = rate(int((answers == 1).sum()), int((answers >= 0).sum()))
    return f"{100 * found.value:.0f} <small>{100 * found.low:.0f}-{100 * found.high:.0f}</small>" if found.n else ""


def leaks(runs: dict[str, Run]) -> list[str]:
    """A row for each surrogate, a column for each leak."""
    rows = []
    for data, run in runs.items():
        for line in read_lines(leak.FACTS):
            if line["data"] != data:
                continue
            cells, means = [], []
            for one in (0.0, *leak.LEAKS[data]):
                found = run.answers[line["surrogate"], f"leak-{one:g}" if one else "di-mi"]
                cells.append(mean_cell(found))
                means.append(choose.mean_rate(found))
            cells[int(np.argmax(means))] = f"**{cells[int(np.argmax(means))]}**".replace(" <", "** <", 1).removesuffix(
                "**"
            )
            cells += [""] * (len(ALL_LEAKS) - len(cells))
            rows.append([TITLES[data], NAMES[line["surrogate"]], str(line["path"]), *cells])
    return markdown(["images", "surrogate", "sites on a path", *(f"{one:g}" for one in ALL_LEAKS)], rows, left=2)


def gains(runs: dict[str, Run]) -> list[str]:
    """What leaks of 0.1 and 0.2 add to none, paired by image."""
    rows = []
    for line in read_lines(leak.FACTS):
        run, cells = runs[line["data"]], []
        none = run.answers[line["surrogate"], "di-mi"]
        for one in leak.CONSTANTS:
            found = run.answers[line["surrogate"], f"leak-{one:g}"]
            shown = (none >= 0).any(axis=1)
            parts = difference_by_image(found[shown] == 1, none[shown] == 1, none[shown] >= 0)
            gain = paired_test(parts, unit=100, flips=9_999)
            cells.append(f"{gain.value:+.1f} <small>{gain.low:+.1f} to {gain.high:+.1f}</small>")
        rows.append([TITLES[line["data"]], NAMES[line["surrogate"]], *cells])
    return markdown(["images", "surrogate", *(f"{one:g} minus none" for one in leak.CONSTANTS)], rows, left=2)


def every_victim(runs: dict[str, Run]) -> list[dict[str, str]]:
    """A row for each attack and victim."""
    return [
        {
            "data": data,
            "surrogate": surrogate,
            "recipe": recipe,
            "gradients": str(run.gradients[surrogate, recipe]),
            "victim": victim,
            "n": str(int((row >= 0).sum())),
            "fooled": str(int((row == 1).sum())),
        }
        for data, run in runs.items()
        for (surrogate, recipe), found in run.answers.items()
        for victim, row in zip(run.victims, found, strict=True)
        if (row >= 0).any()
    ]


def rules() -> list[str]:
    """What each rule loses on each surrogate."""
    names, losses = leak.losses()
    rows = []
    for title, by_name in losses.items():
        cells = [f"{lost:.1f} <small>({picked:g})</small>" for picked, lost in by_name.values()]
        rows.append([title, f"**{max(lost for _, lost in by_name.values()):.1f}**", *cells])
    return markdown(["rule", "at most", *(NAMES[name] for name in names)], rows)


def steps(data: str, run: Run) -> list[str]:
    """The attacks in the order in which they were picked."""
    pilot, rest = choose.halves(run)
    chosen = choose.greedy(run, choose.candidates(data, run), choose.PILOT[data], pilot)
    mine, others = run.rows(choose.PILOT[data]), run.rows(choose.OTHERS[data])
    body = []
    for count, ((surrogate, recipe), _) in enumerate(chosen, 1):
        several = [run.answers[pair] for pair, _ in chosen[:count]]
        there = [
            worst_case([one[rows][:, images] for one in several]) for rows, images in ((mine, pilot), (others, rest))
        ]
        body.append([str(count), NAMES[surrogate], recipe, *map(mean_cell, there)])
    return markdown(["", "surrogate", "attack", "pilot", "other victims, other images"], body, left=3)


def worth(data: str, run: Run) -> list[str]:
    """Five attacks and one of the same cost, victim by victim."""
    five, one, long = choose.compared(data, run)
    body = []
    for title, found in (("the five", five), (f"one: {long[1].removesuffix('-long')} on {NAMES[long[0]]}", one)):
        body.append([title, mean_cell(found), *(rate_cell(row) for row in found)])
    both = (five >= 0) & (one >= 0)
    found = paired_test(difference_by_image(five == 1, one == 1, both), unit=100, flips=9_999)
    line = (
        f"Difference on the victims that both are counted on: **{found.value:+.1f} points** "
        f"(95% interval {found.low:+.1f} to {found.high:+.1f}, p = {found.p:.4f})."
    )
    heads = [
        "100 gradients",
        "mean",
        *(f"{NAMES[name]}, n = {int((row >= 0).sum())}" for name, row in zip(choose.OTHERS[data], five, strict=True)),
    ]
    return [*markdown(heads, body), "", line]


def main() -> None:
    runs = {data: Run(RESULTS / f"{data}.parquet") for data in TITLES}
    page = PAGE.read_text(encoding="utf-8")
    page = between(page, "leaks", leaks(runs))
    page = between(page, "gains", gains(runs))
    page = between(page, "rules", rules())
    for data, run in {**runs, HALF: Run(RESULTS / f"{HALF}.parquet")}.items():
        page = between(page, f"{data}-steps", steps(data, run))
        page = between(page, f"{data}-worth", worth(data, run))
    write_atomically(PAGE, page.encode())
    write_atomically(
        TABLES / "leak.csv", csv_text(every_victim(runs | {HALF: Run(RESULTS / f"{HALF}.parquet")})).encode()
    )


if __name__ == "__main__":
    main()
