"""What `docs/edgetpu.md` shows, from the lines that `analyse.py` stored: CSVs, tables of the page, and a picture."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import charts
import numpy as np
from common.photographs import VICTIMS as NAMES
from pages import DOCS, markdown, write_page
from scipy.stats import bootstrap, spearmanr
from study import Study, gaps, write_csv

from edgetpu.bench import CHAIN, EDGE, OTHERS, PAIR, VARIANTS, recipe_of
from linbp.evaluation.statistics import bootstrap_mean, rate

KINDS = ("branch", "site", "none", "outside", "inside")
VICTIMS = {name: NAMES[name] for name in (*OTHERS, CHAIN, EDGE)}
Line = dict[str, Any]
Table = tuple[list[str], list[list[str]]]
"""Heads and rows."""


def write(lines: list[Line]) -> None:
    """Write the tables of the page, those that it links as CSVs, and the picture."""
    shown = {}
    for make in (attacks, compounding, blocks, predictor):
        heads, rows, *notes = make(lines)
        shown[make.__name__] = [*markdown([head.replace("|", "\\|") for head in heads], rows), *notes]
    write_page("edgetpu.md", shown)
    linked = {make.__name__: make(lines) for make in (gains, agreement, ranks, sites)}
    for name, (heads, rows) in (linked | {name: listed(lines, name) for name in LISTED}).items():
        write_csv(f"edgetpu-{name}", [dict(zip(heads, row, strict=True)) for row in rows])
    charts.save(picture(lines), DOCS / "images" / "edgetpu.svg")


def picture(lines: list[Line]) -> Any:
    """Agreement by position on both surrogates."""
    panels = []
    for surrogate in PAIR:
        rows = []
        for variant, line in variants(lines, "agreement", surrogate).items():
            kind, _, site = variant.partition(" from ")
            if site.isdigit() and kind in KINDS[:-1]:
                low, value, high = spread(1000 * np.array(line["cos"]))
                rows.append({"x": int(site), "kind": kind, "mean": value, "low": low, "high": high})
        panels.append((VICTIMS[surrogate], rows))
    return charts.lines(panels, "linear from site", "1,000 x cosine with other networks' gradients", (-5, 35))


def of(lines: list[Line], stage: str) -> list[Line]:
    """Lines of one stage."""
    return [line for line in lines if line["stage"] == stage]


def variants(lines: list[Line], stage: str, surrogate: str) -> dict[str, Line]:
    """Those about one surrogate, by variant."""
    return {line["variant"]: line for line in of(lines, stage) if line["surrogate"] == surrogate}


def mean(values: Any, digits: int, unit: int = 1) -> str:
    """A mean in words, in such a unit."""
    return f"{unit * np.mean(values):.{digits}f}"


def spread(values: Any) -> tuple[float, float, float]:
    """Mean and 95% bootstrap interval over photographs: low, mean, high."""
    found = bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=0).confidence_interval
    return float(found.low), float(np.mean(values)), float(found.high)


def interval(values: Any, digits: int) -> str:
    """The same in words."""
    low, value, high = spread(values)
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


LISTED: dict[str, dict[str, Callable[[Line], str]]] = {
    "path": {
        "successive, first": lambda line: mean(line["successive"][0], 2),
        "successive, steps 5-9": lambda line: mean(line["successive"][4:], 2),
        "own loss, step 1": lambda line: mean(line["own"][1] - line["own"][0], 2),
        "own loss, step 9": lambda line: mean(line["own"][9] - line["own"][0], 1),
        "agreement at the start": lambda line: mean(line["agree"]["0"], 1, 1000),
        "agreement at step 9": lambda line: mean(line["agree"]["9"], 1, 1000),
        "others' loss, step 10": lambda line: interval(line["others"]["10"], 2),
    },
    "constancy": {
        "cosine between photographs": lambda line: mean(line["alike"], 3),
        "energy in one repeated tile": lambda line: mean(line["tiles"], 3),
    },
    "steps": {
        "own loss, 1/255": lambda line: mean(line["own"]["1"], 2),
        "own loss, 8/255": lambda line: mean(line["own"]["8"], 2),
        "own loss on changed copies, 8/255": lambda line: mean(line["copies"], 2),
        "others' loss, 8/255": lambda line: interval(line["others"], 2),
        "others fooled, %": lambda line: mean(line["fooled"], 0, 100),
    },
    "parts": {
        "agreement x 1000": lambda line: interval(1000 * np.array(line["cos"]), 1),
        "cosine to own": lambda line: mean(line["own"], 3),
    },
}
"""Tables with a row for each line of a stage: the columns, and what makes their cells. `parts` are the variants of
`agreement` that test one hypothesis each."""
BY_POSITION = re.compile(r"(branch|site|none|outside|inside) from \d+$|only")


def listed(lines: list[Line], name: str) -> Table:
    """One of these tables."""
    found = of(lines, name)
    if name == "parts":
        found = [line for line in of(lines, "agreement") if not BY_POSITION.match(line["variant"])]
    cells = LISTED[name].values()
    rows = [[VICTIMS[line["surrogate"]], line["variant"], *(cell(line) for cell in cells)] for line in found]
    return ["surrogate", "linear", *LISTED[name]], rows


def outcomes(lines: list[Line]) -> dict[tuple[str, str, str], tuple[Any, Any]]:
    """For each attack (surrogate, recipe, steps) whom it fools, and what the surrogate makes of copies.

    The first is an array (networks, photographs), masked where the network was wrong before; the networks are the four
    that are asked alone, the other surrogate, and the attacked one. The second are the mean rise of the loss on copies,
    and the share of them that is taken for another class.
    """
    clean = {line["variant"]: line for line in of(lines, "clean")}
    fooled, copies = defaultdict(list), defaultdict(list)
    for line in of(lines, "attack"):
        recipe, steps, number = line["variant"].split(" | ")
        key, before = (line["surrogate"], recipe, steps), clean[number]
        names = sorted(VICTIMS, key=lambda name, own=key[0]: name == own)
        was, now = (np.array([told["classes"][name] for name in names]) for told in (before, line))
        fooled[key].append(np.ma.array(now != before["labels"], mask=was != before["labels"]))
        rise = np.subtract(line["copies"]["loss"], before["copies"][key[0]]["loss"])
        copies[key].append((rise.mean(), np.not_equal(line["copies"]["classes"], before["labels"]).mean()))
    order = sorted(fooled, key=lambda key: (VICTIMS[key[0]], key[2]))
    return {key: (np.ma.concatenate(fooled[key], axis=1), np.mean(copies[key], axis=0)) for key in order}


def attacks(lines: list[Line]) -> Table:
    """Success on each victim with its interval."""
    rows = []
    for (surrogate, recipe, steps), (fooled, _) in outcomes(lines).items():
        rates = [rate(int(one.sum()), int(one.count())) for one in fooled]
        told = [f"{100 * one.value:.0f} [{100 * one.low:.0f}, {100 * one.high:.0f}] of {one.n}" for one in rates[:5]]
        cells = [mean([one.value for one in rates[:4]], 0, 100), *told, mean(rates[5].value, 0, 100)]
        rows.append([VICTIMS[surrogate], f"`{recipe}`", steps, *cells])
    names = [VICTIMS[name] for name in OTHERS]
    return ["surrogate", "recipe", "steps", "mean of 4", *names, "the other surrogate", "itself"], rows


def gains(lines: list[Line]) -> Table:
    """Gain of one recipe over another in points, mean over the four victims."""
    rows, found = [], {key: fooled for key, (fooled, _) in outcomes(lines).items()}
    for steps in ("10", "20"):
        for surrogate, one, other in VARIANTS["gains"]:
            a, b = (found.get((surrogate, recipe, steps)) for recipe in (one, other))
            if a is not None and b is not None:
                change = 100.0 * b[:4] - 100.0 * a[:4]
                # The interval's draws depend on the order, which is that in which victims first count a photograph.
                gain = change.mean(0)[np.argsort(change.mask.argmin(0), kind="stable")].compressed()
                rows.append([VICTIMS[surrogate], one, other, steps, interval(gain, 0), str(len(gain))])
    return ["surrogate", "one", "other", "steps", "gain in points", "photographs"], rows


def blocks(lines: list[Line]) -> Table:
    """Norms and angles at the junctions, and the growth without a ratio; medians over photographs."""
    ways = {how: line["rows"] for how, line in variants(lines, "blocks", EDGE).items()}
    rows = []
    for place, row in enumerate(ways["ordinary"]):
        u, v, out = (np.array(row[key]) for key in ("u", "v", "out"))
        cells = [f"{np.median(ratio):.2f}" for ratio in (v / out, u / out, v / u)]
        cells += [mean(ways[how][place]["cos"], 2) for how in ("ordinary", "branch")]
        cells += [f"{np.median(ways[how][place]['in']):.2g}" for how in ("ordinary", "branch", "site", "none")]
        rows.append([f"`{row['block']}`", "yes" if row["skip"] else "no", *cells])
    short = ["|v| / |g|", "|u| / |g|", "alpha", "cos(u, v)", "cos(u, v), LinBP's g"]
    return ["block", "skip", *short, "|g| ordinary", "`branch`", "`site`", "`none`"], rows


def sites(lines: list[Line]) -> Table:
    """Site by site: active units, the gradient's energy that meets them, and what linearising this site alone does."""
    rows = []
    for surrogate in PAIR:
        found, single = variants(lines, "sites", surrogate)["ordinary"], variants(lines, "agreement", surrogate)
        for site, shares in enumerate(zip(found["active"], found["ordinary"], strict=True)):
            cells = [*(mean(share, 0, 100) for share in shares), mean(single[f"only {site}"]["own"], 2)]
            rows.append([VICTIMS[surrogate], str(site), *cells])
    return ["surrogate", "site", "active units, %", "energy at active units, %", "cosine, only this site linear"], rows


def compounding(lines: list[Line]) -> Table:
    """The product of what single sites do, beside what all of them do together."""
    rows = []
    for surrogate in PAIR:
        own = {name: float(np.mean(line["own"])) for name, line in variants(lines, "agreement", surrogate).items()}
        count = sum(name.startswith("only") for name in own)
        for k in (*range(0, 36, 4), 34):
            if (together := own.get(f"branch from {k}")) is not None:
                product = np.prod([own[f"only {i}"] for i in range(k, count)])
                rows.append([VICTIMS[surrogate], str(k), f"{product:.4f}", f"{together:.4f}"])
    return ["surrogate", "from site", "product of single sites' cosines", "cosine of all together"], rows


def agreement(lines: list[Line]) -> Table:
    """Agreement by position, for each way of rescaling."""
    rows = []
    for surrogate in PAIR:
        found = variants(lines, "agreement", surrogate)
        for k in range(0, 36, 4):
            if branch := found.get(f"branch from {k}"):
                alike = [found.get(f"{kind} from {k}") for kind in KINDS]
                cells = ["" if line is None else mean(line["cos"], 1, 1000) for line in alike]
                cells += [mean(branch["sign"], 2, 100), mean(branch["own"], 3)]
                rows.append([VICTIMS[surrogate], str(k), *cells])
        line = found["ordinary"]
        text = interval(1000 * np.array(line["cos"]), 1)
        rows.append([VICTIMS[surrogate], "ordinary", text, "", "", "", "", mean(line["sign"], 2, 100), "1"])
    return ["surrogate", "from site", *KINDS, "same sign %", "cosine to own"], rows


def ranks(lines: list[Line]) -> Table:
    """What the surrogate makes of changed copies of the adversarial images, beside what the victims make of these."""
    rows = []
    for (surrogate, recipe, steps), (fooled, (rise, wrong)) in outcomes(lines).items():
        cells = [f"{rise:.2f}", f"{100 * wrong:.0f}", mean(fooled[:4].mean(1), 0, 100)]
        rows.append([VICTIMS[surrogate], recipe, steps, *cells])
    rows.sort(key=lambda row: (row[0], row[2], -int(row[5])))
    return ["surrogate", "recipe", "steps", "own loss on copies", "wrong on copies, %", "victims fooled, %"], rows


def predictor(lines: list[Line]) -> tuple[list[str], list[list[str]], str, str, str]:
    """Does the rise of the surrogate's own loss tell what LinBP gains? With the rank correlations below the table.

    The rises are those of stage `path` (16 photographs), the gains those of the large table at the same radius.
    """
    study, rows, notes = Study("photographs"), [], []
    for surrogate in PAIR:
        found = variants(lines, "path", surrogate)
        told = [name for name in found if re.fullmatch(r"(branch|site|none|outside) from \d+", name)]
        rises = {recipe_of(name): found[name]["own"][9] - found[name]["own"][0] for name in told}
        keys = [(surrogate, recipe, "8/255", "20") for recipe in ("ifgsm", *sorted(rises, key=rises.__getitem__))]
        (_, plain), *others = study.answers(key for key in keys if key in study.attacks).items()
        points = []
        for (_, recipe, *_), one in others:
            gain = bootstrap_mean(gaps(one.found, plain.found), unit=100)
            itself = 100 * (one.itself["itself"].value or 0)
            cells = [f"{rises[recipe]:.1f}", f"{itself:.0f}", f"{gain.value:+.0f} [{gain.low:+.0f}, {gain.high:+.0f}]"]
            rows.append([VICTIMS[surrogate], f"`{recipe}`", *cells])
            points.append((rises[recipe], itself, gain.value))
        *both, gains = zip(*points, strict=True)
        by_loss, by_success = (spearmanr(one, gains).statistic for one in both)
        notes.append(
            f"{VICTIMS[surrogate]}: {len(points)} variants, {plain.found.shape[1]} photographs; Spearman's rank "
            f"correlation of the gain with the own loss {by_loss:.2f}, with the surrogate's being fooled "
            f"{by_success:.2f}."
        )
    heads = ["surrogate", "recipe", "own loss, step 9", "surrogate fooled, %", "gain over I-FGSM, points"]
    return heads, rows, "", *notes
