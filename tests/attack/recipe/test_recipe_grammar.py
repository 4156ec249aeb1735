"""The grammar of recipes: what is read, what is written, and what each mistake says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linbp.attack import DiverseInputs, FullStep, Momentum, RandomStart, Recipe, Sign, UniformNoise
from linbp.attack.recipe.grammar import parse_stages, write_value
from linbp.errors import LinbpError, RecipeError
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
recipes = st.builds(
    Recipe,
    rules=st.one_of(st.just(()), rules.map(lambda rule: (rule,)), rules.map(lambda rule: (rule, SGM(gamma=0.25)))),
    transforms=st.sampled_from(
        [(), (DiverseInputs(),), (UniformNoise(radius=0.3), DiverseInputs(scale=1.25, interpolation="bilinear"))]
    ),
    start=st.sampled_from([None, RandomStart(), RandomStart(radius=0.125)]),
    update=st.one_of(st.just(Sign()), st.just(FullStep()), st.builds(Momentum, decay=st.floats(0.01, 2))),
)


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
    assert Recipe.parse("mifgsm") == Recipe.parse("mi") == Recipe(update=Momentum(decay=1.0))
    assert Recipe.parse("pgd + mi") == Recipe.parse("mi + random-start")
    assert Recipe.parse("mdi2fgsm") == Recipe.parse("di(scale=8/7) + mi")
    assert Recipe.parse("  linbp ( start = 'layer3.1' ,gamma=5e-1)+di") == Recipe(
        rules=(LinBP(start="layer3.1", gamma=0.5),), transforms=(DiverseInputs(),)
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
        ("ifgsm + mi", "sign and mi both", "no effect"),
        ("pgd + random-start", "random-start and random-start both say where", "no effect"),
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
        ("mi >> di", "ce makes no use of the stage", "leave the first one out"),
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
    ):
        with pytest.raises(RecipeError, match=says):
            Recipe.from_dict(data)


def test_steps_that_a_recipe_cannot_take() -> None:
    assert Recipe.parse("mi").check_steps(None) == 50
    assert Recipe.parse("fgsm").check_steps(None) == 1
    for text, steps in (("fgsm", 10), ("mi", 1), ("ifgsm", 0), ("ifgsm", True), ("ifgsm", 2.5)):
        with pytest.raises(RecipeError):
            Recipe.parse(text).check_steps(steps)  # type: ignore[arg-type]
