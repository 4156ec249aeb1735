"""Tables of `docs/edgetpu.md`, from the lines that `analyse.py` stored."""

from __future__ import annotations

import re
from collections import defaultdict
from textwrap import indent
from typing import Any

import numpy as np
from common import pages
from common.pages import DOCS
from common.photographs import VICTIMS as NAMES
from scipy.stats import bootstrap

from edgetpu.predictor import predictor
from linbp.evaluation.statistics import mcnemar, rate

PAGE = DOCS / "edgetpu.md"
VICTIMS = {
    name: NAMES[name]
    for name in (
        *("mobilenetv2_tf1", "mobilenetv1_tf1", "efficientnet_lite0", "efficientnet_lite2"),
        *("squeezenet1_1", "mobilenet_edgetpu"),
    )
}
EDGE, CHAIN, BOTH = "mobilenet_edgetpu", "squeezenet1_1", " + di(scale=8/7) + mi"
Line = dict[str, Any]


def write(lines: list[Line]) -> None:
    """Put every table into its place in the page."""
    tables = {
        "attacks": attacks(lines),
        "tests": compared(lines),
        "path": path(lines),
        "constancy": constancy(lines),
        "blocks": blocks(lines),
        "steps": steps(lines),
        "agreement": agreement(lines),
        "parts": parts(lines),
        "ranks": ranks(lines),
        "sites": sites(lines),
        "compounding": compounding(lines),
        "predictor": "\n".join(predictor(lines)),
    }
    text = PAGE.read_text()
    for name, content in tables.items():
        block = f"<!-- {name}: begin -->\n\n{content}\n\n<!-- {name}: end -->"
        place = re.compile(f"^( *)<!-- {name}: begin -->.*?<!-- {name}: end -->", re.S | re.M)
        text = place.sub(lambda found, block=block: indent(block, found[1]), text)
    PAGE.write_text(text)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; the first column is text."""
    return "\n".join(pages.table(head, rows))


def of(lines: list[Line], stage: str, surrogate: str | None = None) -> list[Line]:
    """Lines of one stage."""
    return [a for a in lines if a["stage"] == stage and surrogate in (None, a["surrogate"])]


def mean(values: Any) -> float:
    """Mean of a list, as a float."""
    return float(np.mean(values))


def interval(values: list[float], digits: int) -> str:
    """Mean and 95 % bootstrap interval over photographs."""
    found = bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=0).confidence_interval
    return f"{mean(values):.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def outcomes(lines: list[Line]) -> dict[tuple[str, str, int], dict[str, dict[int, bool]]]:
    """For each attack (surrogate, recipe, steps) and victim: photograph -> fooled, where the victim was right."""
    clean = {int(a["variant"]): a for a in of(lines, "clean")}
    found: dict[tuple[str, str, int], dict[str, dict[int, bool]]] = defaultdict(lambda: defaultdict(dict))
    for line in of(lines, "attack"):
        recipe, steps, number = (part.strip() for part in line["variant"].rsplit("|", 2))
        before = clean[int(number)]
        for victim, classes in line["classes"].items():
            for place, (label, was, now) in enumerate(
                zip(before["labels"], before["classes"][victim], classes, strict=True)
            ):
                if was == label:
                    found[line["surrogate"], recipe, int(steps)][victim][int(number) * 25 + place] = now != label
    return found


def attacks(lines: list[Line]) -> str:
    """Success on each victim with its interval."""
    rows, found = [], outcomes(lines)
    for (surrogate, recipe, steps), by_victim in found.items():
        others = [v for v in VICTIMS if v != surrogate]
        cells, shares = [], []
        for victim in others[:5]:
            fooled = list(by_victim[victim].values())
            found_rate = rate(sum(fooled), len(fooled))
            shares.append(mean(fooled))
            low, high = 100 * found_rate.low, 100 * found_rate.high
            cells.append(f"{100 * shares[-1]:.0f} [{low:.0f}, {high:.0f}] of {len(fooled)}")
        white = 100 * mean(list(by_victim[surrogate].values()))
        rows.append(
            [VICTIMS[surrogate], f"`{recipe}`", str(steps), f"{100 * mean(shares[:4]):.0f}", *cells, f"{white:.0f}"]
        )
    rows.sort(key=lambda row: (row[0], row[2]))
    names = ["MobileNet v2", "MobileNet v1", "Lite0", "Lite2", "the other surrogate"]
    return table(["surrogate", "recipe", "steps", "mean of 4", *names, "itself"], rows)


COMPARED = (
    (CHAIN, "ifgsm", "linbp(start=3)"),
    (EDGE, "ifgsm", "linbp(start=0)"),
    (EDGE, "ifgsm", "linbp(start=20)"),
    (EDGE, "ifgsm", "linbp(start=28)"),
    (EDGE, "ifgsm", "linbp(start=0, sites=inside)"),
    (EDGE, "ifgsm", "linbp(start=0, sites=outside)"),
    (EDGE, "ifgsm", "linbp(start=20, sites=outside)"),
    (EDGE, "ifgsm", "leak 0.1 from 0: ifgsm"),
    (EDGE, "linbp(start=0, sites=outside)", "leak 0.1 from 0: ifgsm"),
    (EDGE, "mdi2fgsm", "linbp(start=0)" + BOTH),
    (EDGE, "mdi2fgsm", "linbp(start=20)" + BOTH),
    (EDGE, "mdi2fgsm", "linbp(start=0, sites=outside)" + BOTH),
    (EDGE, "mdi2fgsm", "linbp(start=20, sites=outside)" + BOTH),
    (EDGE, "mdi2fgsm", "leak 0.1 from 0: mdi2fgsm"),
)


def compared(lines: list[Line]) -> str:
    """Exact McNemar tests, victim by victim: how many photographs only one of two recipes fools them on."""
    rows, found = [], outcomes(lines)
    for surrogate, one, other, steps in [(s, a, b, n) for n in (10, 20) for s, a, b in COMPARED]:
        a, b = found.get((surrogate, one, steps)), found.get((surrogate, other, steps))
        if not a or not b:
            continue
        cells, changes = [], defaultdict(list)
        for victim in [v for v in VICTIMS if v != surrogate][:4]:
            common = a[victim].keys() & b[victim].keys()
            first, second, p = mcnemar([a[victim][i] for i in common], [b[victim][i] for i in common])
            cells.append(f"{first} / {second}, p = {p:.2g}")
            for i in common:
                changes[i].append(100.0 * (b[victim][i] - a[victim][i]))
        gain = interval([mean(c) for c in changes.values()], 0)
        rows.append([VICTIMS[surrogate], f"`{one}`", f"`{other}`", str(steps), gain, *cells])
    return table(
        ["surrogate", "one", "other", "steps", "gain in points", "MobileNet v2", "MobileNet v1", "Lite0", "Lite2"], rows
    )


def path(lines: list[Line]) -> str:
    """What a gradient does over ten steps."""
    rows = []
    for line in of(lines, "path"):
        agree = {int(k): v for k, v in line["agree"].items()}
        rise = {int(k): v for k, v in line["others"].items()}
        rows.append(
            [
                VICTIMS[line["surrogate"]],
                line["variant"],
                f"{mean(line['successive'][:1]):.2f}",
                f"{mean(line['successive'][4:]):.2f}",
                f"{line['own'][1] - line['own'][0]:.2f}",
                f"{line['own'][9] - line['own'][0]:.1f}",
                f"{1000 * mean(agree[0]):.1f}",
                f"{1000 * mean(agree[9]):.1f}",
                interval(rise[10], 2),
            ]
        )
    head = ["surrogate", "linear", "successive, first", "successive, steps 5-9", "own loss, step 1", "own loss, step 9"]
    return table([*head, "agreement at the start", "agreement at step 9", "others' loss, step 10"], rows)


def constancy(lines: list[Line]) -> str:
    """One logit's gradient over photographs."""
    rows = [
        [VICTIMS[a["surrogate"]], a["variant"], f"{mean(a['alike']):.3f}", f"{mean(a['tiles']):.3f}"]
        for a in of(lines, "constancy")
    ]
    return table(["surrogate", "linear", "cosine between photographs", "energy in one repeated tile"], rows)


def blocks(lines: list[Line]) -> str:
    """Norms and angles at the junctions, and the growth without a ratio; medians over photographs."""
    by_name = {a["variant"]: {row["block"]: row for row in a["rows"]} for a in of(lines, "blocks")}
    rows = []
    for name, row in by_name["ordinary"].items():
        u, v, out = (np.array(row[key]) for key in ("u", "v", "out"))
        cells = [f"{np.median(v / out):.2f}", f"{np.median(u / out):.2f}", f"{np.median(v / u):.2f}"]
        cells += [f"{mean(by_name[how][name]['cos']):.2f}" for how in ("ordinary", "branch")]
        growth = [f"{np.median(by_name[how][name]['in']):.2g}" for how in ("ordinary", "branch", "site", "none")]
        rows.append([f"`{name}`", "yes" if row["skip"] else "no", *cells, *growth])
    short = ["\\|v\\| / \\|g\\|", "\\|u\\| / \\|g\\|", "alpha", "cos(u, v)", "cos(u, v), LinBP's g"]
    return table(["block", "skip", *short, "\\|g\\| ordinary", "`branch`", "`site`", "`none`"], rows)


def sites(lines: list[Line]) -> str:
    """Site by site: active units, the gradient's energy that meets them, and what linearising this site alone does."""
    rows = []
    for surrogate in (EDGE, CHAIN):
        (found,) = of(lines, "sites", surrogate)
        single = {a["variant"]: mean(a["own"]) for a in of(lines, "agreement", surrogate)}
        for site, (active, energy) in enumerate(zip(found["active"], found["ordinary"], strict=True)):
            alone = single.get(f"only {site}")
            cells = [f"{100 * active:.0f}", f"{100 * energy:.0f}", "" if alone is None else f"{alone:.2f}"]
            rows.append([VICTIMS[surrogate], str(site), *cells])
    return table(
        ["surrogate", "site", "active units, %", "energy at active units, %", "cosine, only this site linear"], rows
    )


def compounding(lines: list[Line]) -> str:
    """The product of what single sites do, beside what all of them do together."""
    rows = []
    for surrogate in (EDGE, CHAIN):
        own = {a["variant"]: mean(a["own"]) for a in of(lines, "agreement", surrogate)}
        count = sum(name.startswith("only") for name in own)
        for k in (0, 4, 8, 12, 16, 20, 24, 28, 32, 34):
            if f"branch from {k}" in own:
                product = np.prod([own[f"only {i}"] for i in range(k, count) if f"only {i}" in own])
                rows.append([VICTIMS[surrogate], str(k), f"{product:.4f}", f"{own[f'branch from {k}']:.4f}"])
    return table(["surrogate", "from site", "product of single sites' cosines", "cosine of all together"], rows)


def steps(lines: list[Line]) -> str:
    """One sign step."""
    rows = [
        [
            VICTIMS[a["surrogate"]],
            a["variant"],
            f"{mean(a['own']['1']):.2f}",
            f"{mean(a['own']['8']):.2f}",
            f"{mean(a['copies']):.2f}",
            interval(a["others"], 2),
            f"{100 * mean(a['fooled']):.0f}",
        ]
        for a in of(lines, "steps")
    ]
    head = ["surrogate", "linear", "own loss, 1/255", "own loss, 8/255", "own loss on changed copies, 8/255"]
    return table([*head, "others' loss, 8/255", "others fooled, %"], rows)


def agreement(lines: list[Line]) -> str:
    """Agreement by position, for each way of rescaling."""
    rows = []
    for surrogate in ("mobilenet_edgetpu", "squeezenet1_1"):
        by_name = {a["variant"]: a for a in of(lines, "agreement", surrogate)}
        for k in range(0, 36, 4):
            if f"branch from {k}" not in by_name:
                continue
            cells = []
            for kind in ("branch", "site", "none", "outside", "inside"):
                line = by_name.get(f"{kind} from {k}")
                cells.append("" if line is None else f"{1000 * mean(line['cos']):.1f}")
            branch = by_name[f"branch from {k}"]
            rows.append(
                [VICTIMS[surrogate], str(k), *cells, f"{100 * mean(branch['sign']):.2f}", f"{mean(branch['own']):.3f}"]
            )
        if "ordinary" in by_name:
            line = by_name["ordinary"]
            text = interval([1000 * c for c in line["cos"]], 1)
            rows.append([VICTIMS[surrogate], "ordinary", text, "", "", "", "", f"{100 * mean(line['sign']):.2f}", "1"])
    return table(
        ["surrogate", "from site", "branch", "site", "none", "outside", "inside", "same sign %", "cosine to own"], rows
    )


def parts(lines: list[Line]) -> str:
    """Agreement of the variants that test one hypothesis each."""
    rows = []
    for line in of(lines, "agreement"):
        if re.match(r"(branch|site|none|outside|inside) from \d+$|only", line["variant"]):
            continue
        cos = interval([1000 * c for c in line["cos"]], 1)
        rows.append([VICTIMS[line["surrogate"]], line["variant"], cos, f"{mean(line['own']):.3f}"])
    return table(["surrogate", "linear", "agreement x 1000", "cosine to own"], rows)


def ranks(lines: list[Line]) -> str:
    """What the surrogate makes of changed copies of the adversarial images, beside what the victims make of these."""
    clean, grouped = {int(a["variant"]): a for a in of(lines, "clean")}, defaultdict(list)
    for line in of(lines, "attack"):
        recipe, steps, number = (part.strip() for part in line["variant"].rsplit("|", 2))
        before = clean[int(number)]
        rise = np.array(line["copies"]["loss"]) - np.array(before["copies"][line["surrogate"]]["loss"])
        wrong = np.array(line["copies"]["classes"]) != np.array(before["labels"])
        grouped[line["surrogate"], recipe, int(steps)].append((rise.mean(), wrong.mean()))
    found = outcomes(lines)
    rows = []
    for key, values in grouped.items():
        shares = [mean(list(found[key][v].values())) for v in [v for v in VICTIMS if v != key[0]][:4]]
        rise, wrong = np.mean(values, axis=0)
        rows.append(
            [
                VICTIMS[key[0]],
                f"`{key[1]}`",
                str(key[2]),
                f"{rise:.2f}",
                f"{100 * wrong:.0f}",
                f"{100 * mean(shares):.0f}",
            ]
        )
    rows.sort(key=lambda row: (row[0], row[2], -int(row[5])))
    return table(
        ["surrogate", "recipe", "steps", "own loss on copies", "wrong on copies, %", "victims fooled, %"], rows
    )
