"""What linbp promises of every part, one check each; a check raises an AssertionError with what is broken."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import torch

from linbp.attack.budget import Budget
from linbp.attack.config import AttackConfig
from linbp.attack.context import Context, Goal
from linbp.attack.feature_oracle import FeatureOracle
from linbp.attack.first_use import kept_random_state, random_state, same_state
from linbp.attack.gradients import StageGradients
from linbp.attack.recipe.recipe import Recipe
from linbp.attack.recipe.stage import Stage
from linbp.errors import LinbpError
from linbp.graph import Surrogate
from linbp.randomness import Draws
from linbp.registry import find
from linbp.registry.grammar import write
from linbp.testing.networks import small_surrogate
from linbp.testing.trial import EPS, Trial, torch_settings

__all__ = ["CHECKS"]

Check = Callable[[Trial], None]


def text(trial: Trial) -> None:
    """The part is written as text and as plain data, and read back the same; it has a docstring."""
    written = write(trial.part)
    name = trial.part.grammar_name
    assert find(name)[1] is type(trial.part) or find(name)[0] == "recipe", f"{name} is registered for something else"
    read = Recipe.parse(str(trial.recipe))
    assert read == trial.recipe, f"{trial.recipe} is read back as {read}"
    assert trial.part in read.stages[-1].parts, f"{written} is not read back"
    assert Recipe.from_dict(trial.recipe.to_dict()) == trial.recipe, f"{trial.recipe.to_dict()} is read back as another"
    assert hash(read) == hash(trial.recipe), "a parameter has no hash that equal ones share"
    doc = (type(trial.part).__doc__ or "").strip()
    generated = doc.startswith(f"{type(trial.part).__name__}(")  # by a dataclass
    assert doc if not generated else "", "it has no docstring, which `linbp show` prints"


def copies(trial: Trial) -> None:
    """The part can be pickled, for workers, and is the same afterwards."""
    again = pickle.loads(pickle.dumps(trial.part))
    assert again == trial.part, f"pickled and read back it is {again}"


def budget(trial: Trial) -> None:
    """Adversarial images are 8-bit images inside the ball, in L-inf and in L2, and different from the clean ones."""
    for norm, eps in (("linf", 6.5 / 255), ("l2", 0.6)):
        levels = trial.run(norm=norm, eps=eps) * 255
        assert torch.isfinite(levels).all(), f"NaN or infinite values in {norm}"
        assert (levels - levels.round()).abs().max() < 1e-3, f"values off the 8-bit grid in {norm}"
        assert levels.clamp(0, 255).equal(levels), f"values outside [0, 1] in {norm}"
        change = (levels.round().cpu().double() - trial.images.double()).flatten(1)
        farthest = float(change.abs().max()) if norm == "linf" else float(change.norm(dim=1).max()) / 255
        allowed = 6 if norm == "linf" else 0.6 + 1e-9
        assert farthest <= allowed, f"a change of {farthest:g} where {allowed:g} is allowed ({norm})"
        assert (change != 0).any(1).all(), f"an image that does not change in {norm}"


def repeatability(trial: Trial) -> None:
    """The same attack again gives the same bits, also after something else was attacked."""
    first = trial.run()
    assert torch.equal(first, trial.run()), (
        "a second run gives other images: is something kept, or not drawn from `draws`?"
    )
    prepared = trial.prepared()
    trial.run([1, 0], prepared=prepared)
    assert torch.equal(first, trial.run(prepared=prepared)), "a run after another one gives other images: what is kept?"


def batch(trial: Trial) -> None:
    """An image's result does not depend on which others are in its batch, nor on their order."""
    whole = trial.run()
    last = len(trial.images) - 1
    for rows in ([last], [last, 0], [1, last, 0], list(range(last, -1, -1))):
        found = trial.run(rows)
        same = [bool(torch.equal(one, whole[row])) for one, row in zip(found, rows, strict=True)]
        assert all(same), (
            f"image {rows[same.index(False)]} is another one in a batch of {len(rows)} than in one of {len(whole)}: "
            "are sums and norms taken image by image, and is everything drawn for each image?"
        )


def random_state_kept(trial: Trial) -> None:
    """Global random generators are neither drawn from nor seeded."""
    with kept_random_state():
        _refuse_other_state(trial)


def _refuse_other_state(trial: Trial) -> None:
    random.seed(12345), np.random.seed(12345), torch.manual_seed(12345)  # no state that an earlier run can have left
    before = random_state()
    trial.run()
    assert same_state(before, random_state()), "it draws from or seeds torch's, numpy's or Python's own generator"


def callers_things(trial: Trial) -> None:
    """The caller's images, network, and settings of torch are as they were."""
    prepared = trial.prepared()
    networks = [surrogate.model.module for surrogate in prepared.ensemble.surrogates]
    weights = [value.clone() for network in networks for value in network.state_dict().values()]
    images = trial.images.clone()
    seen: list[torch.Tensor] = []
    begin = Budget.__init__

    def noted(self: Budget, clean: torch.Tensor, *rest: Any, **named: Any) -> None:
        seen.extend((clean, clean.clone()))
        begin(self, clean, *rest, **named)

    with mock.patch.object(Budget, "__init__", noted):
        trial.run(prepared=prepared)
    assert torch.equal(*seen[:2]), "the clean images were changed in place"
    assert torch.equal(images, trial.images), "the caller's images were changed in place"
    after = [value for network in networks for value in network.state_dict().values()]
    assert all(torch.equal(one, other) for one, other in zip(weights, after, strict=True)), (
        "the network's weights changed"
    )
    assert trial.settings == torch_settings(), "a setting of torch (gradients, dtype, determinism) is another one"


def effect(trial: Trial) -> None:
    """Without the part, the images are others. What every recipe has without saying so is compared with nothing."""
    if trial.part in Stage().parts:
        return
    try:
        other = trial.run(recipe=trial.without)
    except LinbpError:  # what stands beside the part does not stand alone
        return
    assert not torch.equal(other, trial.run()), (
        f"{write(trial.part)} changes nothing, and a part without effect is an error. Where it needs others to have "
        "one, name them: check_part(..., beside='mi')"
    )


def finite(trial: Trial) -> None:
    """Where a network has no gradient, or a tiny or a huge one, nothing becomes NaN and nothing falls silent."""
    for factor in (0.0, 1e-30, 1e30):
        for norm in ("linf", "l2"):
            found = _scaled(trial, factor, norm)
            assert torch.isfinite(found).all(), f"NaN or infinite images where gradients are times {factor:g} in {norm}"


def _scaled(trial: Trial, factor: float, norm: str) -> torch.Tensor:
    """The images of the attack with every gradient times a factor."""
    plain = StageGradients._gradient

    def scaled(self: StageGradients, *given: Any) -> torch.Tensor:
        return plain(self, *given) * factor

    with mock.patch.object(StageGradients, "_gradient", scaled):
        return trial.run(norm=norm, eps=0.6 if norm == "l2" else EPS)


def gradient(trial: Trial) -> None:
    """A gradient reaches every image through the part, and it is finite."""
    norms: list[torch.Tensor] = []
    plain = StageGradients._gradient

    def noted(self: StageGradients, *given: Any) -> torch.Tensor:
        found = plain(self, *given)
        norms.append(found.abs().amax((1, 2, 3)))
        return found

    with mock.patch.object(StageGradients, "_gradient", noted):
        trial.run()
    assert norms, "no gradient is asked for"
    largest = torch.stack(norms).amax(0)
    assert torch.isfinite(largest).all(), "a gradient is NaN or infinite"
    assert (largest > 0).all(), "no gradient reaches an image: is something detached, rounded or converted?"


def cost(trial: Trial) -> None:
    """The number of gradients per image that results print is the number that is computed."""
    counted = 0

    def counting(plain: Callable[..., Any], always: bool = False) -> Callable[..., Any]:
        def noted(self: Surrogate, *given: Any) -> Any:
            nonlocal counted
            counted += (always or torch.is_grad_enabled()) * self.plan.walks
            return plain(self, *given)

        return noted

    prepared = trial.prepared()
    run, observe = (
        mock.patch.object(Surrogate, name, counting(getattr(Surrogate, name))) for name in ("run", "observe")
    )
    at_maps = mock.patch.object(Surrogate, "feature_gradients", counting(Surrogate.feature_gradients, always=True))
    with run, observe, at_maps:
        trial.run(prepared=prepared)
    members = len(prepared.ensemble.surrogates)
    promised = trial.recipe.gradients(trial.steps, members)
    assert counted == promised, f"{counted} gradients per image are computed, and results say {promised}"


def shapes(trial: Trial) -> None:
    """A transform keeps shape, dtype and device, in float32 as in float64, for images that are higher than wide."""
    if trial.part.kind != "transform":
        return
    prepared, draws = trial.prepared(), Draws(0, ["a", "b"], 0)
    own = _context(trial, trial.images[:2, :, :, :-3].to(prepared.ensemble.dtype) / 255)
    stage = prepared.stages[-1]
    asked = stage.asked[stage.parts.transforms.index(trial.part)]
    bound = trial.part.bind(own, [FeatureOracle(surrogate=one, draws=draws) for one in asked])
    for dtype in (torch.float64, torch.float32):
        images = trial.images[:2, :, :, :-3].to(dtype) / 255
        context = _context(trial, images)
        for number in range(trial.part.copies):
            found = bound.apply(images.clone(), context, draws, number)
            assert found.shape == images.shape, f"images of shape {tuple(images.shape)} become {tuple(found.shape)}"
            assert found.dtype == dtype, f"images in {dtype} become {found.dtype}"


def _context(trial: Trial, clean: torch.Tensor) -> Context:
    config: AttackConfig = trial.config()
    return Context(
        budget=Budget(clean, config.eps * len(clean), norm="linf", rounding="inward"),
        goal=Goal(labels=trial.labels[: len(clean)]),
        step_size=torch.full((len(clean), 1, 1, 1), config.step_sizes[-1][0]).to(clean),
        steps=trial.steps,
        pool=trial.pool,
    )


def single_precision(trial: Trial) -> None:
    """It works in float32, and an image's result there does not depend on its batch either."""
    if trial.model is not small_surrogate():
        return
    narrow = Trial(**{**vars(trial), "model": small_surrogate(0, torch.float32)})
    whole = narrow.run()
    assert whole.dtype == torch.float32, f"images of a network in float32 are {whole.dtype}"
    assert torch.equal(narrow.run([2])[0], whole[2]), "in float32 an image depends on the others of its batch"


CHECKS: dict[str, Check] = {
    "text": text,
    "pickle": copies,
    "shape": shapes,
    "gradient": gradient,
    "finite": finite,
    "budget": budget,
    "random state": random_state_kept,
    "repeatability": repeatability,
    "batch": batch,
    "float32": single_precision,
    "caller": callers_things,
    "effect": effect,
    "cost": cost,
}
"""Every check of a part by its name, in the order in which a fault is easiest to understand."""
