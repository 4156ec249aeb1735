"""Stages: what passes from one to the next, what they cost, and that they depend on their own image only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from eager import EPS, STEP, Setting, climb, cross_entropy, cross_entropy_gradient, look, make_setting, pull_back
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import images_and_labels, tiny

import linbp
from linbp.attack import Context, Ensemble, Momentum, RandomStart, Recipe, Sign, Stage
from linbp.attack.parts.objective import FDA, ILA, ILAF, NRDM, TAP, ILAPlusPlus, Logit, Margin, Measure
from linbp.errors import RecipeError, RuleError
from linbp.randomness import generator
from linbp.rules import SGM, LinBP

COUNT = 3


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting()


def craft(surrogate: Any, text: str, rows: list[int], **options: Any) -> torch.Tensor:
    images, labels = images_and_labels(9)
    settings = {
        "eps": EPS,
        "step_size": STEP,
        "seed": 9,
        "steps": 4,
        "ids": [f"image {row}" for row in rows],
        **options,
    }
    return linbp.craft(surrogate, images[rows], labels[rows], text, **settings)


@pytest.mark.parametrize(
    ("text", "with_gradients", "without"),
    [
        ("ifgsm", 4, 0),
        ("tap", 4, 1),
        ("fda", 4, 1),
        ("nrdm + random-start", 4, 1),
        ("logit", 4, 0),
        ("ila(at=blocks.0)", 4 + 4, 2),
        ("mi >> ilaf(at=[stem, blocks.0], steps=7)", 4 + 7, 2),
        ("si(scales=3) >> ila(at=blocks.0)", 3 * 4 + 4, 2),
        ("ifgsm >> ila(at=stem) >> ila(at=blocks.0)", 4 + 4 + 4, 2 + 2),
        (
            "ila-plus-plus(at=blocks.0)",
            4 + 4,
            5 + (1 + 5) + 1,
        ),  # the objective at 5 points; their maps and the clean one
    ],
)
def test_the_network_runs_once_a_step(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, text: str, with_gradients: int, without: int
) -> None:
    passes = {True: 0, False: 0}
    real = linbp.Surrogate._in_groups

    def counted(self: linbp.Surrogate, network: Any, images: torch.Tensor, *more: Any) -> tuple[torch.Tensor, ...]:
        passes[torch.is_grad_enabled()] += len(images)
        return real(self, network, images, *more)

    monkeypatch.setattr(linbp.Surrogate, "_in_groups", counted)
    fresh = setting.surrogate.with_rule(setting.surrogate.rules)
    craft(fresh, text, [0, 1, 2])
    looked_at = 1  # before its first attack, at what the network answers
    assert passes == {True: COUNT * with_gradients, False: COUNT * (without + looked_at)}
    assert Recipe.parse(text).gradients(4) == with_gradients


def test_progress_counts_the_steps_of_every_stage(setting: Setting) -> None:
    seen: list[tuple[int, int]] = []
    craft(
        setting.surrogate,
        "ifgsm >> ila(at=blocks.0, steps=2)",
        [0, 1, 2],
        progress=lambda *done: seen.append(done),
        batch_size=2,
    )
    assert seen == [(done, 18) for done in (2, 4, 6, 8, 10, 12, 13, 14, 15, 16, 17, 18)]


def traced(monkeypatch: pytest.MonkeyPatch, part: type[Any]) -> list[Context]:
    contexts: list[Context] = []
    real = part.bind

    def bind(self: Any, context: Context, features: Any) -> Measure:
        contexts.append(context)
        measure: Measure = real(self, context, features)
        return measure

    monkeypatch.setattr(part, "bind", bind)
    return contexts


def test_what_a_stage_leaves(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end, not rounded; every point and the objective there only for the objective that asks for them."""
    net = setting.net
    plain, plus = traced(monkeypatch, ILA), traced(monkeypatch, ILAPlusPlus)
    for text in ("ila(at=blocks.0)", "ila-plus-plus(at=blocks.0)"):
        linbp.craft(
            setting.surrogate, setting.clean, setting.labels, text, eps=EPS, steps=3, step_size=STEP, ids=list("abc")
        )
    assert plain[0].trace is not None
    assert plus[0].trace is not None
    assert plain[0].trace.iterates == plain[0].trace.objectives == ()
    assert torch.equal(plain[0].trace.images, plus[0].trace.images)
    assert torch.equal(plus[0].trace.images, plus[0].trace.iterates[-1])
    for row, clean in enumerate(setting.clean):
        label = setting.labels[row]
        points = climb(
            clean,
            lambda at, label=label: pull_back(
                net, at, {"logits": cross_entropy_gradient(look(net, at).logits, label, None)}
            ),
            steps=3,
            step_size=STEP,
            eps=EPS,
        )
        assert np.allclose([points[step] for step in range(4)], [x[row] for x in plus[0].trace.iterates], atol=1e-12)
        values = [float(value[row]) for value in plus[0].trace.objectives]
        assert np.allclose(values, [cross_entropy(look(net, point).logits, label) for point in points[: len(values)]])
    levels = plain[0].trace.images * 255
    assert not torch.equal(levels, levels.round())


def test_stages_draw_numbers_of_their_own(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[torch.Tensor] = []
    real = RandomStart.first

    def first(self: RandomStart, budget: Any, draws: Any) -> torch.Tensor:
        starts.append(real(self, budget, draws) - budget.clean)
        return budget.clean + starts[-1]

    monkeypatch.setattr(RandomStart, "first", first)
    craft(setting.surrogate, "random-start >> ila(at=blocks.0) + random-start", [2])
    for found, purpose in zip(starts, ("random-start", "stage 1/random-start"), strict=True):
        unit = 2 * generator(9, "image 2", 0, purpose).random((3, 12, 12)) - 1
        assert np.allclose(found[0].numpy(), EPS * unit)


def test_ila_in_l2_by_hand(setting: Setting) -> None:
    net, at = setting.net, "blocks.0"
    clean = np.clip(setting.clean, 0.3, 0.7)
    clean = np.rint(clean * 255) / 255
    adv = linbp.craft(
        setting.surrogate, clean, setting.labels, f"ila(at={at}, steps=2)", eps=3.0, steps=3, step_size=0.4, norm="l2"
    )
    for row, image in enumerate(clean):
        label, before = setting.labels[row], look(net, image, [at]).features[at]

        def step(point: Any, gradients: dict[str, Any]) -> Any:
            found = pull_back(net, point, gradients)
            return point + 0.4 * found / np.linalg.norm(found)

        point = image
        for _ in range(3):
            point = step(point, {"logits": cross_entropy_gradient(look(net, point).logits, label, None)})
        direction = look(net, point, [at]).features[at] - before
        wanted = step(step(image, {at: direction}), {at: direction})
        assert np.abs(adv[row] - wanted).max() <= 0.5 / 255 + 1e-9


def test_ila_on_an_ensemble_by_hand(setting: Setting) -> None:
    """Every member has the direction that its own feature maps took; the members' gradients are averaged."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        second = type(setting.net)().double().eval()
    other = linbp.Model(second, input_size=(3, 12, 12), mean=(0.5,) * 3, std=(0.25,) * 3, name="second")
    nets, at = (setting.net, second), "blocks.0"
    adv = linbp.craft(
        Ensemble([setting.surrogate, other], "losses"),
        setting.clean,
        setting.labels,
        f"ila(at={at}, steps=2)",
        eps=EPS,
        steps=3,
        step_size=STEP,
    )
    for row, clean in enumerate(setting.clean):
        label = setting.labels[row]

        def guide(point: Any, label: int = label) -> Any:
            every = [cross_entropy_gradient(look(net, point).logits, label, None) for net in nets]
            return sum(pull_back(net, point, {"logits": one}) for net, one in zip(nets, every, strict=True))

        end = climb(clean, guide, steps=3, step_size=STEP, eps=EPS)[-1]
        ways = [look(net, end, [at]).features[at] - look(net, clean, [at]).features[at] for net in nets]
        wanted = climb(
            clean,
            lambda point, ways=ways: sum(pull_back(net, point, {at: way}) for net, way in zip(nets, ways, strict=True)),
            steps=2,
            step_size=STEP,
            eps=EPS,
        )[-1]
        assert np.array_equal(np.rint(adv[row] * 255), np.rint(wanted * 255))
    with pytest.raises(RecipeError, match=r"ila.*feature maps.*logits"):
        craft(Ensemble([setting.surrogate, other], "logits"), f"ila(at={at})", [0])


LONG = "pgd + di(scale=1.5) >> ila-plus-plus(at=[stem, blocks.0], fit=ridge) + random-start >> sgm + ilaf(at=blocks.1)"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_an_adversarial_image_of_three_stages_depends_on_its_image_only(dtype: torch.dtype) -> None:
    """Nine images: in float32 they are computed in groups of four, and a point's feature maps in other groups."""
    surrogate = linbp.Surrogate(tiny(dtype))
    whole = craft(surrogate, LONG, list(range(9)))
    assert torch.equal(craft(surrogate, LONG, list(range(9)), batch_size=4), whole)
    order = [8, 2, 5]
    assert torch.equal(craft(surrogate, LONG, order), whole[order])
    assert torch.equal(craft(surrogate, LONG, [7]), whole[7:8])
    assert not torch.equal(craft(surrogate, LONG, [7], seed=1), whole[7:8])


paths = st.from_regex(r"[a-z_][a-z0-9_]{0,6}(\.[a-z0-9_]{1,4}){0,3}", fullmatch=True)
places = st.one_of(paths, st.lists(paths, min_size=1, max_size=3, unique=True).map(tuple))
own_steps = st.one_of(st.none(), st.integers(1, 500))
guided = st.one_of(
    st.builds(ILA, at=places, steps=own_steps),
    st.builds(ILAF, at=places, alpha=st.floats(0, 100), steps=own_steps),
    st.builds(ILAPlusPlus, at=places, normalise=st.booleans(), steps=own_steps),
    st.builds(
        ILAPlusPlus,
        at=places,
        fit=st.sampled_from(["ridge", "svr"]),
        regularisation=st.one_of(st.none(), st.floats(1e-12, 1e12)),
    ),
)
alone = st.one_of(
    st.builds(
        TAP, at=st.one_of(st.none(), places), distance=st.floats(0, 10, exclude_min=True), smoothness=st.floats(0, 10)
    ),
    st.builds(FDA, at=st.one_of(st.none(), places), channels=st.sampled_from([None, "first", "last"])),
    st.builds(NRDM, at=st.one_of(st.none(), places)),
    st.just(Logit()),
    st.just(Margin()),
)
more = st.fixed_dictionaries(
    {
        "rules": st.sampled_from([(), (LinBP(start="layer3.1"),), (LinBP(start=3), SGM(gamma=0.25))]),
        "update": st.sampled_from([Sign(), Momentum(decay=0.5)]),
    }
)


@given(alone, st.lists(st.tuples(guided, more), max_size=3), more)
def test_a_recipe_of_stages_survives_being_written(first: Any, later: list[tuple[Any, Any]], parts: Any) -> None:
    stages = [Stage(objective=first, start=RandomStart(radius=0.5), **parts)]
    stages += [Stage(objective=objective, **others) for objective, others in later]
    recipe = Recipe(stages=tuple(stages))
    assert Recipe.parse(str(recipe)) == recipe
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert len(recipe.stages) == 1 + len(later)
    assert hash(Recipe.parse(str(recipe))) == hash(recipe)


def test_a_recipe_without_a_guide_has_ifgsm() -> None:
    assert str(Recipe.parse("mi + ila(at=layer2.3)")) == "ifgsm >> ila(at=layer2.3) + mi"
    recipe = Recipe.parse("linbp(start=layer3.1) + mi >> ila(at=layer2.3, steps=100)")
    assert [stage.own_steps(10) for stage in recipe.stages] == [10, 100]
    assert recipe.gradients(10) == 110


@pytest.mark.parametrize(
    ("text", "says", "hints"),
    [
        ("ila(at=3)", "ila(at=3) names no module", "in quotes"),
        ("ila(at=[])", "names no module", "layer2.3"),
        ("ilaf(at=[a, b, a])", "names a module twice", "nothing new"),
        ("ilaf(at=a, alpha=-1)", "alpha=-1", "at least 0"),
        ("ila(at=a, steps=0)", "steps=0", "whole number of at least 1"),
        ("ila(at=a, steps=2.5)", "steps=2.5", "whole number"),
        ("ila-plus-plus(at=a, fit=lasso)", "fit=lasso", "mean, ridge, svr"),
        ("ila-plus-plus(at=a, fit=ridge, regularisation=0)", "regularisation=0", "at least"),
        ("ila-plus-plus(at=a, regularisation=2)", "regularisation=2 would have no effect", "fit=ridge"),
        ("ila-plus-plus(at=a, normalise=perhaps)", "normalise=perhaps", "True, False"),
        ("ila(at=a) >> mi", "mi makes no use of the stage before it", "leave the first one out"),
        ("mi >> tap", "tap makes no use of the stage before it", "linbp list objectives"),
        ("nrdm", "nrdm has no gradient at the clean image", "random-start(radius=0.1)"),
        ("nrdm + mi >> ila(at=a)", "nrdm has no gradient", "random-start"),
        ("tap(distance=-1)", "distance=-1", "at least 0"),
        ("tap(distance=0, smoothness=0)", "tap would have no effect", "Use ce"),
        ("tap(lambda=1)", "no parameter 'lambda'", "Known: at, distance, smoothness"),
        ("fda(channels=middle)", "channels=middle", "first, last, none"),
        ("logit + margin", "logit and margin both say what is increased", "no effect"),
    ],
)
def test_mistakes_are_named(text: str, says: str, hints: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(text)
    assert says in caught.value.message
    assert hints in caught.value.hint


def test_what_the_network_does_not_have_is_named(setting: Setting) -> None:
    for text in ("ila(at=blocks.2)", "tap(at=[stem, blocks.2])", "mi >> ila-plus-plus(at=blocks.2)"):
        with pytest.raises(RuleError, match="no feature map called") as caught:
            craft(setting.surrogate, text, [0])
        assert "'blocks.2'" in caught.value.message
        assert "There are: stem, blocks.0.conv1, " in caught.value.hint
    for text in ("nrdmfgsm", "fda", "nrdmfgsm >> ila(at=blocks.0)"):
        with pytest.raises(RecipeError, match="no class"):
            craft(setting.surrogate, text, [0], targets=torch.tensor([1]))
