"""PatchOut: ATT's relevance, thresholds and images, and PNA's images, against the authors' code on two transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exhaustive import marked
from later_attacks import clean, labels, levels, moved, numbers, relative_error, surrogate

from linbp.attack import Budget, Context, Goal, Recipe, prepare
from linbp.attack.gradients import StageGradients
from linbp.attack.parts.transform import paced_patchout
from linbp.randomness import Draws

EPS, STEPS, STEP_SIZE = 8 / 255, 5, 2 / 255
TOLERANCE = 1e-6

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("network", marked(["vit_tiny", "deit_tiny"], ["deit_tiny"]))]


def bound(network: str, recipe: str) -> paced_patchout._Bound:
    """The transform of a recipe on both pictures."""
    context = Context(
        budget=Budget(clean(network), [EPS, EPS], norm="linf", rounding="inward"),
        goal=Goal(labels=labels(network)),
        step_size=torch.full((2, 1, 1, 1), STEP_SIZE, dtype=torch.float64),
        steps=STEPS,
    )
    (stage,) = prepare(surrogate(network), Recipe.parse(recipe)).stages
    (found,) = StageGradients(stage, context, Draws(0, ["0", "1"], 0)).transforms
    assert isinstance(found, paced_patchout._Bound)
    return found


def test_relevance_and_thresholds_of_att(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    scaled = paced_patchout._between_0_and_1
    monkeypatch.setattr(paced_patchout, "_between_0_and_1", lambda found: (seen.append(found), scaled(found))[1])
    thresholds = bound(network, "att + paced-patchout + mi").thresholds
    assert relative_error(seen[0], numbers(network)["att_relevance"]) < TOLERANCE
    assert relative_error(thresholds, numbers(network)["att_threshold"]) < TOLERANCE


def test_images_of_att_with_the_patches_of_the_file(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = torch.from_numpy(numbers(network)["att_masks"]).bool()
    monkeypatch.setattr(paced_patchout._Bound, "kept", lambda self, draws, steps: masks[:, draws.step])
    assert np.array_equal(levels(moved(network, "att-mifgsm")), numbers(network)["change_att"])


def test_images_of_pna_with_the_patches_of_the_file(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = numbers(network)["patchout_ids"]

    class Chosen:
        def __init__(self, step: int) -> None:
            self.step = step

        def choice(self, count: int, size: int, replace: bool) -> np.ndarray:
            assert (count, size, replace) == (196, 130, False)
            return chosen[self.step].astype(np.int64)

    monkeypatch.setattr(Draws, "generators", lambda self, purpose: [Chosen(self.step) for _ in self.ids])
    assert np.array_equal(levels(moved(network, "pna-patchout")), numbers(network)["change_pna_patchout"])
