"""ILPD against a network that is split by hand, image by image; and where it is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from eager import COUNT, EPS, STEP, Array, Setting, climb, craft, cross_entropy_gradient, look, make_setting, pull_back
from tail_by_hand import MAP, tail_gradient
from tiny_networks import images_and_labels, tiny_chain
from tiny_transformer import tiny_transformer

import linbp
from linbp.attack import Recipe
from linbp.errors import RecipeError, RuleError
from linbp.randomness import generator

ROWS = [
    (f"ilpd-mifgsm(at={MAP})", 0.1, 0.05, 0.0, 1.0),
    (f"ilpd(at={MAP}, share=0.6, sigma=0)", 0.6, 0.0, 0.0, None),
    (f"ilpd(at={MAP}, share=0.3, sigma=0.4) + leaky-linbp(start=blocks.1, leak=0.3) + mi", 0.3, 0.4, 0.3, 1.0),
]


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting()


@pytest.mark.parametrize(("text", "share", "sigma", "leak", "decay"), ROWS, ids=[row[0] for row in ROWS])
def test_three_steps(setting: Setting, text: str, share: float, sigma: float, leak: float, decay: float | None) -> None:
    found = craft(setting, text, 3)
    for row, clean in enumerate(setting.clean):
        steps = iter(range(3))

        def gradient(at: Array, row: int = row, clean: Array = clean, steps: object = steps) -> Array:
            noise = generator(9, str(row), next(steps), "ilpd").standard_normal(clean.shape)  # type: ignore[call-overload]
            here, there = (look(setting.net, image, [MAP]).features[MAP] for image in (at, clean + sigma * noise))
            mixed = share * here + (1 - share) * there
            label = setting.labels[row]
            behind = tail_gradient(setting.net, mixed, lambda z: cross_entropy_gradient(z, label, None), leak)
            return pull_back(setting.net, at, {MAP: share * behind})

        end = climb(clean, gradient, steps=3, step_size=STEP, eps=EPS, momentum=decay)[-1]
        assert np.array_equal(found[row], np.rint(end * 255))


def test_the_gradient_is_that_of_the_mixed_network(setting: Setting) -> None:
    """Finite differences of the mixed function, also of an image whose companions are padded."""
    surrogate = setting.surrogate.mixing(MAP, 0.3)
    images = torch.from_numpy(setting.clean)
    beside = 1 - images.flip(0)
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(surrogate.run(leaf, beside)[:, 2].sum(), leaf)
    way = torch.from_numpy(np.random.default_rng(0).standard_normal(images.shape))
    with torch.no_grad():
        ends = [surrogate.run(images + sign * 1e-6 * way, beside)[:, 2] for sign in (1, -1)]
        assert not torch.allclose(surrogate.run(images, beside), setting.surrogate.run(images))
        assert torch.equal(surrogate.run(images), setting.surrogate.run(images))
    expected = (gradient * way).flatten(1).sum(1)
    assert torch.allclose((ends[0] - ends[1]) / 2e-6, expected, rtol=1e-6)


def test_it_does_nothing_at_the_clean_image_without_noise(setting: Setting) -> None:
    images = torch.from_numpy(setting.clean)
    assert torch.allclose(setting.surrogate.mixing(MAP, 0.3).run(images, images), setting.surrogate.run(images))


def test_the_members_of_an_ensemble_mix_their_own_maps(setting: Setting) -> None:
    images, labels = images_and_labels(COUNT)
    members = [linbp.Surrogate(tiny_chain()), linbp.Surrogate(tiny_chain())]
    for fuse in ("logits", "losses"):
        both = linbp.Ensemble(members, fuse=fuse)  # type: ignore[arg-type]
        made = [
            linbp.craft(model, images, labels, "ilpd-mifgsm(at='body.1')", eps=EPS, steps=3)
            for model in (members[0], both)
        ]
        assert torch.equal(*made)


@pytest.mark.parametrize("text", ["ilpd(at=blocks.1.conv2)", "ilpd(at=nowhere)"])
def test_a_map_that_not_everything_goes_through_is_refused(setting: Setting, text: str) -> None:
    with pytest.raises(RuleError, match=r"conv2|nowhere"):
        craft(setting, text, 2)


@pytest.mark.parametrize("text", ["ilpd(at=blocks.0) + fia(at=stem)", "ilpd(at=blocks.0) + ila(at=blocks.0)"])
def test_a_map_behind_everything_that_is_read_is_refused(setting: Setting, text: str) -> None:
    with pytest.raises(RecipeError, match=r"ilpd.*no effect"):
        craft(setting, text, 2)


def test_on_a_transformer_beside_its_rules() -> None:
    images, labels = images_and_labels(COUNT)
    surrogate = linbp.Surrogate(tiny_transformer())
    found = {
        rule: linbp.craft(surrogate, images, labels, f"ilpd(at=blocks.1){rule}", eps=EPS, steps=3)
        for rule in ("", " + pna", " + vdc", " + linbp(start=0)")
    }
    assert len({tuple(adv.flatten().tolist()) for adv in found.values()}) == len(found)


@pytest.mark.parametrize("text", ["ilpd(share=0)", "ilpd(share=1)", "ilpd(sigma=-1)", "ilpd(at=[stem, blocks.0])"])
def test_values_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        Recipe.parse(text)
