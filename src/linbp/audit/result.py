"""An audit, resolved: everything that a report tells, as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from linbp.audit.choose import LeftOut
from linbp.audit.flags import Flag
from linbp.audit.verdict import RadiusVerdict
from linbp.evaluation.statistics import Difference, Rate

if TYPE_CHECKING:
    from linbp.bench.store import Store

__all__ = [
    "AttackRate",
    "Audit",
    "Baseline",
    "Change",
    "Changed",
    "ClassExposure",
    "Example",
    "Exposure",
    "Queries",
    "Reference",
    "SuiteFacts",
    "SurrogateFacts",
    "VictimFacts",
    "atlas",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuiteFacts:
    """What was tried: name, version and hash of the suite, what a reader has to know of it, and the seed."""

    name: str
    version: str
    sha256: str
    about: str
    steps: int | None
    budget: int | None
    seed: int

    @property
    def draft(self) -> bool:
        """Whether the suite may still change."""
        return self.version == "draft"


@dataclasses.dataclass(frozen=True, kw_only=True)
class VictimFacts:
    """The audited model.

    Attributes:
        name: of the model.
        model: how it was loaded.
        sha256: of its weights or file; empty for a black-box model, which has none that could be read.
        key: content address of its weights, preprocessing and the versions that compute it.
        preprocessing: in words.
        clean: its accuracy on the clean images.
    """

    name: str
    model: str
    sha256: str
    key: str
    preprocessing: str
    clean: Rate


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurrogateFacts:
    """A network that the adversarial images were made on.

    Attributes:
        name, sha256, recipes: of the network, of its weights, and of the attacks on it.
        clean: what it has right; of one of other classes, nothing is counted.
        other_classes: whether its classes are not the model's, so that its attacks lead away from its own predictions.
        queries: how many answers of a victim it was trained on; 0 for what is no substitute.
        agreement: of a substitute: how often it says the victim's class of images it was not trained on.
    """

    name: str
    sha256: str
    recipes: tuple[str, ...]
    clean: Rate
    queries: int = 0
    other_classes: bool = False
    agreement: Rate | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackRate:
    """One attack at one radius.

    Attributes:
        surrogate, recipe, recipe_text: what made the images.
        steps, gradients: of each image.
        attack: its folder under `attacks/`.
        rate: on the audited model.
        own: on its own surrogate, over the images that this has right.
        white_box: whether the audited model has the surrogate's weights.
    """

    surrogate: str
    recipe: str
    recipe_text: str
    steps: int
    gradients: int
    attack: str
    rate: Rate
    own: Rate
    white_box: bool

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.recipe} on {self.surrogate}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exposure:
    """What happens at one radius.

    Attributes:
        eps, eps_text: the radius.
        worst: the exposure: images for which any of the attacks succeeded.
        attacks: each of them, in the suite's order.
        gradients: of all of them, per image.
        noise: random noise of the same size; None where it was not tried.
        noise_p: of the paired test of the best attack against the noise.
    """

    eps: float
    eps_text: str
    worst: Rate
    attacks: tuple[AttackRate, ...]
    gradients: int
    noise: Rate | None
    noise_p: float | None

    @property
    def best(self) -> AttackRate:
        """The single attack that succeeds most often; the first of equal ones."""
        return max(self.attacks, key=lambda one: one.rate.value or 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Changed:
    """What is left of the best attack at the decisive radius after its images were changed.

    Attributes:
        control: the name of the change.
        rate: images that the model has wrong after it, of those that it has right clean and unchanged.
        survival: of the attack's successes, those that are successes after the change too.
        clean: clean images that the model has wrong after the same change: what the change does by itself.
    """

    control: str
    rate: Rate
    survival: Rate
    clean: Rate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
    """A network that the audited model is compared with at the decisive radius.

    Attributes:
        name: of the network.
        clean: its accuracy on the clean images.
        attacks: how many attacks were compared: those made on neither of the two.
        exposure, victim: of the network, and of the audited model, under these attacks and on the images that both have
            right.
        difference: the audited model's less the network's, in points, with its interval and p.
        adjusted: p corrected by Holm's method for all references.
    """

    name: str
    clean: Rate
    attacks: int
    exposure: Rate
    victim: Rate
    difference: Difference
    adjusted: float

    @property
    def verdict(self) -> str:
        """`more` or `less` exposed than this network, or `alike`: not told apart."""
        if self.adjusted > 0.05 or not self.difference.value:
            return "alike"
        return "more" if self.difference.value > 0 else "less"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassExposure:
    """The exposure of the images of one class at the decisive radius."""

    label: int
    name: str
    rate: Rate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """An image under the best attack of the decisive radius.

    Attributes:
        image_id, file: the clean image.
        label: its class in words.
        attack: folder of the adversarial image, under `attacks/`.
        clean, adv: what the model sees, in words.
        fooled: whether the attack succeeded.
    """

    image_id: str
    file: str
    label: str
    attack: str
    clean: str
    adv: str
    fooled: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """What changed at one radius since another audit, on the images that both models have right.

    Attributes:
        eps, eps_text: the radius.
        before, after: the exposures on these images, under the attacks that both audits have.
        attacks: how many these are.
        difference: after less before, in points, with its interval and p.
        adjusted: p corrected by Holm's method for all radii.
        won, lost: how many images only the model of now, and only that of before, resists.
    """

    eps: float
    eps_text: str
    before: Rate
    after: Rate
    attacks: int
    difference: Difference
    adjusted: float
    won: int
    lost: int

    @property
    def worse(self) -> bool:
        """Whether the exposure has grown, and not by chance."""
        return self.difference.value > 0 and self.adjusted <= 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class Baseline:
    """Another audit: where it lies, the model's name, hash and clean accuracy there, and what changed."""

    run: str
    victim: str
    sha256: str
    clean: Rate
    changes: tuple[Change, ...]

    @property
    def worse(self) -> bool:
        """Whether the exposure has grown at any radius, and not by chance."""
        return any(one.worse for one in self.changes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Queries:
    """How often the audited model was asked: about adversarial images, in all, and by the attacker.

    The attacker asks only to train a substitute.
    """

    attacks: int
    total: int
    attacker: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Audit:
    """An audit.

    Attributes:
        out: where the run lies.
        suite, victim, surrogates: what was tried, on what, with what.
        named: whether the user named the surrogates.
        images: how many clean images.
        norm: of the radii: `linf`.
        radii: the exposure at each radius, the smallest first.
        decisive: the text of the radius that decides, and that the page shows first.
        verdicts: one for each radius.
        changed: the best attack after JPEG and a change of size; empty where it was not tried.
        references: networks that the model is compared with.
        classes: the most fragile first.
        examples: at most six.
        baseline: another audit; None without.
        queries: of the audited model.
        flags: reasons to doubt the figures.
        left_out: networks that the suite names and that were not used.
        class_names: of the labels; may be empty.
        complete: whether every attack was finished and every question answered.
        facts: date, device, versions, in words.
        command: what repeats the audit.
    """

    out: str
    suite: SuiteFacts
    victim: VictimFacts
    surrogates: tuple[SurrogateFacts, ...]
    named: bool
    images: int
    norm: str
    radii: tuple[Exposure, ...]
    decisive: str
    verdicts: tuple[RadiusVerdict, ...]
    changed: tuple[Changed, ...]
    references: tuple[Reference, ...]
    classes: tuple[ClassExposure, ...]
    examples: tuple[Example, ...]
    baseline: Baseline | None
    queries: Queries
    flags: tuple[Flag, ...]
    left_out: tuple[LeftOut, ...]
    class_names: tuple[str, ...]
    complete: bool
    facts: Mapping[str, str]
    command: str
    store: Store | None = None

    @property
    def exposure(self) -> dict[float, Rate]:
        """The exposure with its interval by radius, such as `audit.exposure[8/255]`."""
        return {one.eps: one.worst for one in self.radii}

    @property
    def headline(self) -> Exposure:
        """The exposure at the decisive radius."""
        return next(one for one in self.radii if one.eps_text == self.decisive)

    @property
    def failed(self) -> bool:
        """Whether a threshold was exceeded, or the exposure has grown since the baseline."""
        return any(one.failed for one in self.verdicts) or (self.baseline is not None and self.baseline.worse)

    @property
    def judged(self) -> bool:
        """Whether there was anything to fail: a threshold or a baseline."""
        return any(one.threshold is not None for one in self.verdicts) or self.baseline is not None


def atlas(audit: Audit) -> tuple[tuple[str, str], ...]:
    """The techniques of MITRE ATLAS that an audit imitates, in the order in which an attacker takes them."""
    asked = (("AML.T0040", "AI Model Inference API Access"), ("AML.T0005.001", "Train Proxy via Replication"))
    return (
        ("AML.T0002.001", "Acquire Public AI Artifacts: Models"),
        *(asked if audit.queries.attacker else ()),
        ("AML.T0043.002", "Craft Adversarial Data: Black-Box Transfer"),
        ("AML.T0015", "Evade AI Model"),
    )
