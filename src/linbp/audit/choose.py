"""Which networks an audit attacks on, and which it compares the victim with: those that know the classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from linbp.audit.audit_suite import (
    AuditSuite,
    read_audit_suite,
    references_for_classes,
    shipped_audit_suites,
    suite_for_classes,
)
from linbp.audit.look import Look, Sample, look_at
from linbp.bench.networks import Network, Networks
from linbp.errors import ImageError, ModelError
from linbp.evaluation.roles import NO_WEIGHTS
from linbp.models import Model

__all__ = ["Choice", "LeftOut", "Pair", "choose"]

WAYS_OUT = (
    "Name a network of the same classes with --surrogate MODEL; or train one on the model's own answers with "
    "--queries N (linbp substitute does it by itself); or name one of other classes, such as --surrogate "
    "demo:squeezenet1_1, whose attacks are weaker."
)


@dataclasses.dataclass(frozen=True)
class Pair:
    """An attack and the network that it is made on."""

    recipe: str
    surrogate: str


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A network that the suite names and the audit does without, and why."""

    network: str
    why: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """What an audit uses.

    Attributes:
        suite: of the audit.
        named: whether the user named the surrogates.
        pairs: the attacks.
        references: networks that the victim is compared with.
        left_out: networks that are not used.
        looks: what the surrogates and references make of some clean images.
        other_classes: surrogates that the user names and that have other classes than the victim.
    """

    suite: AuditSuite
    named: bool
    pairs: tuple[Pair, ...]
    references: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    looks: dict[str, Look]
    other_classes: tuple[str, ...] = ()

    @property
    def surrogates(self) -> tuple[str, ...]:
        """The networks of the pairs, each once."""
        return tuple(dict.fromkeys(pair.surrogate for pair in self.pairs))


class _Candidates:
    """Networks that are loaded and looked at when they are first asked for."""

    def __init__(self, networks: Networks, sample: Sample, victim: Network, classes: int) -> None:
        self._networks, self._sample, self._classes = networks, sample, classes
        self._weights = victim.identity().get("weights_sha256")
        self.looks: dict[str, Look] = {}
        self.other_classes: list[str] = []
        self.left_out: dict[str, str] = {}

    def usable(self, name: str, role: str) -> bool:
        """Whether a network of the suite's can be used in a role."""
        try:
            network = self._networks.network(name)
        except ModelError as fault:
            self.left_out[name] = fault.message
            return False
        if role == "surrogate" and not isinstance(network, Model):
            self.left_out[name] = "It gives no gradients."
            return False
        own = network.identity().get("weights_sha256")
        if own == self._weights and own not in (None, NO_WEIGHTS):
            self.left_out[name] = "It is the audited network itself."
            return False
        look = self._look(name, network)
        if look.classes != self._classes or not look.knows_the_classes:
            right = f"{look.right.successes} of {look.right.n}"
            self.left_out[name] = f"It has {right} of the images right: its classes are not these."
            return False
        return True

    def named(self, name: str) -> None:
        """Look at a surrogate that the user names: it is used, whatever it knows.

        Raises:
            ModelError: it cannot be loaded, or gives no gradients.
        """
        if self._look(name, self._networks.model(name)).classes != self._classes:
            self.other_classes.append(name)

    def _look(self, name: str, network: Network) -> Look:
        if name not in self.looks:
            self.looks[name] = look_at(network, self._sample)
        return self.looks[name]


def choose(
    networks: Networks,
    victim: Network,
    sample: Sample,
    classes: int,
    *,
    suite: str | None,
    surrogates: Sequence[str],
    tell: Callable[[str, int, int], None],
) -> Choice:
    """Choose suite, surrogates and references for a victim.

    Args:
        networks: loads them.
        victim: the audited network.
        sample: some clean images.
        classes: how many the victim has.
        suite: its name; None: by the number of classes.
        surrogates: that the user names.
        tell: told how far it is.

    Raises:
        ModelError: there is no surrogate for these classes, or one that is named cannot be used.
        ImageError: a label that is no class of the victim's.
    """
    _check_labels(sample, classes)
    found = read_audit_suite(suite) if suite is not None else suite_for_classes(classes, surrogates)
    if found is None:
        raise ModelError(f"No network that comes with linbp has the {classes} classes of {victim.name}.", WAYS_OUT)
    if found.classes not in (None, classes) and not surrogates:
        raise ModelError(
            f"The suite {found.name} is for {found.classes} classes, and {victim.name} has {classes}.",
            f"Suites that ship: {', '.join(shipped_audit_suites())}.",
        )
    candidates = _Candidates(networks, sample, victim, classes)
    wanted = list(dict.fromkeys([*surrogates, *(name for one in found.attacks for name in one.surrogates)]))
    references = found.references or references_for_classes(classes)
    total = len({*wanted, *references})
    tell("looking at networks", 0, total)
    if surrogates:
        for done, name in enumerate(dict.fromkeys(surrogates), 1):
            candidates.named(name)
            tell("looking at networks", done, total)
        pairs = [Pair(recipe, name) for name in dict.fromkeys(surrogates) for recipe in found.recipes]
    else:
        pairs = _suite_pairs(found, candidates, lambda done: tell("looking at networks", done, total))
    if not pairs:
        why = "; ".join(f"{name}: {text}" for name, text in candidates.left_out.items())
        raise ModelError(
            f"There is no surrogate for the classes of {victim.name}." + (f" ({why})" if why else ""), WAYS_OUT
        )
    chosen = [name for name in references if candidates.usable(name, "reference")]
    tell("looking at networks", total, total)
    used = {pair.surrogate for pair in pairs} | set(chosen)
    return Choice(
        suite=found,
        named=bool(surrogates),
        pairs=tuple(dict.fromkeys(pairs)),
        references=tuple(name for name in chosen if name not in surrogates),
        left_out=tuple(LeftOut(name, why) for name, why in candidates.left_out.items() if name not in used),
        looks={name: look for name, look in candidates.looks.items() if name in used},
        other_classes=tuple(candidates.other_classes),
    )


def _suite_pairs(suite: AuditSuite, candidates: _Candidates, tell: Callable[[int], None]) -> list[Pair]:
    """The suite's attacks, each on the first of its surrogates that can be used."""
    if not any(one.surrogates for one in suite.attacks):
        raise ModelError(f"The suite {suite.name} is for surrogates of your own, and none is named.", WAYS_OUT)
    found = []
    for done, one in enumerate(suite.attacks, 1):
        name = next((name for name in one.surrogates if candidates.usable(name, "surrogate")), None)
        if name is not None:
            found.append(Pair(one.name, name))
        tell(done)
    return found


def _check_labels(sample: Sample, classes: int) -> None:
    for record in sample.records:
        if record.label is not None and not 0 <= record.label < classes:
            raise ImageError(
                f"The label of image {record.image_id!r} is {record.label}, but the model has the classes 0 to "
                f"{classes - 1}.",
                "Labels must be the model's classes, counted from 0; for a list that counts from 1: --first-label 1.",
            )
