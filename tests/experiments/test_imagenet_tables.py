"""The tables of the experiments on photographs, made from made-up results."""

from __future__ import annotations

import math
from importlib import import_module as script
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PHOTOGRAPHS = 30
SHARES = {"often": 0.7, "seldom": 0.5}
pytestmark = [pytest.mark.study, pytest.mark.usefixtures("scripts")]


def line(draw: np.random.Generator, names: list[str], wrong: float, **fields: Any) -> dict[str, Any]:
    """One line of results whose labels are all 7, of which about that share is wrong."""
    predictions = {name: np.where(draw.random(PHOTOGRAPHS) < wrong, 8, 7).tolist() for name in names}
    return {**fields, "predictions": predictions, "seconds": 1.0, "gradients": 20, "steps": 20}


def clean(draw: np.random.Generator, names: list[str], number: int) -> dict[str, Any]:
    fields = {"surrogate": None, "recipe": "clean", "eps": None, "budget": None, "pass": number}
    return {**line(draw, names, 0.2, **fields), "labels": [7] * PHOTOGRAPHS}


def shares(lines: list[dict[str, Any]], recipe: str, victim: str) -> np.ndarray:
    """Slowly: whether each known photograph of each pass is wrong on its adversarial image."""
    found = []
    for known in (line for line in lines if line["recipe"] == "clean"):
        adv_image = next(line for line in lines if line["recipe"] == recipe and line["pass"] == known["pass"])
        for was, now in zip(known["predictions"][victim], adv_image["predictions"][victim], strict=True):
            if was == 7:
                found.append(now != 7)
    return np.array(found)


def exact(only_one: int, only_other: int) -> float:
    """The exact McNemar test from binomial coefficients."""
    n, least = only_one + only_other, min(only_one, only_other)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(least + 1)) / 2**n)


def test_pairs_of_photograph_and_victim_are_counted_where_the_victim_is_right() -> None:
    names, draw = list(script("common.photographs").VICTIMS), np.random.default_rng(0)
    lines = [clean(draw, names, number) for number in range(2)]
    fields = {"surrogate": "squeezenet1_1"}
    for number in range(2):
        lines += [line(draw, names, share, recipe=name, **fields, **{"pass": number}) for name, share in SHARES.items()]
    outcomes = script("common.outcomes").Outcomes(lines, "squeezenet1_1", {0, 1})
    victims = [name for name in names if name != "squeezenet1_1"]
    assert outcomes.victims == victims
    one, other = ({name: shares(lines, recipe, name) for name in victims} for recipe in SHARES)
    pairs = [(a, b) for name in victims for a, b in zip(one[name], other[name], strict=True)]
    first, second, chance = outcomes.mcnemar(*SHARES)
    assert first == sum(a and not b for a, b in pairs)
    assert second == sum(b and not a for a, b in pairs)
    assert chance == pytest.approx(exact(first, second))
    assert outcomes.mcnemar("often", "often") == (0, 0, 1.0)
    gap = 100 * np.mean([one[name].mean() - other[name].mean() for name in victims])
    found = outcomes.difference(*SHARES)
    assert found.value == pytest.approx(gap)
    assert found.low < gap < found.high


def test_recipes_are_sorted_by_their_mean_and_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables, draw = script("imagenet.recipes"), np.random.default_rng(1)
    page = tmp_path / "results.md"
    page.write_text("before\n<!-- recipes: begin --><!-- recipes: end -->\nafter\n")
    monkeypatch.setattr(script("imagenet.tables"), "PAGE", page)
    names, surrogate = list(script("common.photographs").VICTIMS), "squeezenet1_1"
    recipes = ["fgsm", "ifgsm", "mdi2fgsm", "linbp(start=3)", *(f"linbp(start={k}) + mi" for k in range(7))]
    fields = {"surrogate": surrogate, "budget": "steps"}
    lines = [clean(draw, names, number) for number in range(3)]
    lines += [
        line(draw, names, (index + 1) / 12, recipe=recipe, **{**fields, "pass": number})
        for number in range(3)
        for index, recipe in enumerate(recipes)
        if (recipe, number) != ("ifgsm", 2)
    ]
    lines.append(lines[0])  # two processes may both have asked about the clean photographs
    tables.write(lines)
    text = page.read_text()
    assert text.startswith("before")
    assert text.endswith("after\n")
    assert f"SqueezeNet 1.1, eps 16/255, 20 steps of 1/255, {2 * PHOTOGRAPHS} photographs" in text
    kept = [line for line in lines[:-1] if line["pass"] < 2]
    victims = [name for name in names if name != surrogate]
    means = {name: 100 * np.mean([shares(kept, name, victim).mean() for victim in victims]) for name in recipes}
    rows = [row.split(" | ") for row in text.splitlines() if row.startswith("| `") and row.count(" | ") > 8]
    order = [row[0].strip("| `") for row in rows]
    assert order == sorted(recipes, key=lambda recipe: -means[recipe])
    assert [row[3].split("*")[2] for row in rows] == [f"{means[recipe]:.0f}" for recipe in order]
    compared = [row.split(" | ")[:2] for row in text.splitlines() if row.startswith("| `") and row.count(" | ") < 8]
    best = next(recipe for recipe in order if "linbp" in recipe)
    rival = next(recipe for recipe in order if "linbp" not in recipe)
    assert [f"| `{best}`", f"`{rival}`"] in compared
    assert ["| `fgsm`", "`ifgsm`"] in compared


def test_the_dearest_recipes_have_a_table_of_the_photographs_that_they_were_run_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, draw = script("imagenet.recipes"), np.random.default_rng(4)
    page = tmp_path / "results.md"
    monkeypatch.setattr(script("imagenet.tables"), "PAGE", page)
    names, surrogate = list(script("common.photographs").VICTIMS), "squeezenet1_1"
    cheap = ["fgsm", "ifgsm", "mdi2fgsm", "tapfgsm", "linbp(start=3)", *(f"linbp(start={k}) + mi" for k in range(7))]
    shares_wrong = {recipe: (index + 1) / 14 for index, recipe in enumerate(cheap)} | {"pgn-mifgsm": 0.5}
    lines = [clean(draw, names, number) for number in range(3)]
    for number in range(3):
        for recipe, wrong in shares_wrong.items():
            fields = {"surrogate": surrogate, "budget": "steps", "recipe": recipe, "pass": number}
            lines.append({**line(draw, names, wrong, **fields), "gradients": 800 if recipe == "pgn-mifgsm" else 20})

    def parts(of: list[dict[str, Any]]) -> dict[str, list[str]]:
        page.write_text("<!-- recipes: begin --><!-- recipes: end -->")
        tables.write(of)
        rows = [part.splitlines() for part in page.read_text().split("### ")[1:]]
        return {
            head: [row.split("`")[1] for row in rest if row.startswith("| `") and row.count(" | ") > 8]
            for head, *rest in rows
        }

    title = "SqueezeNet 1.1, eps 16/255, 20 steps of 1/255"
    (whole,) = parts(lines).items()
    assert whole[0] == f"{title}, {3 * PHOTOGRAPHS} photographs"
    assert set(whole[1]) == set(shares_wrong)
    fewer = [line for line in lines if line["recipe"] != "pgn-mifgsm" or line["pass"] == 0]
    first, second = parts(fewer).items()
    assert first[0] == f"{title}, all but the dearest, {3 * PHOTOGRAPHS} photographs"
    assert set(first[1]) == set(cheap)
    assert second[0] == f"{title}, the dearest and what leads, {PHOTOGRAPHS} photographs"
    there = [line for line in fewer if line["pass"] == 0]
    victims = [name for name in names if name != surrogate]
    means = {recipe: np.mean([shares(there, recipe, victim).mean() for victim in victims]) for recipe in cheap}
    best = {
        kind: max((recipe for recipe in cheap if ("linbp" in recipe) is kind), key=lambda recipe: means[recipe])
        for kind in (True, False)
    }
    assert set(second[1]) == {"pgn-mifgsm", "mdi2fgsm", "ifgsm", *best.values()}
    apart = [{**line, "pass": 9} if line["recipe"] == "pgn-mifgsm" else line for line in fewer]
    assert list(parts(apart)) == [first[0]]


def test_an_attack_that_two_processes_ran_counts_once() -> None:
    draw, names = np.random.default_rng(3), list(script("common.photographs").VICTIMS)
    lines = [clean(draw, names, number) for number in range(2)]
    fields = {"surrogate": "squeezenet1_1", "eps": "16/255"}
    lines += [line(draw, names, 0.5, recipe="ifgsm", **fields, **{"pass": number}) for number in range(2)]
    lines += [line(draw, names, 0.5, recipe="half", **fields, **{"pass": 0})] * 2
    doubled = [*lines, lines[2], lines[0]]
    found = script("common.outcomes").Outcomes(doubled, "squeezenet1_1", {0, 1})
    assert list(found.success) == ["ifgsm"]
    assert found.n == 2 * PHOTOGRAPHS
    for name in names:
        expected = shares(lines, "ifgsm", name)
        assert (found.rate("ifgsm", name).successes, found.rate("ifgsm", name).n) == (expected.sum(), len(expected))


def test_moves_of_logits_are_means_over_images() -> None:
    moves = script("imagenet.standings").moves
    few = {"clean": [5.0, 1.0], "adv": [1.0, 3.0], "spread": 2.0, "n": 1}
    many = {"clean": [4.0, 0.0], "adv": [4.0, 8.0], "spread": 4.0, "n": 3}
    none = {"clean": [0.0, 0.0], "adv": [float("nan")] * 2, "spread": float("nan"), "n": 0}
    assert moves([few, many, none]).tolist() == [-2 / 4, (1 + 3 * 2) / 4]


def test_contenders_are_compared_on_photographs_that_did_not_help_to_pick_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contenders = script("imagenet.contenders")
    page = tmp_path / "results.md"
    page.write_text("<!-- contenders: begin --><!-- contenders: end -->")
    monkeypatch.setattr(script("imagenet.tables"), "PAGE", page)
    draw, names = np.random.default_rng(2), list(script("common.photographs").VICTIMS)
    passes = range(contenders.FIRST, contenders.FIRST + 2)
    assert 0 not in passes
    lines = [clean(draw, names, number) for number in passes]
    surrogate, eps = "squeezenet1_1", "16/255"
    for number in passes:
        for recipe in contenders.WITHOUT_LINBP[surrogate]:
            lines.append(line(draw, names, 0.4, surrogate=surrogate, recipe=recipe, eps=eps, **{"pass": number}))
        for recipe in contenders.WITH_LINBP[surrogate]:
            lines.append(line(draw, names, 0.7, surrogate=surrogate, recipe=recipe, eps=eps, **{"pass": number}))
    later = list(lines)
    lines.append(clean(draw, names, 0))
    picking = (*contenders.WITHOUT_LINBP[surrogate], *contenders.WITH_LINBP[surrogate])
    for radius in ("16/255", "8/255"):
        lines += [line(draw, names, 0.0, surrogate=surrogate, recipe=r, eps=radius, **{"pass": 0}) for r in picking]
    contenders.write(lines)
    text = page.read_text()
    ours, others = contenders.WITH_LINBP[surrogate], contenders.WITHOUT_LINBP[surrogate]
    assert f"corrected for the {len(ours) * len(others)} comparisons" in text
    row = next(row for row in text.splitlines() if row.startswith(f"| SqueezeNet 1.1 | 16/255 | `{ours[0]}` |"))
    victims = [name for name in names if name != surrogate]
    means = [np.mean([shares(later, name, victim).mean() for victim in victims]) for name in (ours[0], others[0])]
    assert f"| `{others[0]}` | {100 * (means[0] - means[1]):+.0f} <small>" in row
    assert "EdgeTPU, eps" not in text
    heads = [row for row in text.splitlines() if "SqueezeNet 1.1, eps" in row]
    assert heads == [
        f"### SqueezeNet 1.1, eps 16/255, {2 * PHOTOGRAPHS} photographs",
        f"#### SqueezeNet 1.1, eps 8/255, {PHOTOGRAPHS} photographs",
    ]


@pytest.mark.parametrize(
    ("question", "recipe", "base"),
    [
        ("second", "`linbp(start=3) + mi >> ila(at=a.b) + mi`", "`linbp(start=3) + mi`"),
        (
            "second",
            "`linbp(start=3) + mi >> ila(at=a)`, moved on to the radius",
            "`linbp(start=3) + mi`, moved on to the radius",
        ),
        ("second", "`linbp(start=3) + mi`", "`linbp(start=3) + mi`"),
        ("ahead", "`ni(decay=0.9)`, 100 steps", "`mi`, 100 steps"),
        ("ahead", "`mi`, 100 steps", "`mi`, 100 steps"),
        (
            "diverse",
            "`linbp(start=20) + di(scale=8/7)`, 100 steps, moved on to the radius",
            "`linbp(start=20)`, 100 steps, moved on to the radius",
        ),
        ("radius", "`mi`, moved on to the radius", "`ifgsm`, moved on to the radius"),
    ],
)
def test_rows_about_causes_are_compared_with_rows_of_the_same_steps_and_ending(
    question: str, recipe: str, base: str
) -> None:
    assert script("imagenet.causes").base_of(question, recipe) == base


def test_every_attack_about_causes_has_its_base_among_the_others() -> None:
    causes = script("imagenet.causes")
    for surrogate in causes.STARTS:
        there = {(attack.question, attack.label) for attack in causes.attacks(surrogate)}
        for question, label in there:
            assert (question, causes.base_of(question, label)) in there


def test_recipes_for_several_surrogates_and_with_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others, draw = script("imagenet.others"), np.random.default_rng(6)
    page = tmp_path / "results.md"
    page.write_text("before\n<!-- others: begin --><!-- others: end -->\nafter\n")
    monkeypatch.setattr(script("imagenet.tables"), "PAGE", page)
    names = list(script("common.photographs").VICTIMS)
    measured = [clean(draw, names, number) for number in range(2)]
    made = list(dict.fromkeys(others.attacks()))
    lines = []
    for number in range(2):
        for attack in made:
            told = line(draw, names, 0.6, **vars(attack), **{"pass": number})
            if attack.question == "targeted":  # half of what is wrong is the target, the class 507
                for name, said in told["predictions"].items():
                    told["predictions"][name] = [507 if c == 8 and draw.random() < 0.5 else c for c in said]
            lines.append(told)
        for surrogate in others.OWN_RULES:
            mean = f"mi >> ila-plus-plus(at={script('imagenet.measured').PLACES[surrogate]['middle']})"
            fields = {"surrogate": surrogate, "budget": "gradients", "pass": number}
            measured += [line(draw, names, 0.5, recipe=recipe, **fields) for recipe in ("mifgsm", mean, "ifgsm")]
    lines = [one for one in lines if (one["recipe"], one["budget"], one["pass"]) != ("mi-cwa", "steps", 1)]
    others.write(lines, measured)
    text = page.read_text()
    assert text.startswith("before")
    assert text.endswith("after\n")
    heads = [part for part in text.splitlines() if part.startswith("#### ")]
    assert len(heads) == 6

    def rows(head: str) -> dict[str, list[str]]:
        part = text.partition(head)[2].partition("####")[0]
        return {
            row.split(" | ")[0].removeprefix("| "): row.split(" | ") for row in part.splitlines() if row[:3] == "| `"
        }

    def wanted(told: list[dict[str, Any]], victims: list[str], target: bool = False) -> float:
        found = []
        for victim in victims:
            hits = []
            for one in told:
                known = measured[one["pass"]]["predictions"][victim]
                hits += [
                    now == 507 if target else now != 7
                    for was, now in zip(known, one["predictions"][victim], strict=True)
                    if was == 7
                ]
            found.append(np.mean(hits))
        return 100 * float(np.mean(found))

    six = [name for name in names if name not in others.OWN_RULES]
    both = rows("#### SqueezeNet and EdgeTPU together, about 100 gradients")
    assert len(both) == 7
    for attack in (one for one in made if one.question == "ensemble" and one.budget == "gradients"):
        told = [one for one in lines if all(one[name] == value for name, value in vars(attack).items())]
        assert both[others.name_of(told[0])][3].startswith(f"**{wanted(told, six):.0f}**")
    fewer = text.partition("#### SqueezeNet and EdgeTPU together, 20 steps")[2].splitlines()[2]
    assert fewer == f"{PHOTOGRAPHS} photographs, 6 victims."
    mixed = "`di(scale=8/7) + mi`, logits averaged"
    assert both[mixed.replace("`,", "`, each network with a rule of its own,")][6] == mixed
    assert both[mixed][6] == "`mi`, logits averaged"
    assert (
        "| `targeted-logit(scale=8/7)` | "
        in text.partition("`targeted-logit(scale=8/7) + linbp(")[2].partition("\n")[0]
    )

    aimed = rows(next(head for head in heads[2:] if "EdgeTPU, about" in head))
    told = [
        one
        for one in lines
        if (one["question"], one["surrogate"], one["recipe"]) == ("targeted", "mobilenet_edgetpu", "mi")
    ]
    seven = [name for name in names if name != "mobilenet_edgetpu"]
    assert aimed["`mi`"][3].startswith(f"**{wanted(told, seven, target=True):.0f}**")
    assert len([row for row in text.partition("### The fits of ILA++")[2].splitlines() if row.startswith("| `")]) == 8


def test_others_cost_what_they_may() -> None:
    others = script("imagenet.others")
    for attack in others.attacks():
        settings = attack.settings()
        assert attack.budget == "steps" or 88 < settings["gradients"] <= 100  # svre takes 12 a step
        assert settings["steps"] * settings["step_size"] >= 16 / 255 - 1e-9
        if attack.budget == "steps":
            assert settings["steps"] == 20
