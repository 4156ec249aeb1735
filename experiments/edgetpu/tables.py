"""What `docs/edgetpu.md` shows, from the lines that `analyse.py` stored: CSVs, tables of the page, and a picture."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import charts
import numpy as np
from common.photographs import VICTIMS as NAMES
from pages import DOCS, between, markdown
from scipy.stats import bootstrap, spearmanr
from study import TABLES, Study, csv_text

from edgetpu.bench import OTHERS, PAIR
from linbp.data.files import write_atomically
from linbp.evaluation.statistics import bootstrap_mean, difference_by_image, rate

PAGE = DOCS / "edgetpu.md"
KINDS = ("branch", "site", "none", "outside", "inside")
VICTIMS = {name: NAMES[name] for name in (*OTHERS, *reversed(PAIR))}
(EDGE, CHAIN), BOTH = PAIR, " + di(scale=8/7) + mi"
Line = dict[str, Any]
Table = tuple[list[str], list[list[str]]]
"""Heads and rows."""


def write(lines: list[Line]) -> None:
    """Write every table as a CSV, those that the page has marks for into the page, and the picture."""
    *found, notes = predictor(lines)
    tables: dict[str, Table] = {"predictor": (found[0], found[1])}
    for make in (attacks, gains, path, constancy, blocks, steps, agreement, parts, ranks, sites, compounding):
        tables[make.__name__] = make(lines)
    page = PAGE.read_text(encoding="utf-8")
    for name, (heads, rows) in tables.items():
        plain = [dict(zip(heads, (cell.replace("`", "") for cell in row), strict=True)) for row in rows]
        write_atomically(TABLES / f"edgetpu-{name}.csv", csv_text(plain).encode())
        if f"<!-- {name}: begin -->" in page:
            text = markdown([head.replace("|", "\\|") for head in heads], rows)
            page = between(page, name, [*text, "", *notes] if name == "predictor" else text)
    write_atomically(PAGE, page.encode())
    charts.save(picture(lines), DOCS / "images" / "edgetpu.svg")


def picture(lines: list[Line]) -> Any:
    """Agreement by position on both surrogates."""
    panels = []
    for surrogate in (EDGE, CHAIN):
        rows = []
        for line in of(lines, "agreement", surrogate):
            kind, _, site = line["variant"].partition(" from ")
            if site.isdigit() and kind in KINDS[:-1]:
                low, value, high = spread([1000 * c for c in line["cos"]])
                rows.append({"x": int(site), "kind": kind, "mean": value, "low": low, "high": high})
        panels.append(charts.Panel(VICTIMS[surrogate], rows))
    return charts.lines(panels, "linear from site", "1,000 x cosine with other networks' gradients", (-5, 35))


def of(lines: list[Line], stage: str, surrogate: str | None = None) -> list[Line]:
    """Lines of one stage."""
    return [a for a in lines if a["stage"] == stage and surrogate in (None, a["surrogate"])]


def mean(values: Any) -> float:
    """Mean of a list, as a float."""
    return float(np.mean(values))


def spread(values: list[float]) -> tuple[float, float, float]:
    """Mean and 95% bootstrap interval over photographs: low, mean, high."""
    found = bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=0).confidence_interval
    return float(found.low), mean(values), float(found.high)


def interval(values: list[float], digits: int) -> str:
    """The same in words."""
    low, value, high = spread(values)
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


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


def attacks(lines: list[Line]) -> Table:
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
        cells.append(f"{100 * mean(list(by_victim[surrogate].values())):.0f}")
        rows.append([VICTIMS[surrogate], f"`{recipe}`", str(steps), f"{100 * mean(shares[:4]):.0f}", *cells])
    rows.sort(key=lambda row: (row[0], row[2]))
    names = ["MobileNet v2", "MobileNet v1", "Lite0", "Lite2", "the other surrogate"]
    return ["surrogate", "recipe", "steps", "mean of 4", *names, "itself"], rows


OUTSIDE = "linbp(start=0, sites=outside)"
LATER = "linbp(start=20, sites=outside)"
PAIRS = [
    (CHAIN, "ifgsm", "linbp(start=3)"),
    *((EDGE, "ifgsm", f"linbp(start={place})") for place in (0, 20, 28, "0, sites=inside")),
    *((EDGE, "ifgsm", other) for other in (OUTSIDE, LATER, "leak 0.1 from 0: ifgsm")),
    (EDGE, OUTSIDE, "leak 0.1 from 0: ifgsm"),
    *((EDGE, "mdi2fgsm", one + BOTH) for one in ("linbp(start=0)", "linbp(start=20)", OUTSIDE, LATER)),
    (EDGE, "mdi2fgsm", "leak 0.1 from 0: mdi2fgsm"),
]
"""A surrogate, a recipe, and the one whose gain over it is shown."""


def gains(lines: list[Line]) -> Table:
    """Gain of one recipe over another in points, mean over the four victims."""
    rows, found = [], outcomes(lines)
    for surrogate, one, other, steps in [(s, a, b, n) for n in (10, 20) for s, a, b in PAIRS]:
        a, b = found.get((surrogate, one, steps)), found.get((surrogate, other, steps))
        if not a or not b:
            continue
        changes = defaultdict(list)
        for victim in [v for v in VICTIMS if v != surrogate][:4]:
            for i in a[victim].keys() & b[victim].keys():
                changes[i].append(100.0 * (b[victim][i] - a[victim][i]))
        gain = interval([mean(change) for change in changes.values()], 0)
        rows.append([VICTIMS[surrogate], f"`{one}`", f"`{other}`", str(steps), gain, str(len(changes))])
    return ["surrogate", "one", "other", "steps", "gain in points", "photographs"], rows


def path(lines: list[Line]) -> Table:
    """What a gradient does over ten steps."""
    rows = []
    for line in of(lines, "path"):
        own, agree = line["own"], line["agree"]
        cells = [f"{mean(part):.2f}" for part in (line["successive"][:1], line["successive"][4:])]
        cells += [f"{own[1] - own[0]:.2f}", f"{own[9] - own[0]:.1f}"]
        cells += [f"{1000 * mean(agree[step]):.1f}" for step in ("0", "9")]
        rows.append([VICTIMS[line["surrogate"]], line["variant"], *cells, interval(line["others"]["10"], 2)])
    head = ["surrogate", "linear", "successive, first", "successive, steps 5-9", "own loss, step 1", "own loss, step 9"]
    return [*head, "agreement at the start", "agreement at step 9", "others' loss, step 10"], rows


def constancy(lines: list[Line]) -> Table:
    """One logit's gradient over photographs."""
    rows = [
        [VICTIMS[a["surrogate"]], a["variant"], f"{mean(a['alike']):.3f}", f"{mean(a['tiles']):.3f}"]
        for a in of(lines, "constancy")
    ]
    return ["surrogate", "linear", "cosine between photographs", "energy in one repeated tile"], rows


def blocks(lines: list[Line]) -> Table:
    """Norms and angles at the junctions, and the growth without a ratio; medians over photographs."""
    by_name = {a["variant"]: {row["block"]: row for row in a["rows"]} for a in of(lines, "blocks")}
    rows = []
    for name, row in by_name["ordinary"].items():
        u, v, out = (np.array(row[key]) for key in ("u", "v", "out"))
        cells = [f"{np.median(v / out):.2f}", f"{np.median(u / out):.2f}", f"{np.median(v / u):.2f}"]
        cells += [f"{mean(by_name[how][name]['cos']):.2f}" for how in ("ordinary", "branch")]
        growth = [f"{np.median(by_name[how][name]['in']):.2g}" for how in ("ordinary", "branch", "site", "none")]
        rows.append([f"`{name}`", "yes" if row["skip"] else "no", *cells, *growth])
    short = ["|v| / |g|", "|u| / |g|", "alpha", "cos(u, v)", "cos(u, v), LinBP's g"]
    return ["block", "skip", *short, "|g| ordinary", "`branch`", "`site`", "`none`"], rows


def sites(lines: list[Line]) -> Table:
    """Site by site: active units, the gradient's energy that meets them, and what linearising this site alone does."""
    rows = []
    for surrogate in (EDGE, CHAIN):
        (found,) = of(lines, "sites", surrogate)
        single = {a["variant"]: mean(a["own"]) for a in of(lines, "agreement", surrogate)}
        for site, (active, energy) in enumerate(zip(found["active"], found["ordinary"], strict=True)):
            alone = single.get(f"only {site}")
            cells = [f"{100 * active:.0f}", f"{100 * energy:.0f}", "" if alone is None else f"{alone:.2f}"]
            rows.append([VICTIMS[surrogate], str(site), *cells])
    return ["surrogate", "site", "active units, %", "energy at active units, %", "cosine, only this site linear"], rows


def compounding(lines: list[Line]) -> Table:
    """The product of what single sites do, beside what all of them do together."""
    rows = []
    for surrogate in (EDGE, CHAIN):
        own = {a["variant"]: mean(a["own"]) for a in of(lines, "agreement", surrogate)}
        count = sum(name.startswith("only") for name in own)
        for k in (0, 4, 8, 12, 16, 20, 24, 28, 32, 34):
            if f"branch from {k}" in own:
                product = np.prod([own[f"only {i}"] for i in range(k, count) if f"only {i}" in own])
                rows.append([VICTIMS[surrogate], str(k), f"{product:.4f}", f"{own[f'branch from {k}']:.4f}"])
    return ["surrogate", "from site", "product of single sites' cosines", "cosine of all together"], rows


def steps(lines: list[Line]) -> Table:
    """One sign step."""
    rows = []
    for a in of(lines, "steps"):
        cells = [f"{mean(values):.2f}" for values in (a["own"]["1"], a["own"]["8"], a["copies"])]
        cells += [interval(a["others"], 2), f"{100 * mean(a['fooled']):.0f}"]
        rows.append([VICTIMS[a["surrogate"]], a["variant"], *cells])
    head = ["surrogate", "linear", "own loss, 1/255", "own loss, 8/255", "own loss on changed copies, 8/255"]
    return [*head, "others' loss, 8/255", "others fooled, %"], rows


def agreement(lines: list[Line]) -> Table:
    """Agreement by position, for each way of rescaling."""
    rows = []
    for surrogate in PAIR:
        by_name = {a["variant"]: a for a in of(lines, "agreement", surrogate)}
        for k in range(0, 36, 4):
            if f"branch from {k}" not in by_name:
                continue
            cells = []
            for kind in KINDS:
                line = by_name.get(f"{kind} from {k}")
                cells.append("" if line is None else f"{1000 * mean(line['cos']):.1f}")
            branch = by_name[f"branch from {k}"]
            cells += [f"{100 * mean(branch['sign']):.2f}", f"{mean(branch['own']):.3f}"]
            rows.append([VICTIMS[surrogate], str(k), *cells])
        if "ordinary" in by_name:
            line = by_name["ordinary"]
            text = interval([1000 * c for c in line["cos"]], 1)
            rows.append([VICTIMS[surrogate], "ordinary", text, "", "", "", "", f"{100 * mean(line['sign']):.2f}", "1"])
    return ["surrogate", "from site", *KINDS, "same sign %", "cosine to own"], rows


def parts(lines: list[Line]) -> Table:
    """Agreement of the variants that test one hypothesis each."""
    rows = []
    for line in of(lines, "agreement"):
        if re.match(r"(branch|site|none|outside|inside) from \d+$|only", line["variant"]):
            continue
        cos = interval([1000 * c for c in line["cos"]], 1)
        rows.append([VICTIMS[line["surrogate"]], line["variant"], cos, f"{mean(line['own']):.3f}"])
    return ["surrogate", "linear", "agreement x 1000", "cosine to own"], rows


def ranks(lines: list[Line]) -> Table:
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
        cells = [f"{rise:.2f}", f"{100 * wrong:.0f}", f"{100 * mean(shares):.0f}"]
        rows.append([VICTIMS[key[0]], f"`{key[1]}`", str(key[2]), *cells])
    rows.sort(key=lambda row: (row[0], row[2], -int(row[5])))
    return ["surrogate", "recipe", "steps", "own loss on copies", "wrong on copies, %", "victims fooled, %"], rows


EPS = "8/255"
SUFFIX = {"branch": "", "site": ", rebalance=site", "none": ", rebalance=none", "outside": ", sites=outside"}


def recipe_of(variant: str) -> str | None:
    """The recipe of the large table for a variant's name, such as `site from 8`."""
    how, _, start = variant.partition(" from ")
    return f"linbp(start={start}{SUFFIX[how]})" if how in SUFFIX and start.isdigit() else None


def predictor(lines: list[Line]) -> tuple[list[str], list[list[str]], list[str]]:
    """Heads and rows: does the rise of the surrogate's own loss tell what LinBP gains? And the rank correlation.

    The rises are those of stage `path` (16 photographs), the gains those of the large table at the same radius.
    """
    study, rows, notes = Study("photographs"), [], []
    for surrogate in PAIR:
        rises = {recipe_of(one["variant"]): one["own"][9] - one["own"][0] for one in of(lines, "path", surrogate)}
        keys = {recipe: (surrogate, str(recipe), EPS, "20") for recipe in ("ifgsm", *sorted(rises, key=rises.get))}
        keys = {recipe: one for recipe, one in keys.items() if one in study.attacks}
        answers, points = study.answers(keys.values()), []
        plain = answers[keys.pop("ifgsm")]
        for recipe, one in ((recipe, answers[one]) for recipe, one in keys.items()):
            gain = bootstrap_mean(difference_by_image(one.success, plain.success, one.counted), unit=100)
            itself = 100 * (one.itself["itself"].value or 0)
            cells = [f"{rises[recipe]:.1f}", f"{itself:.0f}", f"{gain.value:+.0f} [{gain.low:+.0f}, {gain.high:+.0f}]"]
            rows.append([VICTIMS[surrogate], f"`{recipe}`", *cells])
            points.append((rises[recipe], itself, gain.value))
        *both, gains = zip(*points, strict=True)
        by_loss, by_success = (spearmanr(one, gains).statistic for one in both)
        notes.append(
            f"{VICTIMS[surrogate]}: {len(points)} variants, {plain.n} photographs; Spearman's rank correlation of the "
            f"gain with the own loss {by_loss:.2f}, with the surrogate's being fooled {by_success:.2f}."
        )
    return ["surrogate", "recipe", "own loss, step 9", "surrogate fooled, %", "gain over I-FGSM, points"], rows, notes
