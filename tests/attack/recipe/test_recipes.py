"""Every recipe and part: one row a sum. A new attack is one more row."""

from __future__ import annotations

import functools

import pytest
import torch
from tiny_networks import CLASSES, images_and_labels, tiny, tiny_chain, tiny_dense
from tiny_transformer import tiny_transformer

import linbp
from linbp.attack import Recipe, Stage
from linbp.attack.parts.objective import ILA
from linbp.errors import RecipeError
from linbp.registry import grammar_name, names
from linbp.registry.grammar import parse_stages
from linbp.testing.networks import Turning

ROWS = [
    "fgsm",
    "ifgsm",
    "pgd",
    "pgd-noise(radius=0.5)",
    "mifgsm",
    "difgsm(scale=1.4, probability=0.9)",
    "difgsm(scale=1.4, interpolation=bilinear)",
    "mdi2fgsm(scale=1.5)",
    "sgm",
    "linbp(start=1)",
    "linbp(start=0.5, rebalance=site)",
    "linbp(start=blocks.0, rebalance=none, gamma=0.7)",
    "linbp(start=0, sites=all) + sgm(gamma=0.5)",
    "linbp(start=1, leak=0.3)",
    "conbp(start=0, slope=0.5)",
    "conbp(start=1) + sgm + di(scale=1.5)",
    "bpa(start=0)",
    "bpa(start=blocks.1, temperature=5) + mi",
    "linbp(start=blocks.1) + di(scale=1.5) + mi",
    "fgsm + linbp(start=0)",
    "random-start(radius=0.5) + noise + mi(decay=0.5) + ce + plain",
    "sign + noise",
    "tifgsm",
    "ti(size=5, kernel=linear) + difgsm(scale=1.4) + mi",
    "tifgsm(size=3, sigma=2) + linbp(start=1)",
    "sifgsm(scales=3)",
    "simifgsm(centre=0.5)",
    "si(scales=2) + di(scale=1.5) + ti(size=7, kernel=uniform)",
    "admix-mifgsm",
    "admix(partners=2, scales=2, strength=0.4) + di(scale=1.4) + ti",
    "admix(partners=1, scales=1, centre=0.5) + linbp(start=0)",
    "tapfgsm(distance=0.0001)",
    "tap(at=blocks.0.bn1, distance=0, smoothness=0.1) + di(scale=1.5) + mi",
    "nrdmfgsm(at=blocks.0)",
    "nrdm + random-start(radius=0.5) + linbp(start=1)",
    "fdafgsm(radius=0.5)",
    "fda(at=[stem, blocks.0], channels=last) + mi",
    "logit",
    "targeted-logit(scale=1.5)",
    "margin + linbp(start=1)",
    "targeted-margin(scale=1.5, size=3)",
    "ila(at=blocks.0)",
    "linbp(start=1) + mi >> ila(at=[stem, blocks.0], steps=6)",
    "difgsm(scale=1.5) >> sgm + ilaf(at=blocks.1.conv2) + mi",
    "pgd >> ila-plus-plus(at=blocks.0)",
    "logit >> ila-plus-plus(at=stem, fit=ridge, regularisation=0.1, normalise=false) + ti",
    "linbp(start=1) >> ila-plus-plus(at=[stem, blocks.0], fit=svr) >> ilaf(at=blocks.0, alpha=0.5)",
    "fia-mifgsm(samples=2)",
    "fia(at=[stem, blocks.0], samples=3, keep=0.5) + di(scale=1.5) + linbp(start=0)",
    "naa-mifgsm(samples=2)",
    "naa(at=stem, samples=2, noise=0.3) + ti(size=3)",
    "bfa-mifgsm(samples=2)",
    "bfa(at=blocks.1, samples=1, radius=0.3) + leaky-linbp",
    "nifgsm",
    "ni(scale=l1, decay=0.8) + di(scale=1.5)",
    "sinifgsm(scales=3)",
    "vmifgsm(neighbours=3)",
    "vt(neighbours=2, radius=0.5) + linbp(start=1)",
    "vnifgsm(neighbours=3) + di(scale=1.5)",
    "pgn-mifgsm(samples=3)",
    "pgn(samples=2, balance=1) + noise + ni",
    "svre-mifgsm",
    "svre(rounds=2) + di(scale=1.5) + linbp(start=1)",
    "mi-cwa",
    "cwa(inner_step=0.5, reverse_step=0.5) + di(scale=1.5) + ni",
    "pna",
    "pna-patchout(patch=4)",
    "tgr + linbp(start=0)",
    "tgr-mifgsm",
    "att(truncated=1) + di(scale=1.5)",
    "att-mifgsm(patch=3)",
    "vdc + leaky-linbp(leak=0.5)",
    "vdc-mifgsm",
    "sgm(branches=mlp) + pna",
    "sgm-dense + mi",
    "leaky-linbp",
    "leaky-linbp(start=1, leak=0.4) + di(scale=1.5) + mi",
    "ssa-mifgsm(copies=2)",
    "ssa(copies=2, through=true) + di(scale=1.5) + linbp(start=1)",
    "bsr-mifgsm(copies=2, blocks=1)",
    "bsr(copies=2, blocks=2, angle=40) + ti(size=3)",
    "sia-mifgsm(copies=2)",
    "sia(copies=2, operations=seven) + logit",
    "ops-mifgsm(operators=2, noises=1)",
    "ops(operators=1, noises=2) + linbp(start=1)",
    "dem-mifgsm",
    "dem(scales=[1.3, 1.6], interpolation=bilinear) + si(scales=2) + margin",
    "anda(shifts=2)",
    "shift-grid(shifts=2, reach=0.1) + di(scale=1.5) + running-mean",
    "patchout(patch=3, share=0.5) + mi",
    "paced-patchout(patch=3, at=blocks.0) + di(scale=1.5)",
    "rewarded-ce(reward=0.5) + mi",
    "ilpd-mifgsm(at=stem)",
    "ilpd(sigma=0, share=0.5) + di(scale=1.5) + linbp(start=0)",
    "ilpd(at=blocks.0) + dem(scales=[1.3, 1.6]) + tap(at=blocks.1)",
    "decowa-mifgsm(warps=2)",
    "decowa(warps=1, step=0, reach=0.5) + di(scale=1.5)",
    "gra-mifgsm(neighbours=2)",
    "gra(neighbours=1, radius=1) + damped-mi(decay=0.8, shrink=0.5)",
    "mef-mifgsm(samples=2)",
    "mef(samples=1, inner=0.5) + di(scale=1.5) + linbp(start=1)",
    "gnp-mifgsm",
    "gnp(weight=0.5, radius=0.1) + ssa(copies=2)",
    "turns(count=2) + di(scale=1.5) + mi",
    "turns(count=3) + linbp(start=1)",
    "rap-mifgsm(steps=2)",
    "rap(steps=1, late=0, radius=0.5) + di(scale=1.5)",
]
COUNT, EPS, STEPS = 5, 6.5 / 255, 4
POOL = 8


SEVERAL = ("svre", "cwa")
"""Estimators that need an ensemble."""


@pytest.fixture(scope="module")
def surrogate() -> linbp.Surrogate:
    return linbp.Surrogate(tiny())


ATTENTION = ("pna", "tgr", "att", "vdc")
"""Rules that act on transformers."""


@functools.cache
def transformer() -> linbp.Surrogate:
    """The surrogate of rules that need attention."""
    return linbp.Surrogate(tiny_transformer())


@functools.cache
def dense() -> linbp.Surrogate:
    """The surrogate of SGM on concatenations."""
    return linbp.Surrogate(tiny_dense())


@functools.cache
def turning() -> linbp.Surrogate:
    """The surrogate of the estimator that needs weights that take turns."""
    other = tiny()
    with torch.no_grad():
        for parameter in other.module.parameters():
            parameter.mul_(1.1)
    return linbp.Surrogate(Turning(tiny(), other))


def fitting(surrogate: linbp.Surrogate, recipe: Recipe) -> linbp.Surrogate:
    """The surrogate, a transformer or a dense network where the recipe's rules need one, or weights that take turns."""
    if any(getattr(rule, "skips", None) == "dense" for stage in recipe.stages for rule in stage.rules):
        return dense()
    rules = {grammar_name(rule) for stage in recipe.stages for rule in stage.rules}
    if any(grammar_name(stage.estimator) == "turns" for stage in recipe.stages):
        return turning()
    return transformer() if rules & set(ATTENTION) else surrogate


@functools.cache
def companion() -> linbp.Surrogate:
    """The second surrogate where one is not enough."""
    return linbp.Surrogate(tiny_chain())


def craft(
    surrogate: linbp.Surrogate, text: str, rows: list[int], images: torch.Tensor | None = None, **options: object
) -> torch.Tensor:
    own, labels = images_and_labels(COUNT)
    images = own if images is None else images
    recipe = Recipe.parse(text)
    ids = [f"image {row}" for row in rows]
    settings = {"eps": EPS, "steps": None if recipe.single_step else STEPS, "ids": ids, "seed": 3, **options}
    if any(transform.needs_pool for stage in recipe.stages for transform in stage.transforms):
        settings["pool"] = linbp.Pool(*images_and_labels(POOL, seed=1))
    if recipe.stages[-1].targeted_name is not None:
        settings.setdefault("targets", (labels[rows] + 1) % CLASSES)
    several = any(grammar_name(stage.estimator) in SEVERAL for stage in recipe.stages)
    surrogate = fitting(surrogate, recipe)
    model = linbp.Ensemble([surrogate, companion()]) if several else surrogate
    return linbp.craft(model, images[rows], labels[rows], recipe, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ROWS)
def test_obeys_the_budget(surrogate: linbp.Surrogate, text: str) -> None:
    adv = craft(surrogate, text, list(range(COUNT)))
    images, _ = images_and_labels(COUNT)
    levels = adv * 255
    assert adv.dtype == torch.float64
    assert torch.equal(levels.round(), levels)
    assert levels.min() >= 0
    assert levels.max() <= 255
    assert 0 < (levels - images).abs().max() <= 6


@pytest.mark.parametrize("text", ROWS)
def test_obeys_a_euclidean_budget(surrogate: linbp.Surrogate, text: str) -> None:
    sizes = {} if Recipe.parse(text).single_step else {"step_size": 2.5 * 0.6 / STEPS}
    adv = craft(surrogate, text, list(range(COUNT)), norm="l2", eps=0.6, **sizes)
    change = adv * 255 - images_and_labels(COUNT)[0]
    lengths = change.flatten(1).norm(dim=1) / 255
    assert torch.isfinite(adv).all()
    assert lengths.min() > 0.1
    assert lengths.max() <= 0.6 + 1e-12
    assert 0 <= adv.min() <= adv.max() <= 1


@pytest.mark.parametrize("text", ROWS)
def test_an_adversarial_image_depends_on_nothing_but_its_image(surrogate: linbp.Surrogate, text: str) -> None:
    whole = craft(surrogate, text, list(range(COUNT)))
    assert torch.equal(craft(surrogate, text, list(range(COUNT))), whole), "a rerun differs"
    assert torch.equal(craft(surrogate, text, list(range(COUNT)), batch_size=2), whole), "the batch size matters"
    order = [3, 0, 4]
    assert torch.equal(craft(surrogate, text, order), whole[order]), "order or companions matter"


@pytest.mark.parametrize("text", ROWS)
def test_targeted_adversarial_images_come_nearer_to_their_targets(surrogate: linbp.Surrogate, text: str) -> None:
    images, labels = images_and_labels(COUNT)
    targets = (labels + 3) % CLASSES
    if not all(stage.objective.takes_targets for stage in Recipe.parse(text).stages):
        with pytest.raises(RecipeError, match="no targeted form"):
            craft(surrogate, text, list(range(COUNT)), targets=targets)
        return
    adv = craft(surrogate, text, list(range(COUNT)), targets=targets)

    def chance(of: torch.Tensor) -> torch.Tensor:
        return fitting(surrogate, Recipe.parse(text)).logits(of).log_softmax(1).gather(1, targets[:, None]).mean()

    assert chance(adv) > chance(images.double() / 255)


@pytest.mark.parametrize("text", ROWS)
def test_is_written_and_read_back(text: str) -> None:
    recipe = Recipe.parse(text)
    assert Recipe.parse(str(recipe)) == recipe
    assert Recipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("linbp(start=1)", "ifgsm"),
        ("linbp(start=1) + mi", "linbp(start=1)"),
        ("linbp(start=1) + mi", "mi"),
        ("di(scale=1.5) + mi", "mi"),
        ("noise + mi", "mi"),
        ("random-start + mi", "mi"),
        ("sgm", "ifgsm"),
        ("sgm + linbp(start=1)", "sgm"),
        ("sgm + linbp(start=1)", "linbp(start=1)"),
        ("linbp(start=1, gamma=0.5)", "linbp(start=1)"),
        ("linbp(start=1, rebalance=site)", "linbp(start=1)"),
        ("linbp(start=1, rebalance=none)", "linbp(start=1)"),
        ("linbp(start=0, sites=inside)", "linbp(start=0)"),
        ("linbp(start=0, sites=all)", "linbp(start=0)"),
        ("ti", "ifgsm"),
        ("ti + mi", "ti"),
        ("ti(size=5)", "ti"),
        ("ti(sigma=3)", "ti"),
        ("ti(kernel=linear)", "ti(kernel=uniform)"),
        ("si", "ifgsm"),
        ("si + di(scale=1.5)", "si"),
        ("si(centre=0.5)", "si"),
        ("si(scales=2)", "si(scales=3)"),
        ("admix + mi", "mi"),
        ("admix(scales=1)", "ifgsm"),
        ("admix", "si"),
        ("admix(partners=2)", "admix"),
        ("admix(strength=0.5)", "admix"),
        ("admix + ti", "admix"),
        ("admix + linbp(start=1)", "admix"),
        ("tap", "ifgsm"),
        ("tap", "tap(distance=0)"),
        ("tap(smoothness=1)", "tap"),
        ("tap(at=stem)", "tap"),
        ("nrdmfgsm", "random-start(radius=0.1)"),
        ("nrdmfgsm(at=stem)", "nrdmfgsm"),
        ("fda", "ifgsm"),
        ("fda(at=stem)", "fda"),
        ("fda(channels=last)", "fda"),
        ("fdafgsm", "fda"),
        ("logit", "ifgsm"),
        ("margin", "ifgsm"),
        ("targeted-margin(scale=1.5)", "targeted-logit(scale=1.5)"),
        ("ila(at=blocks.0)", "ifgsm"),
        ("ila(at=blocks.0)", "ila(at=stem)"),
        ("ila(at=blocks.0, steps=2)", "ila(at=blocks.0)"),
        ("linbp(start=1) >> ila(at=blocks.0)", "ila(at=blocks.0)"),
        ("ila(at=blocks.0) + mi", "ila(at=blocks.0)"),
        ("ila(at=blocks.0) + linbp(start=1)", "ila(at=blocks.0)"),
        ("ilaf(at=blocks.0)", "ila(at=blocks.0)"),
        ("ilaf(at=blocks.0, alpha=0)", "ilaf(at=blocks.0)"),
        ("ila-plus-plus(at=blocks.0)", "ila(at=blocks.0)"),
        ("ila-plus-plus(at=blocks.0, normalise=false)", "ila-plus-plus(at=blocks.0)"),
        ("ila-plus-plus(at=blocks.0, fit=ridge)", "ila-plus-plus(at=blocks.0)"),
        ("ila-plus-plus(at=blocks.0, fit=ridge, regularisation=0.01)", "ila-plus-plus(at=blocks.0, fit=ridge)"),
        ("ila-plus-plus(at=blocks.0, fit=svr)", "ila-plus-plus(at=blocks.0)"),
        ("ila-plus-plus(at=blocks.0, fit=svr, regularisation=0.01)", "ila-plus-plus(at=blocks.0, fit=svr)"),
        ("mi >> ila(at=stem) >> ila(at=blocks.0)", "mi >> ila(at=blocks.0)"),
        ("fia(samples=2)", "fia(samples=3)"),
        ("fia(samples=2)", "fia(samples=2, keep=0.2)"),
        ("fia(samples=2)", "fia(at=stem, samples=2)"),
        ("fia(samples=2) + linbp(start=1)", "fia(samples=2)"),
        ("naa(samples=2)", "naa(samples=5)"),
        ("naa(samples=2)", "naa(samples=2, noise=0.5)"),
        ("bfa(samples=1)", "bfa(samples=3)"),
        ("bfa(samples=1)", "bfa(samples=1, radius=1)"),
        ("ni", "mi"),
        ("ni(decay=0.5)", "ni"),
        ("vt(neighbours=2) + mi", "mi"),
        ("vt(neighbours=2) + ni", "vt(neighbours=2) + mi"),
        ("vt(neighbours=2, radius=0.5) + mi", "vt(neighbours=2) + mi"),
        ("pgn(samples=2) + mi", "mi"),
        ("pgn(samples=2, balance=0.1) + mi", "pgn(samples=2) + mi"),
        ("svre + mi", "svre(rounds=1) + mi"),
        ("svre + mi", "svre(decay=0.5) + mi"),
        ("cwa + mi", "svre + mi"),
        ("cwa(inner_step=0.5) + mi", "cwa + mi"),
        ("cwa(inner_step=0.5, reverse_step=0) + mi", "cwa(inner_step=0.5) + mi"),
        ("cwa(inner_step=0.5, decay=0) + mi", "cwa(inner_step=0.5) + mi"),
        ("pna", "tgr"),
        ("tgr", "tgr(attention=1)"),
        ("tgr(projection=0.1)", "tgr"),
        ("att", "att(truncated=0)"),
        ("att(mlp=0.1)", "att"),
        ("vdc", "vdc(weight=1)"),
        ("vdc(output=0)", "vdc"),
        ("pna + sgm", "pna + sgm(branches=mlp)"),
        ("pna-patchout(patch=4)", "pna + mi"),
        ("leaky-linbp", "linbp(start=0, rebalance=none)"),
        ("leaky-linbp(leak=0.4)", "leaky-linbp"),
        ("ssa(copies=2)", "ssa(copies=1)"),
        ("ssa(copies=2, through=true)", "ssa(copies=2)"),
        ("ssa(copies=2, rho=0)", "ssa(copies=2)"),
        ("ssa(copies=2, sigma=0)", "ssa(copies=2)"),
        ("bsr(copies=1, angle=0)", "bsr(copies=1)"),
        ("sia(copies=2, operations=seven)", "sia(copies=2)"),
        ("ops(operators=2, noises=1)", "ops(operators=1, noises=2)"),
        ("dem", "dem(interpolation=bilinear)"),
        ("dem(scales=[1.5])", "di(probability=1, scale=1.5)"),
        ("anda(shifts=2)", "shift-grid(shifts=2) + mi"),
        ("patchout(patch=4)", "patchout(patch=4, share=0.5)"),
        ("ilpd(at=stem)", "ifgsm"),
        ("ilpd(at=stem)", "ilpd(at=blocks.0)"),
        ("ilpd(at=stem, share=0.5)", "ilpd(at=stem)"),
        ("ilpd(at=stem, sigma=0)", "ilpd(at=stem)"),
        ("decowa(warps=1)", "decowa(warps=1, step=0)"),
        ("gra(neighbours=2) + damped-mi", "gra(neighbours=2) + mi"),
        ("gra(neighbours=2)", "gra(neighbours=2, radius=1)"),
        ("mef(samples=2)", "mef(samples=2, inner=0)"),
        ("mef(samples=2)", "mef(samples=2, decay=0.1)"),
        ("gnp(radius=0.5)", "gnp(weight=0.1, radius=0.5)"),
        ("rap(steps=2)", "rap(steps=2, late=0)"),
    ],
)
def test_every_part_changes_the_result(surrogate: linbp.Surrogate, text: str, without: str) -> None:
    everyone = list(range(COUNT))
    assert not torch.equal(craft(surrogate, text, everyone), craft(surrogate, without, everyone))


def test_every_registered_part_has_a_row() -> None:
    rows = {term.name for text in ROWS for stage in parse_stages(text) for term in stage}
    for kind in ("recipe", "rule", "transform", "objective", "estimator", "update", "start"):
        for name, thing in names(kind).items():
            assert name in rows, f"{kind} {name} has no row"
            assert thing.__doc__, f"{kind} {name} has no docstring"


def test_another_seed_is_another_adversarial_image_and_only_where_there_is_chance(surrogate: linbp.Surrogate) -> None:
    for text, random in (("pgd", True), ("difgsm(scale=1.5)", True), ("pgd-noise", True), ("mifgsm", False)):
        same = torch.equal(craft(surrogate, text, [0, 1], seed=1), craft(surrogate, text, [0, 1], seed=2))
        assert same is not random


@pytest.mark.parametrize("name", ["targeted-logit", "targeted-margin"])
def test_the_name_of_a_targeted_attack_is_refused_without_targets(surrogate: linbp.Surrogate, name: str) -> None:
    images, labels = images_and_labels(2)
    with pytest.raises(RecipeError, match=f"{name}.*targets") as caught:
        linbp.craft(surrogate, images, labels, f"{name}(scale=1.5) >> ila(at=blocks.0)", eps=EPS, steps=2)
    assert "--target-rule" in caught.value.hint
    before = Recipe.parse(f"{name}(scale=1.5)").stages
    guided = Recipe(stages=(*before, Stage(objective=ILA(at="blocks.0"))))
    for made in (guided, Recipe.parse(f"{name}(scale=1.5) + linbp(start=auto)")):
        with pytest.raises(RecipeError, match="there are no targets"):
            linbp.choose_start(surrogate, images, labels, made, proxies=[tiny_chain()], eps=EPS)
    recipe = Recipe.parse(f"{name}(scale=1.5)")
    with pytest.raises(RecipeError, match="there are no targets") as caught:
        linbp.craft(surrogate, images, labels, recipe, eps=EPS, steps=2)
    written_out = Recipe.parse(caught.value.hint.rpartition("its parts: ")[2].removesuffix("."))
    assert written_out == recipe
    assert len(linbp.craft(surrogate, images, labels, written_out, eps=EPS, steps=2)) == 2
    targets = (labels + 1) % CLASSES
    assert len(linbp.craft(surrogate, images, labels, recipe, eps=EPS, steps=2, targets=targets)) == 2
