"""The grammar of recipes: what is read, what is written, and what each mistake says."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linbp.attack import DiverseInputs, FullStep, Momentum, RandomStart, Recipe, Sign, Stage, UniformNoise
from linbp.errors import LinbpError, RecipeError
from linbp.registry.grammar import parse_stages, write_value
from linbp.rules import SGM, LinBP

paths = st.from_regex(r"[a-z_][a-z0-9_]{0,6}(\.[a-z0-9_]{1,4}){0,3}", fullmatch=True)
positions = st.one_of(
    st.integers(0, 99), st.floats(0, 0.999), paths, st.from_regex(r"[0-9]{1,2}\.[0-9]{1,2}", fullmatch=True)
)
rules = st.builds(
    LinBP,
    start=positions,
    rebalance=st.sampled_from(["branch", "site", None]),
    gamma=st.floats(0, 10),
    sites=st.one_of(
        st.sampled_from(["inside", "outside", "all", None]),
        st.lists(st.integers(0, 50), min_size=1, max_size=4).map(tuple),
    ),
)
stages = st.builds(
    Stage,
    rules=st.one_of(st.just(()), rules.map(lambda rule: (rule,)), rules.map(lambda rule: (rule, SGM(gamma=0.25)))),
    transforms=st.sampled_from(
        [(), (DiverseInputs(),), (UniformNoise(radius=0.3), DiverseInputs(scale=1.25, interpolation="bilinear"))]
    ),
    start=st.sampled_from([None, RandomStart(), RandomStart(radius=0.125)]),
    update=st.one_of(st.just(Sign()), st.just(FullStep()), st.builds(Momentum, decay=st.floats(0.01, 2))),
)
recipes = stages.map(lambda stage: Recipe(stages=(stage,)))


@given(recipes)
def test_a_recipe_survives_being_written(recipe: Recipe) -> None:
    assert Recipe.parse(str(recipe)) == recipe
    assert Recipe.from_dict(recipe.to_dict()) == recipe


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_in_one_way(text: str) -> None:
    try:
        recipe = Recipe.parse(text)
    except LinbpError as caught:
        told = bool(caught.message and caught.hint)
    else:
        told = Recipe.parse(str(recipe)) == recipe
    assert told


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), paths, st.booleans(), st.none()))
def test_a_value_survives_being_written(value: object) -> None:
    ((term,),) = parse_stages(f"name(key={write_value(value)})")
    assert term.options == {"key": value}
    assert type(term.options["key"]) is type(value)


def test_named_recipes_are_the_sums_they_say() -> None:
    assert Recipe.parse("ifgsm") == Recipe()
    assert Recipe.parse("mifgsm") == Recipe.parse("mi") == Recipe.of([Momentum(decay=1.0)])
    assert Recipe.parse("pgd + mi") == Recipe.parse("mi + random-start")
    assert Recipe.parse("mdi2fgsm") == Recipe.parse("di(scale=8/7) + mi")
    assert Recipe.parse("  linbp ( start = 'layer3.1' ,gamma=5e-1)+di") == Recipe.of(
        [LinBP(start="layer3.1", gamma=0.5), DiverseInputs()]
    )


@pytest.mark.parametrize(
    ("text", "says", "hints"),
    [
        ("lnbp(start=3)", "'lnbp'", "'linbp'"),
        ("nothing-like-it", "'nothing-like-it'", "Known: "),
        ("linbp(strat=3)", "'strat'", "'start'"),
        ("fgsm(step=3)", "'step'", "takes none"),
        ("linbp(start=3) + linbp(start=4)", "linbp stands twice", "Leave one out"),
        ("di + di", "di stands twice", "Leave one out"),
        ("mi + fgsm", "mi and fgsm both say how a gradient becomes a step", "no effect"),
        ("ifgsm + mi", "ifgsm and mi both", "no effect"),
        ("pgd + random-start", "pgd and random-start both say where", "no effect"),
        ("mi(decay=0)", "mi(decay=0)", "at least"),
        ("di(probability=1.5)", "di(probability=1.5)", "from"),
        ("di(probability=often)", "di(probability=often)", "number"),
        ("di(interpolation=cubic)", "cubic", "nearest, bilinear"),
        ("sgm(gamma=1)", "no effect", "below 1"),
        ("linbp(start=3, rebalance=batch)", "batch", "branch, site, none"),
        ("linbp(start=3, sites=[])", "names no sites", "sites=[3, 5]"),
        ("linbp(start=3, gamma=-1)", "gamma=-1", "at least 0"),
        ("linbp(start=3", "expected , or )", "sum of names"),
        ("linbp(start=3)) + mi", "expected +", "sum of names"),
        ("+ mi", "expected the name", "sum of names"),
        ("mi + ", "at the end", "sum of names"),
        ("mi mi", "expected +, >> or the end", "sum of names"),
        ("mi(decay=1/0)", "division by zero", "sum of names"),
        ("mi(decay=1, decay=1)", "decay twice", "Leave one out"),
        ("", "empty", "ifgsm"),
        (" \n", "empty", "ifgsm"),
        (">> mi", "expected the name", "sum of names"),
        ("mi >>", "at the end", "sum of names"),
        ("mi >> >> ila", "before '>> ila'", "sum of names"),
        ("mi > ila", "before '> ila'", "sum of names"),
        ("mi(0.5)", "mi(decay=...)", "sum of names"),
        ("mi(decay 0.5)", "expected = after decay", "sum of names"),
        ("mi(decay=[0.5", "expected , or ]", "sum of names"),
        ("linbp（start=3）", "'（start=3）'", "type ("),
        ("mi − di", "'− di'", "minus sign"),
        ("mi(decay=“1”)", "expected a value", "quotation mark"),
        ("MI", "'MI'", "'mi'"),
        ("I-FGSM", "'I-FGSM'", "'ifgsm'"),
        ("di(scale=[1, 2])", "di(scale=[1, 2])", "number"),
        ("mi(decay=true)", "mi(decay=True)", "number"),
        (f"mi(decay={'9' * 5000})", "smaller number", "sum of names"),
        (f"mi(decay=1/{'9' * 400})", "smaller number", "sum of names"),
        (f"mi(decay={'[' * 5000})", "lists", "sum of names"),
        ("mi >> di", "di makes no use of the stage", "leave the first one out"),
    ],
)
def test_mistakes_are_named(text: str, says: str, hints: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(text)
    assert says in caught.value.message
    assert hints in caught.value.hint


def test_dicts_that_are_no_recipes_are_refused() -> None:
    for data, says in (
        ({"rule": []}, "'rule'"),
        ({"update": {"decay": 1}}, "no part"),
        ({"update": "mi"}, "update"),
        ({"update": {"name": "mdi2fgsm"}}, "whole recipe"),
        ({"transforms": [{"name": "mi"}]}, "no transform"),
        ({"stages": [], "text": "mi"}, "no stage"),
        ({"stages": 3}, "stages"),
        ({"stages": [{}], "name": "mi"}, "'name'"),
    ):
        with pytest.raises(RecipeError, match=says):
            Recipe.from_dict(data)


def test_steps_that_a_recipe_cannot_take() -> None:
    assert Recipe.parse("mi").check_steps(None) == 50
    assert Recipe.parse("fgsm").check_steps(None) == 1
    for text, steps in (("fgsm", 10), ("mi", 1), ("ifgsm", 0), ("ifgsm", True), ("ifgsm", 2.5)):
        with pytest.raises(RecipeError):
            Recipe.parse(text).check_steps(steps)  # type: ignore[arg-type]


NAMES = {
    "mdi2fgsm": "mdi2fgsm",
    "mdi2fgsm( scale = 1.3 )": "mdi2fgsm(scale=1.3)",
    "mdi2fgsm + linbp(start=3)": "mdi2fgsm + linbp(start=3)",
    "linbp(start='0.1')+mdi2fgsm(scale=8/7,interpolation=bilinear)": (
        "linbp(start='0.1') + mdi2fgsm(scale=8/7, interpolation=bilinear)"
    ),
    "mi + di(scale=8/7)": "di(scale=8/7) + mi",
    "mi(decay=9e-1) + linbp(start=0, sites=[3,5 ,7])": "linbp(start=0, sites=[3, 5, 7]) + mi(decay=9e-1)",
    "pgd >> mifgsm + ila(at=layer2.3)": "pgd >> mifgsm + ila(at=layer2.3)",
    "ila(at=a)": "ifgsm >> ila(at=a)",
}
"""What is written, and what results say of it."""


@pytest.mark.parametrize("text", NAMES)
def test_names_and_numbers_stay_as_they_were_written(text: str) -> None:
    recipe = Recipe.parse(text)
    assert str(recipe) == NAMES[text]
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe == Recipe.parse(NAMES[text])
    assert str(again) == NAMES[text]
    assert hash(again) == hash(recipe)


def test_a_name_does_not_outlive_its_parts() -> None:
    """What is not what was written is written out; else results would name another attack."""
    (stage,) = Recipe.parse("mdi2fgsm(scale=1.3) + linbp(start=auto)").stages
    assert str(dataclasses.replace(stage, update=Momentum(decay=0.5))) == (
        "linbp(start=auto) + di(scale=1.3) + mi(decay=0.5)"
    )
    assert str(stage.with_rules([LinBP(start=3)])) == "mdi2fgsm(scale=1.3) + linbp(start=3)"
    data = Recipe.parse("mifgsm").to_dict()
    data["stages"][0]["update"]["decay"] = 0.5  # as if the name's default had been another one
    assert str(Recipe.from_dict(data)) == "mi(decay=0.5)"
    assert str(Recipe.from_dict({**data, "text": "of-another-version"})) == "mi(decay=0.5)"


named = st.one_of(
    st.sampled_from(["ifgsm", "mifgsm", "mdi2fgsm", "targeted-logit", "vnifgsm", "pgn-mifgsm", "tifgsm(size=9)"]),
    st.builds("mifgsm(decay={})".format, st.floats(0.01, 2)),
    st.builds("mdi2fgsm(scale={}/{})".format, st.integers(21, 80), st.integers(20, 20)),
)
guided = st.builds(
    lambda name, path, first: f"ila(at={path}) + {name}" if first else f"{name} + ila(at={path})",
    st.sampled_from(["mifgsm", "nifgsm", "mdi2fgsm", "pgd(radius=1/8)"]),
    paths.filter(lambda path: path not in ("none", "true", "false")),
    st.booleans(),
)


@given(named, st.sampled_from(["", " + linbp(start=3)", " + sgm(gamma=1/3)"]), st.lists(guided, max_size=2))
def test_named_recipes_survive_text_and_dictionary(first: str, rule: str, later: list[str]) -> None:
    text = " >> ".join([first + rule, *later])
    recipe = Recipe.parse(text)
    assert str(recipe) == text
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert (again, str(again)) == (recipe, text)
    parts = Recipe.parse(" >> ".join(stage.written_out() for stage in recipe.stages))
    assert parts == recipe
    assert [stage.targeted_name for stage in parts.stages] == [None] * len(parts.stages)


def test_dictionaries_with_a_guide_are_read() -> None:
    """As `manifest.json` had them when a recipe was a chain."""
    first = {
        "rules": [{"name": "linbp", "start": 3, "rebalance": None, "gamma": 1.0, "leak": 1.0, "sites": None}],
        "transforms": [{"name": "di", "probability": 0.5, "scale": 1.1428571428571428, "interpolation": "nearest"}],
        "start": None,
        "objective": {"name": "ce"},
        "estimator": {"name": "plain"},
        "update": {"name": "mi", "decay": 1.0},
        "guide": None,
    }
    last = {
        "rules": [],
        "transforms": [],
        "start": None,
        "objective": {"name": "ila", "at": ["a", "b"], "steps": None},
        "estimator": {"name": "plain"},
        "update": {"name": "sign"},
        "guide": first,
    }
    assert Recipe.from_dict(last) == Recipe.parse("linbp(start=3, rebalance=none) + mdi2fgsm >> ila(at=[a, b])")
    assert Recipe.from_dict(first) == Recipe.parse("linbp(start=3, rebalance=none) + mdi2fgsm")
