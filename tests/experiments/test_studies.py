"""The tables that the pages of results show and link, recomputed from the studies' tables of results."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module as script
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from exhaustive import marked
from statsmodels.stats.proportion import proportion_confint

import linbp
from linbp.bench.faults import Faults
from linbp.bench.plan_recipes import configs_of, recipes_of
from linbp.bench.suite import read_suite

pytestmark = [pytest.mark.study, pytest.mark.usefixtures("scripts")]
ROOT = Path(__file__).parents[2]
STUDIES = {
    "cifar10": ("skips resnet18", "linear vgg19_bn"),
    "cifar10-wide": ("resnet18", "beside vgg19_bn 0.03"),
    "photographs": ("others ensemble gradients both", "contenders"),
    "causes": ("radius squeezenet1_1", "features mobilenet_edgetpu"),
    "refined": ("refined",),
    "equal-cost-squeezenet1_1": ("squeezenet1_1 100",),
    "equal-cost-mobilenet_edgetpu": ("mobilenet_edgetpu 20",),
    "equal-cost-cifar10": ("resnet18 100",),
    "equal-cost-250-cifar10": ("vgg19_bn 100", "vit_c 20"),
    "equal-cost-400-squeezenet1_1": ("squeezenet1_1 400",),
    "equal-cost-400-mobilenet_edgetpu": ("mobilenet_edgetpu 400",),
    "equal-cost-400-cifar10": ("cct2_3x2 400",),
    "equal-cost-fresh-cifar10": ("resnet18 100", "vit_c 100"),
    "equal-cost-fresh-squeezenet1_1": ("squeezenet1_1 100",),
    "equal-cost-fresh-mobilenet_edgetpu": ("mobilenet_edgetpu 100",),
    "equal-cost-again-cifar10": ("cct2_3x2 100",),
    "equal-cost-activation-cifar10": ("resnet18-gelu 100", "vit_c-relu 100"),
}
"""The studies, and those of their tables that are recomputed with intervals here."""
COMPARED = {
    "cifar10": "transfer vgg19_bn-early",
    "cifar10-wide": "resnet18",
    "photographs": "others targeted gradients mobilenet_edgetpu",
    "causes": "features mobilenet_edgetpu",
    "refined": "refined",
    "equal-cost-squeezenet1_1": "squeezenet1_1 20",
    "equal-cost-mobilenet_edgetpu": "mobilenet_edgetpu 100",
    "equal-cost-cifar10": "cct2_3x2 100, di-mi",
    "equal-cost-250-cifar10": "resnet18 20",
    "equal-cost-400-squeezenet1_1": "squeezenet1_1 400, di-mi",
    "equal-cost-400-mobilenet_edgetpu": "mobilenet_edgetpu 400",
    "equal-cost-400-cifar10": "vit_c 400",
    "equal-cost-fresh-cifar10": "vgg19_bn 100",
    "equal-cost-fresh-squeezenet1_1": "squeezenet1_1 100",
    "equal-cost-fresh-mobilenet_edgetpu": "mobilenet_edgetpu 100",
    "equal-cost-again-cifar10": "resnet18 100",
    "equal-cost-activation-cifar10": "vit_c-gelu 100",
}
"""A table of comparisons of each study that is recomputed with intervals and p."""
LARGEST = {
    *("cifar10", "cifar10-wide", "equal-cost-cifar10"),
    *("equal-cost-250-cifar10", "equal-cost-400-cifar10", "equal-cost-activation-cifar10"),
}
"""Those that take longest."""

PILOTS = ("62ebd5f7ce015380", "bc9a5e01c02e759e")
"""Photographs at equal cost that are among the first 24 of their list, on which parameters were chosen."""


def images_of(name: str) -> list[str]:
    """In the order of the list that the run was given."""
    file = ROOT / "experiments" / "results" / f"{name}.parquet"
    return [*dict.fromkeys(pq.read_table(file, columns=["image_id"])["image_id"].to_pylist())]


def not_counted(name: str) -> tuple[str, ...]:
    """The photographs that parameters were chosen on, and those that a pair of attacks was, before it was run again."""
    before = name.replace("-fresh-", "-")
    return PILOTS if before == name or "cifar10" in name else (*images_of(name)[:24], *images_of(before))


def filled(row: dict[str, str]) -> dict[str, str]:
    return {head: text for head, text in row.items() if text}


@pytest.mark.parametrize("name", STUDIES)
def test_rates_and_means_are_those_of_the_rows(name: str) -> None:
    """A second implementation: counted in SQL, without anything of linbp."""
    rows = script("study").read_csv(name)
    results = ROOT / "experiments" / "results" / f"{name}.parquet"
    found = duckdb.sql(f"""
        select surrogate, recipe, eps_text, steps, gradients, victim, count(*), avg(success::int)
        from '{results}'
        where selected and not white_box and success is not null and image_id not in {not_counted(name)} group by all
    """).fetchall()
    images = duckdb.sql(f"""
        select surrogate, recipe, eps_text, steps, count(distinct image_id)
        from '{results}' where image_id not in {not_counted(name)} group by all
    """).fetchall()
    made_of = {(*map(str, key),): count for *key, count in images}
    by_attack: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    gradients = {}
    for surrogate, recipe, eps, steps, cost, victim, _, rate in found:
        by_attack[surrogate, recipe, eps, str(steps)][victim] = rate
        gradients[surrogate, recipe, eps, str(steps)] = cost
    compared = 0
    for row in rows:
        key = row["surrogate"], row["recipe"], row["eps"], row["steps"]
        if made_of[key] != int(row["n"]):
            continue  # the table has only those images that all of its attacks were made of
        rates = {
            victim: rate for victim, rate in by_attack[key].items() if victim not in row.get("without", "").split()
        }
        assert len(rates) >= 4
        for victim, rate in rates.items():
            assert float(row[victim]) == pytest.approx(100 * rate, abs=0.0051)
        assert int(row["gradients"]) == gradients[key]
        assert float(row["mean"]) == pytest.approx(100 * np.mean([*rates.values()]), abs=0.0051)
        compared += 1
    assert compared > 0.6 * len(rows)


@pytest.mark.parametrize(("name", "of"), [(name, of) for name, tables in STUDIES.items() for of in tables])
def test_a_table_is_what_comes_out_of_the_results(name: str, of: str) -> None:
    study = script("study")
    rows = [row for row in study.read_csv(name) if row["table"] == of]
    again = study.rate_rows(study.Study(name), rows)
    assert len(rows) > 1
    assert [filled(row) for row in again] == [filled(row) for row in rows]


@pytest.mark.parametrize("name", marked(COMPARED, LARGEST))
def test_a_table_of_comparisons_is_what_comes_out_of_the_results(name: str) -> None:
    study = script("study")
    rows = [row for row in study.read_csv(f"{name}-differences") if row["table"] == COMPARED[name]]
    assert study.difference_rows(study.Study(name), rows) == rows


@pytest.mark.parametrize(
    "name", ["cifar10.md", "cifar10-wide.md", "results.md", "causes.md", "edgetpu.md", "refine.md", "equal-cost.md"]
)
def test_a_page_shows_what_the_tables_hold(name: str) -> None:
    page = (ROOT / "docs" / name).read_text()
    assert script("pages").written(name, page) == page
    assert len(page.splitlines()) <= 400


def test_the_table_of_wide_networks_is_that_of_their_cards() -> None:
    page = (ROOT / "docs" / "cifar10-wide.md").read_text()
    cards = sorted((ROOT / "experiments" / "results" / "cifar10" / "wide" / "networks").glob("*[!g].json"))
    assert len(cards) == 6
    for path in cards:
        card = json.loads(path.read_text())
        settings, right = card["settings"], card["accuracy"]["right"]
        shown = re.search(rf"^\| `{path.stem}` \| (.*) \|$", page, re.MULTILINE)
        assert shown is not None
        seed, epochs, unshifted, smoothing, highest, accuracy = shown[1].split(" | ")
        assert (int(seed), int(epochs)) == (card["seed"], settings["epochs"])
        assert int(unshifted) == round(settings["unshifted"] * settings["epochs"])
        assert float(smoothing) == settings["label_smoothing"]
        assert float(highest) == pytest.approx(settings["learning_rate"] * settings["batch_size"] / 128)
        low, high = proportion_confint(right, card["accuracy"]["n"], method="wilson")
        assert accuracy == f"{right / 100:.2f} [{100 * low:.1f}, {100 * high:.1f}]"


def test_two_versions_of_a_network_differ_in_their_activations_and_are_as_accurate_as_the_page_says() -> None:
    page = (ROOT / "docs" / "equal-cost.md").read_text()
    cards = {
        path.stem: json.loads(path.read_text())
        for path in (ROOT / "experiments" / "results" / "activation").glob("*.json")
    }
    assert len(cards) == 4
    own = {"resnet18": "relu", "vit_c": "gelu"}
    for name, card in cards.items():
        network, _, activation = name.partition("-")
        assert card["architecture"] == network
        assert (card["settings"]["activation"] or own[network]) == activation
        other = cards[f"{network}-{'gelu' if activation == 'relu' else 'relu'}"]
        differing = {key for key, value in card["settings"].items() if value != other["settings"][key]}
        assert differing == {"activation"}
        assert f"{card['accuracy']['right'] / 100:.2f}%" in page


def test_how_a_leak_turns_the_gradient_is_what_comes_out_of_the_cosines() -> None:
    """The table is the page's; its means are counted again in SQL, without anything of linbp."""
    directions = script("directions")
    body = directions.table()
    page = (ROOT / "docs" / "equal-cost.md").read_text()
    assert script("pages").between(page, "directions", directions.markdown(directions.HEADS, body, left=2)) == page
    file = ROOT / "experiments" / "results" / "directions.parquet"
    found = duckdb.sql(f"""
        select surrogate, transform, step, avg(plain), avg(leak), count(*) from (
            select surrogate, transform, step, victim, 100 * avg(plain) plain, 100 * avg(leak) leak
            from '{file}' where counted group by all
        ) group by all
    """).fetchall()
    means = {(name, transform, step): (plain, leak, leak - plain) for name, transform, step, plain, leak, _ in found}
    assert {count for *_, count in found} == {7}
    names = {called: name for name, called in directions.SURROGATES.items()}
    shown = {
        (names[row[0]], row[1], step): [float(cell.split(" <")[0]) for cell in row[2 + 3 * place : 5 + 3 * place]]
        for row in body
        for place, step in enumerate(directions.STEPS)
    }
    assert shown.keys() == means.keys()
    for key, figures in shown.items():
        assert figures == pytest.approx(means[key], abs=0.051)
        assert figures[2] == pytest.approx(means[key][2], abs=0.0051)
    images = duckdb.sql(f"select count(distinct image), min(image), max(image), count(*) from '{file}'").fetchall()
    assert images == [(300, 300, 599, 4 * 2 * 2 * 7 * 300)]


@pytest.mark.parametrize("name", ["attacks", "gains", "blocks", "sites", "compounding", "ranks", "predictor"])
def test_a_table_about_edgetpu_is_what_comes_out_of_the_lines(name: str) -> None:
    """In its CSV, or where it has none on the page."""
    lines = script("common.lines").read_lines(ROOT / "experiments" / "results" / "edgetpu" / "measured.jsonl")
    heads, rows, *_ = getattr(script("edgetpu.tables"), name)(lines)
    assert len(rows) > 5
    path = ROOT / "docs" / "tables" / f"edgetpu-{name}.csv"
    if path.is_file():
        assert [heads, *rows] == [*csv.reader(path.read_text().splitlines())]
        return
    page = (ROOT / "docs" / "edgetpu.md").read_text()
    marked = page.partition(f"<!-- {name}: begin -->")[2].partition(f"<!-- {name}: end -->")[0].splitlines()
    shown = [line.strip()[2:-2].replace("\\|", "¦").split(" | ") for line in marked if line.strip().startswith("| ")]
    assert [[head.replace("|", "¦") for head in heads], *rows] == shown


def test_the_table_of_patterns_is_that_of_the_csv() -> None:
    page = (ROOT / "docs" / "edgetpu.md").read_text()
    stored = {(row["eps"], row["perturbation"]): row for row in script("study").read_csv("edgetpu-patterns")}
    names = {name for _, name in stored if name not in ("fgsm", "mdi2fgsm", "linbp(start=20)")}
    for name in names:
        shown = re.search(rf"^\| `?{re.escape(name)}`? \| (.*) \|$", page.partition("## A larger radius")[2], re.M)
        assert shown is not None
        cells = shown[1].split(" | ")
        for eps, (own, other, levels) in {"8/255": cells[:3], "16/255": cells[3:]}.items():
            row = stored[eps, name]
            expected = (
                (row["victims"], row["on another image: victims"])
                if "linbp" in name or name == "ifgsm"
                else ("", row["victims"])
            )
            assert (own.strip(), other, levels) == (*expected, row["levels"])


def test_the_table_of_criteria_is_that_of_the_stored_rises() -> None:
    """`docs/position.md`: what the position that a criterion chooses is worth on the networks that were not asked."""
    stored = ROOT / "experiments" / "results" / "imagenet" / "choose_start.jsonl"
    rises: dict[tuple[str, str], dict[str, dict[str, float]]] = defaultdict(dict)
    for line in map(json.loads, stored.read_text().splitlines()):
        means = {asked: float(np.mean(values)) for asked, values in line["rises"].items()}
        rises[line["surrogate"], line["eps"]][line["recipe"]] = means
    names = {"SqueezeNet 1.1": "squeezenet1_1", "EdgeTPU": "mobilenet_edgetpu"}
    rows = re.findall(r"^\| (SqueezeNet 1.1|EdgeTPU) \| (.*) \|$", (ROOT / "docs" / "position.md").read_text(), re.M)
    assert len(rows) == 28
    for name, rest in rows:
        eps, criterion, site, worth, best, worst, ordinary = rest.split(" | ")
        found = rises[names[name], eps]
        others = [asked for asked in found["ifgsm"] if asked.count("_") and asked != names[name]]
        asked = [one for one in found["ifgsm"] if one not in others]
        if criterion.startswith("proxy"):
            asked = [criterion.removeprefix("proxy ")]
            others = [one for one in others if one not in asked]
        elif criterion == "its own loss":
            asked = ["itself"]
        else:
            asked = [one for one in asked if one.startswith("noise on weights") == ("noise" in criterion)]
            asked.remove("itself") if "itself" in asked else None
        sites = {recipe: told for recipe, told in found.items() if recipe != "ifgsm"}
        score = {recipe: np.mean([told[one] for one in asked]) for recipe, told in sites.items()}
        value = {recipe: np.mean([told[one] for one in others]) for recipe, told in sites.items()}
        chosen, top = max(score, key=score.__getitem__), max(value, key=value.__getitem__)
        assert chosen == f"linbp(start={site})"
        assert worth == f"**{value[chosen]:.2f}**"
        assert best == f"{value[top]:.2f} ({top[len('linbp(start=') : -1]})"
        assert worst == f"{min(value.values()):.2f}"
        assert ordinary == f"{np.mean([found['ifgsm'][one] for one in others]):.2f}"


SUITES = sorted((ROOT / "experiments" / "suites").glob("*.toml"))
OF_AUDITS = [path for path in SUITES if path.stem.startswith("exposure-")]
AT_EQUAL_COST = [path for path in SUITES if path.stem.startswith("equal-cost-")]


@pytest.mark.parametrize("path", AT_EQUAL_COST, ids=lambda path: path.stem)
def test_every_attack_at_equal_cost_is_in_the_results_and_in_its_tables(path: Path) -> None:
    suite, _ = read_suite(path)
    faults = Faults()
    recipes = recipes_of(suite, faults)
    configs = configs_of(suite, recipes, None, faults)
    assert not faults.found
    asked = {
        (surrogate, name, eps, str(steps)): config.recipe.gradients(steps, 1)
        for (surrogate, name, eps, steps), config in configs.items()
    }
    budgets = suite.cost.gradients or ()
    for attack in {key[:2] for key in asked}:
        assert sum(key[:2] == attack for key in asked) >= len(budgets) - 1  # all but the smallest pay for each of them
    study = script("study")
    assert {*study.Study(path.stem).attacks} == {*asked}
    rows = study.read_csv(path.stem)
    assert {study.key_of(row): int(row["gradients"]) for row in rows} == asked
    for row in rows:
        least, most = (int(row["table"].split()[-1]) * share for share in (0.5, 1))
        assert least <= int(row["gradients"]) <= most
    compared = study.read_csv(f"{path.stem}-differences")
    for table in {row["table"] for row in rows}:
        assert (
            len([row for row in compared if row["table"] == table])
            == len([row for row in rows if row["table"] == table]) - 1
        )


def means_at(name: str) -> dict[str, dict[str, dict[int, float]]]:
    """By surrogate, recipe and budget, of a table at equal cost."""
    found: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in script("study").read_csv(name):
        found[row["surrogate"]][row["recipe"]][int(row["table"].split()[-1])] = float(row["mean"])
    return found


def can_lead(of: dict[str, dict[int, float]]) -> set[str]:
    """What the page says: a recipe's mean with 100 gradients and again its gain since 20 reach the best with LinBP."""
    top = max(mean[100] for recipe, mean in of.items() if "linbp" in recipe)
    gains = {recipe: mean[100] - mean[20] if 20 in mean else 15 for recipe, mean in of.items()}
    return {recipe for recipe, mean in of.items() if mean[100] + max(0, gains[recipe]) >= top}


def best_three_of_each_kind(of: dict[str, dict[int, float]]) -> set[str]:
    order = sorted(of, key=lambda recipe: -of[recipe][100])
    return {recipe for kind in (True, False) for recipe in [one for one in order if ("linbp" in one) == kind][:3]}


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("squeezenet1_1", can_lead), ("cifar10", can_lead), ("mobilenet_edgetpu", best_three_of_each_kind)],
)
def test_what_gets_400_gradients_was_chosen_by_the_rule_on_the_page(
    name: str, chosen: Callable[[dict[str, dict[int, float]]], set[str]]
) -> None:
    measured = means_at(f"equal-cost-400-{name}")
    for surrogate, of in means_at(f"equal-cost-{name}").items():
        assert {*measured[surrogate]} == chosen(of) | {"di-mi", "linbp-di-mi"}


def best_pairs(name: str) -> dict[str, set[str]]:
    """With 100 gradients, by table: the first comparison of each."""
    rows = [row for row in script("study").read_csv(f"{name}-differences") if row["table"].endswith(" 100")]
    return {row["table"]: {row["recipe"], row["against"]} for row in reversed(rows)}


def test_the_best_pairs_are_compared_again_on_images_that_they_were_not_chosen_on() -> None:
    chosen, fresh = best_pairs("equal-cost-cifar10"), best_pairs("equal-cost-fresh-cifar10")
    assert chosen == fresh
    more, again = best_pairs("equal-cost-250-cifar10"), best_pairs("equal-cost-again-cifar10")
    assert again == {table: pair for table, pair in more.items() if pair != chosen[table]}
    first, larger = ({*images_of(f"equal-cost-{name}")} for name in ("cifar10", "250-cifar10"))
    assert (len(first), len(larger)) == (100, 250)
    assert first < larger
    other = {*images_of("equal-cost-fresh-cifar10")}
    assert len(other) == 300
    assert other == {*images_of("equal-cost-again-cifar10")}
    assert not first & other
    assert len(larger & other) == 4
    for name in ("squeezenet1_1", "mobilenet_edgetpu"):
        again = f"equal-cost-fresh-{name}"
        assert best_pairs(f"equal-cost-{name}") == best_pairs(again)
        assert len({*images_of(again)} - {*not_counted(again)}) == 254


@pytest.mark.parametrize(
    "path", [path for path in SUITES if path not in OF_AUDITS + AT_EQUAL_COST], ids=lambda path: path.stem
)
def test_a_suite_is_valid_and_what_it_asks_for_is_in_the_results(path: Path) -> None:
    suite, _ = read_suite(path)
    name = next(name for name in ("cifar10-wide", "cifar10", "photographs", "refined") if path.stem.startswith(name))
    attacks = script("study").Study(name).attacks
    models = {victim.model for victim in suite.victims}
    for surrogate in suite.surrogates:
        assert set(surrogate.models) <= models or "-" in surrogate.name or "spread" in surrogate.name
        for recipe in suite.recipes:
            linbp.Recipe.parse(recipe.recipe)
            for eps in suite.eps:
                there = (surrogate.name, recipe.recipe, eps, str(suite.cost.steps)) in attacks or (
                    recipe.on is not None and surrogate.name not in recipe.on
                )
                assert there or ("spread" in surrogate.name and "gamma=0.2" not in recipe.recipe)


@pytest.mark.parametrize("path", OF_AUDITS, ids=lambda path: path.stem)
def test_what_the_choice_of_audits_attacks_was_made_from_is_in_its_results(path: Path) -> None:
    suite, _ = read_suite(path)
    file = f"{path.stem.removeprefix('exposure-').removesuffix('-long')}.parquet"
    names = ["surrogate", "recipe", "eps_text", "steps", "victim"]
    rows = pq.read_table(ROOT / "experiments" / "results" / "exposure" / file, columns=names).unify_dictionaries()
    there = {tuple(row[name] for name in names) for row in rows.group_by(names).aggregate([]).to_pylist()}
    (eps,) = suite.eps
    for recipe in suite.recipes:
        for surrogate in recipe.on or [one.name for one in suite.surrogates]:
            for victim in suite.victims:
                assert (surrogate, recipe.name, eps, suite.cost.steps, victim.name) in there


def test_an_attack_that_is_not_there_is_named() -> None:
    study = script("study")
    with pytest.raises(KeyError, match=r"no attack .*never"):
        study.Study("cifar10-wide").answers([("resnet18", "never", "0.1", "100")])
