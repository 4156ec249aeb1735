"""The scripts that attack photographs, on small networks: what is divided, and what is not done again."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module as script
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import linbp
from linbp.attack import Recipe

PHOTOGRAPHS = 9
PASS = 2
SIDE = 12
NAMES = ("squeezenet1_1", "mobilenet_edgetpu")
RECIPES = ["fgsm", "pgd", "linbp(start=1)", "admix-mifgsm"]
pytestmark = [pytest.mark.study, pytest.mark.usefixtures("scripts")]


def network(name: str) -> linbp.Model:
    """A small network of its own for each name."""
    torch.manual_seed(len(name))
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
    )
    return linbp.Model(module.eval(), input_size=(3, SIDE, SIDE), name=name)


def photographs() -> tuple[list[str], torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (PHOTOGRAPHS, 3, SIDE, SIDE), dtype=torch.uint8, generator=draw)
    return [f"photograph {k}" for k in range(PHOTOGRAPHS)], images, torch.arange(PHOTOGRAPHS) % 5


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What all scripts take networks, photographs and passes from, with small ones; results go into a new folder."""
    for name in ("recipes", "contenders", "causes", "others"):
        script(f"imagenet.{name}")  # before anything is changed that they copy when they are imported
    found, measured = script("common.photographs"), script("imagenet.measured")
    changes = {"network": network, "photographs": photographs, "VICTIMS": dict(zip(NAMES, NAMES, strict=True))}
    for name, value in {**changes, "PASS": PASS, "STEPS": 2}.items():
        monkeypatch.setattr(found, name, value)
    for name, value in {"GRADIENTS": 32, "STEPS": 2}.items():
        monkeypatch.setattr(measured, name, value)
    for name in ("TRANSFER", "CONTENDERS"):
        monkeypatch.setattr(measured, name, tmp_path / f"{name.lower()}.jsonl")
    return found


@pytest.fixture
def recipes(photos: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found = script("imagenet.recipes")
    for name, value in {"recipes": lambda name: RECIPES, "RESULTS": tmp_path / "recipes.jsonl"}.items():
        monkeypatch.setattr(found, name, value)
    return found


def lines_of(module: ModuleType) -> list[dict[str, Any]]:
    return script("common.lines").read_lines(module.RESULTS)


def told(lines: Sequence[dict[str, Any]], *names: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """What each attack on each pass gave; an attack that was run twice fails."""
    found = {tuple(line.get(name) for name in names): (line["predictions"], line.get("sha256")) for line in lines}
    assert len(found) == len(lines)
    return found


@pytest.mark.parametrize(("text", "expected"), [("1/1", (1, 1)), ("2/12", (2, 12))])
def test_a_share_is_read(text: str, expected: tuple[int, int]) -> None:
    assert script("common.lines").share_of(text) == expected


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "-1/2", "one/two"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no share; write 1/2 and 2/2"):
        script("common.lines").share_of(text)


def test_every_piece_belongs_to_one_process() -> None:
    is_mine = script("common.lines").is_mine
    for count in (1, 2, 5):
        for number in range(12):
            assert sum(is_mine(number, (process, count)) for process in range(1, count + 1)) == 1


def test_dear_attacks_come_first_in_their_group(recipes: ModuleType) -> None:
    todo = recipes.tasks(NAMES, range(5), [*recipes.BUDGETS], 2)
    assert [list(group) for group in dict.fromkeys(tuple(group) for group, *_ in todo)] == [[0, 1], [2, 3], [4]]
    every = {(name, budget, text) for name in NAMES for budget in [*recipes.BUDGETS] for text in RECIPES}
    for first in range(0, len(todo), len(every)):
        part = todo[first : first + len(every)]
        assert len({tuple(group) for group, *_ in part}) == 1
        assert {(name, budget, text) for _, name, budget, text in part} == every
        costs = [
            script("imagenet.measured").cost(Recipe.parse(text), budget)["gradients"] for _, _, budget, text in part
        ]
        assert costs == sorted(costs, reverse=True)
        assert costs[0] > costs[-1]


def test_neither_groups_nor_processes_change_what_is_found(
    recipes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = range(5)  # the last one has a single photograph
    recipes.compute(recipes.tasks(NAMES, passes, [*recipes.BUDGETS], 1), (1, 1), "cpu", False)
    names = ("surrogate", "budget", "recipe", "pass")
    alone = told(lines_of(recipes), *names)
    assert len(alone) == len(passes) + len(passes) * len(NAMES) * len([*recipes.BUDGETS]) * len(RECIPES)
    assert {len(predictions["squeezenet1_1"]) for predictions, _ in alone.values()} == {1, PASS}
    first = linbp.craft(
        network(NAMES[0]),
        photographs()[1][2:4],
        photographs()[2][2:4],
        "pgd",
        eps="16/255",
        steps=2,
        step_size="1/255",
        ids=photographs()[0][2:4],
    )
    known = script("common.photographs").answers(script("common.photographs").victims_on("cpu", False), first)
    assert alone[NAMES[0], "steps", "pgd", 1] == (known["predictions"], known["sha256"])

    monkeypatch.setattr(recipes, "RESULTS", tmp_path / "divided.jsonl")
    todo = recipes.tasks(NAMES, passes, [*recipes.BUDGETS], 3)
    for process in (2, 1, 3):
        recipes.compute(todo, (process, 3), "cpu", False)
    assert told(lines_of(recipes), *names) == alone
    before = recipes.RESULTS.read_bytes()
    recipes.compute(recipes.tasks(NAMES, passes, [*recipes.BUDGETS], 2), (1, 1), "cpu", False)
    assert recipes.RESULTS.read_bytes() == before


@pytest.fixture
def asked(photos: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int]]]:
    """Recipes and passes that were attacked, as they are."""
    found: list[tuple[str, list[int]]] = []
    craft: Callable[..., dict[int, torch.Tensor]] = photos.craft_passes

    def counted(surrogate: Any, passes: Sequence[int], recipe: Recipe, *rest: Any, **settings: Any) -> Any:
        found.append((str(recipe), list(passes)))
        return craft(surrogate, passes, recipe, *rest, **settings)

    monkeypatch.setattr(photos, "craft_passes", counted)
    return found


def test_what_is_known_is_not_attacked_again(
    recipes: ModuleType, asked: list[tuple[str, list[int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attacks at equal steps that the other scripts have made, at this radius; passes in the middle of a group."""
    add_line = script("common.lines").add_line
    had = {"surrogate": NAMES[0], "recipe": "pgd", "predictions": {}, "device": "one of theirs", "seconds": 1.5}
    add_line(script("imagenet.measured").TRANSFER, {**had, "eps": "16/255", "pass": 1, "sha256": "first"})
    add_line(script("imagenet.measured").TRANSFER, {**had, "eps": "8/255", "pass": 2, "sha256": "smaller"})
    add_line(script("imagenet.measured").CONTENDERS, {**had, "eps": "16/255", "pass": 3, "sha256": "third"})
    monkeypatch.setattr(recipes, "recipes", lambda name: ["pgd"])
    recipes.compute(recipes.tasks(NAMES[:1], range(4), ["steps"], 4), (1, 1), "cpu", False)
    assert asked == [(str(Recipe.parse("pgd")), [0, 2])]
    made = {line["pass"]: line for line in lines_of(recipes) if line["surrogate"]}
    assert {number: made[number]["from"] for number in (1, 3)} == {1: "transfer.jsonl", 3: "contenders.jsonl"}
    assert (made[1]["sha256"], made[3]["sha256"]) == ("first", "third")
    assert made[1]["device"] == made[3]["device"] == "one of theirs"
    assert {len(made[number]["predictions"]["squeezenet1_1"]) for number in (0, 2)} == {PASS}


@pytest.mark.parametrize("apart", [True, False], ids=["in two calls", "in one"])
def test_two_budgets_that_come_to_the_same_are_attacked_once(
    recipes: ModuleType, asked: list[tuple[str, list[int]]], monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    """Twenty gradients in twenty steps: SI at equal gradients is SI at equal steps, I-FGSM is not."""
    monkeypatch.setattr(recipes, "recipes", lambda name: ["fgsm", "sifgsm", "ifgsm"])
    monkeypatch.setattr(script("imagenet.measured"), "GRADIENTS", 100)
    monkeypatch.setattr(script("imagenet.measured"), "STEPS", 20)
    for budgets in (["gradients"], ["steps"]) if apart else ([*recipes.BUDGETS],):
        recipes.compute(recipes.tasks(NAMES[:1], range(1), budgets, 1), (1, 1), "cpu", False)
    assert sorted(text for text, _ in asked) == sorted(
        str(Recipe.parse(text)) for text in ("fgsm", "sifgsm", "ifgsm", "ifgsm")
    )
    found = {(line["budget"], line["recipe"]): line for line in lines_of(recipes) if line["surrogate"]}
    for text in ("fgsm", "sifgsm"):
        assert found["steps", text]["sha256"] == found["gradients", text]["sha256"]
        assert "recipes.jsonl" in {found[budget, text].get("from") for budget in [*recipes.BUDGETS]}
    assert found["steps", "ifgsm"]["sha256"] != found["gradients", "ifgsm"]["sha256"]
    surrogate = linbp.Surrogate(network(NAMES[0]))
    again = script("common.photographs").craft_passes(
        surrogate, [0], Recipe.parse("sifgsm"), "16/255", steps=20, step_size="1/255"
    )
    adv = script("common.photographs").answers(script("common.photographs").victims_on("cpu", False), again[0])
    assert adv["sha256"] == found["steps", "sifgsm"]["sha256"]


@pytest.mark.parametrize("other", [{"step_size": "2/255"}, {"steps": 3}], ids=["step size", "steps"])
def test_what_was_run_with_other_numbers_is_attacked(
    recipes: ModuleType, asked: list[tuple[str, list[int]]], monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    """The same recipe with as many steps of another size, and a line from when the script had other steps."""
    monkeypatch.setattr(recipes, "recipes", lambda name: ["ifgsm"])
    line = {"surrogate": NAMES[0], "budget": "gradients", "recipe": "ifgsm", "pass": 0, "steps": other.get("steps", 2)}
    script("common.lines").add_line(recipes.RESULTS, {**line, "predictions": {}, "sha256": "other"})
    known = {"steps": 2, "step_size": other.get("step_size", "1/255")}
    settings = script("imagenet.measured").settings
    monkeypatch.setattr(
        script("imagenet.measured"),
        "settings",
        lambda recipe, budget, members=1: known if budget == "gradients" else settings(recipe, budget, members),
    )
    recipes.compute(recipes.tasks(NAMES[:1], range(1), ["steps"], 1), (1, 1), "cpu", False)
    assert [passes for _, passes in asked] == [[0]]


def test_the_dearest_recipes_can_be_left_out(recipes: ModuleType) -> None:
    whole = recipes.tasks(NAMES, range(2), ["steps"], 1)
    part = recipes.tasks(NAMES, range(2), ["steps"], 1, most=4)
    assert {text for *_, text in whole} - {text for *_, text in part} == {"admix-mifgsm"}
    assert part == [task for task in whole if task[3] != "admix-mifgsm"]


def test_contenders_in_groups_are_those_of_single_passes(
    photos: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contenders = script("imagenet.contenders")
    found = []
    for count in (1, 3):
        monkeypatch.setattr(contenders, "RESULTS", tmp_path / f"{count} together.jsonl")
        groups = photos.together(range(1, 5), count)
        contenders.compute(NAMES[0], ["ifgsm", "linbp(start=1) + mi"], photos.RADII, groups, "cpu", False)
        lines = lines_of(contenders)
        found.append(told(lines, "surrogate", "recipe", "eps", "pass"))
        steps = {line["mean_levels"] for line in lines if line["surrogate"]}
        assert all(0 < levels <= 16 for levels in steps)
    assert found[0] == found[1]
    assert len(found[0]) == 4 + 4 * 2 * 2


@pytest.mark.filterwarnings("ignore:std")  # a small network has none of these photographs right
def test_attacks_about_causes_run_once_each(
    photos: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    causes = script("imagenet.causes")
    kinds = (("fgsm",), ("ifgsm",), ("ifgsm", "filled"), ("fgsm", "shrunk"))
    made = [*(causes.Attack("radius", *kind, steps=4) for kind in kinds), causes.Attack("objective", "ifgsm", steps=3)]
    changes = {"RESULTS": tmp_path / "causes.jsonl", "STARTS": {NAMES[0]: 1}, "attacks": lambda name: made}
    for name, value in changes.items():
        monkeypatch.setattr(causes, name, value)
    for _ in range(2):
        causes.compute(NAMES[0], range(2), ["radius", "objective"], False)
    lines = lines_of(causes)
    told([line for line in lines if "predictions" in line], "surrogate", "question", "recipe", "pass")
    assert len(lines) == 1 + 2 + 2 * len(made)
    by_attack = {(line["question"], line["recipe"]): line for line in lines if line["pass"] == 1}
    fgsm, ifgsm, filled, shrunk = (by_attack["radius", attack.label] for attack in made[:4])
    ids, images, labels = photographs()
    given = {"eps": "16/255", "steps": 4, "step_size": "1/255", "ids": ids[2:4]}
    adv = linbp.craft(network(NAMES[0]), images[2:4], labels[2:4], "ifgsm", **given)
    victims = photos.victims_on("cpu", False)
    assert ifgsm["sha256"] == photos.answers(victims, adv)["sha256"]
    moved = script("common.moved_on").moved_on(adv, images[2:4], 16)
    assert filled["sha256"] == photos.answers(victims, moved)["sha256"]
    assert ifgsm["mean_levels"] < filled["mean_levels"]
    assert shrunk["mean_levels"] == pytest.approx(ifgsm["mean_levels"], abs=0.6)
    assert shrunk["mean_levels"] < fgsm["mean_levels"] <= 16
    assert set(by_attack["objective", made[4].label]["standing"]) == set(NAMES)


def test_ensembles_and_targets_run_once_each(
    photos: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = script("imagenet.others")
    made = [
        others.Attack("ensemble", others.BOTH, "mi", "steps", "logits"),
        others.Attack("ensemble", others.BOTH, "mi", "steps", "logits", own_rules=True),
        others.Attack("targeted", NAMES[1], "ifgsm", "steps"),
    ]
    changes = {"RESULTS": tmp_path / "others.jsonl", "attacks": lambda: made, "CLASSES": 5, "SHIFT": 2}
    for name, value in changes.items():
        monkeypatch.setattr(others, name, value)
    for _ in range(2):
        others.compute(["ensemble", "targeted"], range(1), False)
    lines = lines_of(others)
    assert len({line["sha256"] for line in lines}) == len(lines) == 3
    assert [line["gradients"] for line in lines] == [4, 4, 2]
    ids, images, labels = photographs()
    given = {"eps": "16/255", "steps": 2, "step_size": "1/255", "ids": ids[:2], "targets": (labels[:2] + 2) % 5}
    adv = linbp.craft(network(NAMES[1]), images[:2], labels[:2], "ifgsm", **given)
    assert lines[2]["sha256"] == photos.answers(photos.victims_on("cpu", False), adv)["sha256"]
