"""Each check of the kit finds a part that breaks what it is for, and says which check it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import torch

import linbp
from linbp import registry
from linbp.attack import Context, Estimator, GradientOracle, Objective, Transform, Update
from linbp.graph import Operation, Plan, Scale, Structure
from linbp.registry import part
from linbp.testing import PartError, check_part, check_rule
from linbp.testing.checks import CHECKS
from linbp.testing.networks import small_surrogate
from linbp.testing.rule_checks import RULE_CHECKS


class Same(Transform):
    """Shifts the image by one pixel, and is the base of broken ones."""

    def apply(self, images: torch.Tensor, context: Context, draws: Any, copy: int) -> torch.Tensor:
        return self.change(images, context).roll(1, -1)

    def change(self, images: torch.Tensor, context: Context) -> torch.Tensor:
        return images


class Undocumented(Same):
    pass


class Growing(Same):
    """Its parameter is another one each time that it is read."""

    size: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", self.size + 1)


class Unpicklable(Same):
    """Keeps a function that no worker can be sent."""

    size: int = 1

    def __getstate__(self) -> Any:
        return lambda: None


class Smaller(Same):
    """Leaves a row out."""

    def change(self, images: torch.Tensor, context: Context) -> torch.Tensor:
        return images[..., :-1, :]


class Widening(Same):
    """Gives float64 for everything."""

    def change(self, images: torch.Tensor, context: Context) -> torch.Tensor:
        return images.double()


class Detaching(Same):
    """Cuts the gradient off."""

    def change(self, images: torch.Tensor, context: Context) -> torch.Tensor:
        return images.detach()


class Rounding(Same):
    """Has a gradient that is zero."""

    def change(self, images: torch.Tensor, context: Context) -> torch.Tensor:
        return (images * 255).round() / 255


class Drawing(Same):
    """Draws from torch's own generator."""

    def change(self, images: torch.Tensor, context: Context) -> torch.Tensor:
        return images + 0.1 * torch.rand_like(images)


class Seeding(Same):
    """Draws the same each time, and leaves the generator seeded."""

    def change(self, images: torch.Tensor, context: Context) -> torch.Tensor:
        torch.manual_seed(0)
        return images + 0.1 * torch.rand_like(images)


class Counting(Same):
    """Keeps something from run to run."""

    seen: ClassVar[list[int]] = []

    def change(self, images: torch.Tensor, context: Context) -> torch.Tensor:
        self.seen.append(1)
        return images.roll(len(self.seen), -2)


class Centring(Same):
    """Takes the mean of the whole batch."""

    def change(self, images: torch.Tensor, context: Context) -> torch.Tensor:
        return 3 * images - 2 * images.mean()


class Determined(Same):
    """Changes a setting of torch."""

    def change(self, images: torch.Tensor, context: Context) -> torch.Tensor:
        torch.use_deterministic_algorithms(True)
        return images


class Touching(Same):
    """Changes the clean images in place, too little to be seen in the result."""

    def change(self, images: torch.Tensor, context: Context) -> torch.Tensor:
        context.budget.clean.mul_(1 - 1e-13)
        return images


class Idle(Transform):
    """Changes nothing."""

    def apply(self, images: torch.Tensor, context: Context, draws: Any, copy: int) -> torch.Tensor:
        return images


class Widely(Update):
    """Makes the ball wider."""

    def bind(self, context: Context) -> Any:
        context.budget.eps.mul_(3)
        context.budget.allowed.mul_(3)
        return Update.bind(self, context)


class Dividing(Update):
    """Divides by a norm that may be 0."""

    def bind(self, context: Context) -> Any:
        @dataclasses.dataclass
        class State:
            def look_ahead(self, images: torch.Tensor) -> torch.Tensor:
                return images

            def direction(self, gradient: torch.Tensor) -> torch.Tensor:
                return (gradient / gradient.abs().sum((1, 2, 3), keepdim=True)).roll(1, -1)

        return State()


class OnlyWide(Dividing):
    """Works in float64 only."""

    def bind(self, context: Context) -> Any:
        if context.step_size.dtype != torch.float64:
            raise TypeError("no float32")
        return Rolled()


class Rolled:
    def look_ahead(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.roll(1, -1)


class Dear(Estimator):
    """Takes two gradients and says one."""

    def gradients_per_step(self, members: int) -> int:
        return members

    def bind(self, context: Context) -> Callable[[GradientOracle, torch.Tensor], torch.Tensor]:
        return lambda oracle, images: oracle.gradient(images) + oracle.gradient(images.roll(1, -1), "second")


class Averaging(Objective):
    """Gives one number for the whole batch."""

    def bind(self, context: Context, features: Any) -> Any:
        return lambda seen: seen.logits.mean()


class Broadcasting(Update):
    """Gives one direction for the whole batch."""

    def bind(self, context: Context) -> Any:
        @dataclasses.dataclass
        class State(Rolled):
            def direction(self, gradient: torch.Tensor) -> torch.Tensor:
                return gradient.mean(0, keepdim=True)

        return State()


BROKEN: list[tuple[type, str, str]] = [
    (Undocumented, "transform", "text"),
    (Growing, "transform", "text"),
    (Unpicklable, "transform", "pickle"),
    (Smaller, "transform", "shape"),
    (Widening, "transform", "shape"),
    (Detaching, "transform", "gradient"),
    (Rounding, "transform", "gradient"),
    (Averaging, "objective", "gradient"),
    (Broadcasting, "update", "gradient"),
    (Dividing, "update", "finite"),
    (Widely, "update", "budget"),
    (Drawing, "transform", "random state"),
    (Seeding, "transform", "random state"),
    (Counting, "transform", "repeatability"),
    (Centring, "transform", "batch"),
    (OnlyWide, "update", "float32"),
    (Determined, "transform", "caller"),
    (Touching, "transform", "caller"),
    (Idle, "transform", "effect"),
    (Dear, "estimator", "cost"),
]


@pytest.fixture(autouse=True)
def _parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The broken parts are registered, and torch is as it was afterwards."""
    for kind, known in registry._registry.items():
        monkeypatch.setitem(registry._registry, kind, dict(known))
    for broken, kind, _ in [*BROKEN, (Same, "transform", "")]:
        name: str = broken.__name__.lower()
        if "kind" in vars(broken):
            registry.register(kind, name, broken)  # type: ignore[arg-type]
        else:
            part(kind, name)(broken)  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=[]):
        yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(("broken", "kind", "check"), BROKEN, ids=[broken.__name__ for broken, _, _ in BROKEN])
def test_a_broken_part_is_found_by_the_check_that_is_for_it(broken: type, kind: str, check: str) -> None:
    with pytest.raises(PartError) as caught:
        check_part(broken)
    assert caught.value.check == check, caught.value
    assert broken.__name__.lower() in str(caught.value)


def test_every_check_has_a_broken_part() -> None:
    assert {check for _, _, check in BROKEN} == set(CHECKS)
    assert {check for _, check in RULES} | {"forward"} == set(RULE_CHECKS)


def test_a_sound_part_passes_in_every_way_to_name_it() -> None:
    for given in (Same, Same(), "same", "  same( )"):
        check_part(given)
    check_part("same", beside="linbp(start=0) + mi")
    check_part("same", model=linbp.Ensemble([small_surrogate(0), small_surrogate(1)]), steps=2)


def test_what_is_skipped_is_not_checked_and_has_to_exist() -> None:
    check_part(Idle, skip=["effect"])
    with pytest.raises(ValueError, match="'effect'"):
        check_part(Idle, skip=["efect"])


@pytest.mark.parametrize("wrong", ["mi + same", "mdi2fgsm", 3, object])
def test_what_is_not_one_part_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="not one part"):
        check_part(wrong)


@dataclasses.dataclass(frozen=True)
class AtBranches:
    """A rule that acts on every residual branch."""

    change: Callable[[torch.Tensor, Any], torch.Tensor]

    def plan(self, structure: Structure) -> Plan:
        return Plan(branches={one.index: self.change for one in structure.junctions})


class Wandering:
    """Acts at one place and then at another."""

    def __init__(self) -> None:
        self.asked = 0

    def plan(self, structure: Structure) -> Plan:
        self.asked += 1
        return Plan(edges={structure.junctions[self.asked % 2].index: Scale(0.5)})


class Silent:
    """Lets no gradient through the attention's sum, its skip included."""

    def plan(self, structure: Structure) -> Plan:
        return Plan(sites={site.index: Zero() for site in structure.sites})


@dataclasses.dataclass(frozen=True)
class Zero:
    """Nothing passes."""

    needs: str = "nothing"

    def __call__(self, gradient: torch.Tensor, ordinary: Operation) -> torch.Tensor:
        return 0 * gradient


def norm_of_batch(gradient: torch.Tensor, branch: Any) -> torch.Tensor:
    found = branch.ordinary_gradient(gradient)
    return found * (1 + found.norm() / (1 + found.flatten(1).norm(dim=1)).view(-1, 1, 1, 1))


def unguarded(gradient: torch.Tensor, branch: Any) -> torch.Tensor:
    found = branch.ordinary_gradient(gradient)
    return found / found.flatten(1).norm(dim=1).view(-1, *[1] * (found.ndim - 1)) * 0.5


RULES: list[tuple[Callable[[], Any], str]] = [
    (Wandering, "plan"),
    (Silent, "gradient"),
    (lambda: AtBranches(norm_of_batch), "batch"),
    (lambda: AtBranches(unguarded), "finite"),
    (lambda: AtBranches(lambda gradient, branch: branch.ordinary_gradient(gradient)), "effect"),
]


@pytest.mark.parametrize(("make", "check"), RULES, ids=[check for _, check in RULES])
def test_a_broken_rule_is_found_by_the_check_that_is_for_it(make: Callable[[], Any], check: str) -> None:
    with pytest.raises(PartError) as caught:
        check_rule(make())
    assert caught.value.check == check, caught.value


def test_a_rule_that_changes_the_logits_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine lets no rule do that; so the rewritten network itself is changed here."""
    plain = linbp.Surrogate.run
    monkeypatch.setattr(linbp.Surrogate, "run", lambda self, images: plain(self, images) * (1 + len(self.rules)))
    with pytest.raises(PartError) as caught:
        check_rule("sgm")
    assert caught.value.check == "forward"


def test_a_rule_that_does_not_fit_the_network_is_said() -> None:
    with pytest.raises(PartError, match=r"no\.such\.module"):
        check_rule(linbp.LinBP(start="no.such.module"))
