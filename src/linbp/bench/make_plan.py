"""From a suite to a plan: everything is resolved and checked before any work, and every fault is told at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from linbp.attack.config import AttackConfig
from linbp.attack.job.images import preparation_of, read_pool
from linbp.attack.job.manifest import job_settings
from linbp.attack.named_surrogates import split_rules
from linbp.attack.protocol import Protocol
from linbp.attack.published_protocols import find_protocol
from linbp.bench.class_lists import check_class_lists
from linbp.bench.clean_images import CleanImages, Listing, list_entries, preparation_key, read_clean
from linbp.bench.cost import needs_pool
from linbp.bench.faults import Faults
from linbp.bench.keys import arithmetic, content_key, package_versions
from linbp.bench.networks import Network, Networks
from linbp.bench.own_labels import with_own_labels
from linbp.bench.plan import Plan, PlannedAttack, PlannedVictim
from linbp.bench.plan_recipes import AttackName, configs_of, recipes_of
from linbp.bench.store import Store
from linbp.bench.suite import Selection, Suite, SuiteRecipe, SuiteSurrogate
from linbp.bench.suite_data import FilesData
from linbp.data.image_list import ImageRecord, list_images
from linbp.data.labels import check_labels
from linbp.data.preprocessing import Preparation
from linbp.errors import ImageError, RecipeError
from linbp.evaluation.roles import has_weights_of_surrogate
from linbp.evaluation.victim_input import VictimPreprocessing, preprocessing_for, resolve_victim_input
from linbp.evaluation.victim_labels import PREDICTED
from linbp.jobs.progress import ProgressCallback
from linbp.models import Model
from linbp.models.refined import refuse_turns

__all__ = ["make_plan"]


@dataclass
class _Surrogate:
    """What is known of a surrogate before anything is captured."""

    suite: SuiteSurrogate
    identity: dict[str, Any]
    preparation: Preparation | None
    classes: int


@dataclass
class _Planner:
    """Makes one plan."""

    suite: Suite
    base: Path
    networks: Networks
    faults: Faults = field(default_factory=Faults)
    classes: dict[str, int] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)

    def protocol(self) -> Protocol | None:
        return None if self.suite.protocol is None else find_protocol(self.suite.protocol)

    def surrogates(self, configs: Mapping[AttackName, AttackConfig]) -> list[_Surrogate]:
        found = []
        for surrogate in self.suite.surrogates:
            with self.faults.collected(f"Surrogate {surrogate.name}: "):
                models = [self.networks.model(split_rules(text)[0]) for text in surrogate.models]
                own = [config for (name, *_), config in configs.items() if name == surrogate.name]
                preparation = preparation_of(own[0], models) if own else None
                counts = [
                    self.count_classes(model, f"surrogate {surrogate.name if len(models) == 1 else model.name}")
                    for model in models
                ]
                self.roles[surrogate.name] = (
                    next(reversed(self.classes)) if len(models) == 1 else f"surrogate {models[0].name}"
                )
                found.append(_Surrogate(surrogate, self.networks.identity(surrogate), preparation, counts[0] or 0))
        return found

    def classes_agree(self) -> None:
        """Refuse networks that are held to one list of labels, and have other classes.

        Raises:
            ModelError: there are such networks.
        """
        one_list = any(victim.labels is None for victim in self.suite.victims)
        apart = {f"victim {one.name}" for one in self.suite.victims if one.labels is not None}
        if not one_list:
            apart |= {self.roles.get(one.name, "") for one in self.suite.surrogates if self._labels(one) == PREDICTED}
        kept = [role for role in self.classes if role not in apart]
        check_class_lists(
            {role: self.classes[role] for role in kept},
            {role: names for role, names in self.names.items() if role not in apart},
        )

    def _labels(self, surrogate: SuiteSurrogate) -> str:
        return surrogate.labels or self.suite.labels

    @property
    def first_given(self) -> SuiteSurrogate | None:
        """The first surrogate whose classes the data's labels are; None where all take their own predictions."""
        return next((one for one in self.suite.surrogates if self._labels(one) != PREDICTED), None)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes that the first victim is scored by; empty where nobody names them."""
        first, data = self.suite.victims[0], self.suite.data
        if isinstance(data, FilesData) and isinstance(data.classes, tuple):
            return data.classes
        own = self.names.get(f"victim {first.name}", ())
        return own if own or first.labels is not None else next(iter(self.names.values()), ())

    def numbered(self, listing: Listing) -> Listing:
        """The data with numbers of the surrogates' classes where they are named in words.

        Raises:
            ImageError: a word is none of them.
        """
        if self.first_given is None or self.first_given.name not in self.roles:
            return listing
        role = self.roles[self.first_given.name]
        return listing.numbered(self.names.get(role, ()), self.first_given.name, self.classes.get(role))

    def count_classes(self, network: Network, role: str) -> int | None:
        """How many classes a network has; None where only asking it would tell."""
        if network.class_names:
            self.names[role] = tuple(network.class_names)
        if isinstance(network, Model):
            self.classes[role] = network.count_classes()
        elif network.class_names:
            self.classes[role] = len(network.class_names)
        return self.classes.get(role)

    def victims(self, protocol: Protocol | None, surrogates: list[_Surrogate]) -> list[PlannedVictim]:
        about = None if protocol is None else protocol.to_dict()
        chosen = resolve_victim_input({"protocol": about}, self.suite.victim_input)
        found = []
        for victim in self.suite.victims:
            with self.faults.collected(f"Victim {victim.name}: "):
                network = self.networks.network(victim.model)
                refuse_turns(network)
                identity = network.identity()
                self.count_classes(network, f"victim {victim.name}")
                views: dict[str, VictimPreprocessing] = {}
                for one in surrogates:
                    manifest = {"protocol": about, "settings": {"surrogate": one.identity}}
                    views[one.suite.name] = preprocessing_for(network, manifest, chosen)
                white = frozenset(
                    one.suite.name
                    for one in surrogates
                    if has_weights_of_surrogate(identity, {"settings": {"surrogate": one.identity}})
                )
                found.append(PlannedVictim(victim, identity, views, white))
        return found

    def check_labels(self, images: CleanImages) -> None:
        """Refuse labels that are missing, or that the first network does not have."""
        with self.faults.collected():
            if self.first_given is not None and (
                missing := next((record for record in images.records if record.label is None), None)
            ):
                raise ImageError(
                    f"Image {missing.image_id!r} has no label.",
                    'Give labels in a CSV or as names of sub-folders, or write labels = "predicted" in the suite.',
                )
            role = "" if self.first_given is None else self.roles.get(self.first_given.name, "")
            for name, count in [(role, self.classes[role])] if role in self.classes else []:
                for what in ("label", "target"):
                    rows = [
                        (one.image_id, value) for one in images.records if (value := getattr(one, what)) is not None
                    ]
                    check_labels([row[0] for row in rows], [row[1] for row in rows], count, what=what, network=name)


def make_plan(
    suite: Suite,
    base: Path,
    store: Store | None,
    networks: Networks,
    *,
    device: str = "cpu",
    tell: ProgressCallback,
) -> Plan:
    """The plan of a suite.

    Args:
        suite: as it was read.
        base: the folder that its paths are relative to.
        store: where the run lies; None for a plan that is only shown.
        networks: loads them.
        device: where networks run.
        tell: told how far it is.

    Raises:
        SuiteError, LinbpError: everything that is wrong, as far as it can be known.
    """
    planner = _Planner(suite, base, networks)
    faults = planner.faults
    protocol = None
    with faults.collected():
        protocol = planner.protocol()
    tell("loading the networks", 0, len(suite.surrogates) + len(suite.victims))
    recipes = recipes_of(suite, faults)
    configs = configs_of(suite, recipes, protocol, faults)
    surrogates = planner.surrogates(configs)
    tell("loading the networks", len(suite.surrogates), len(suite.surrogates) + len(suite.victims))
    victims: list[PlannedVictim] = []
    with faults.collected():
        victims = planner.victims(protocol, surrogates)
    tell("loading the networks", 1, 1)
    if not suite.trust_labels:
        with faults.collected():
            planner.classes_agree()
    preparations = {preparation_key(one.preparation): one.preparation for one in surrogates} or {"": None}
    images: CleanImages | None = None
    pool: tuple[ImageRecord, ...] = ()
    with faults.collected():
        # Nothing is written for a suite that has a fault.
        listing = planner.numbered(list_entries(suite.data, base))
        images = read_clean(listing, preparations, None if faults.found else store, tell)
    with faults.collected("The pool: "):
        pool = _pool(suite, base, configs)
    if images is not None:
        counts = {name.removeprefix("victim "): count for name, count in planner.classes.items()}
        victims = [with_own_labels(one, suite, base, images, networks, counts, faults) for one in victims]
        planner.check_labels(images)
    faults.raise_any()
    assert images is not None
    first = next(iter(configs.values()))
    attacks = tuple(
        _attack(suite, one, recipes[surrogate, name], eps, config, pool, device, tell)
        for one in surrogates
        for (surrogate, name, eps, _), config in configs.items()
        if surrogate == one.suite.name
    )
    return Plan(
        suite=_filled(suite, base, first),
        store="" if store is None else store.url,
        images=images,
        attacks=attacks,
        victims=tuple(victims),
        selection=_selection(suite, protocol),
        device=device,
        pool=pool,
        folder=os.getcwd(),
        class_names=planner.class_names,
    )


def _attack(
    suite: Suite,
    surrogate: _Surrogate,
    recipe: SuiteRecipe,
    eps: str,
    config: AttackConfig,
    pool: tuple[ImageRecord, ...],
    device: str,
    tell: ProgressCallback,
) -> PlannedAttack:
    needs = needs_pool(config.recipe)
    settings = job_settings(
        config,
        surrogate.preparation,
        surrogate.identity,
        [rule for text in surrogate.suite.models for rule in split_rules(text)[1]],
        pool=read_pool(pool, surrogate.preparation, 4, tell).sha256 if needs else None,
        proxies=(),
        images_sha256="",
    )
    about = None if config.protocol is None else config.protocol.to_dict()
    # The recipe's words may be written in several ways; its parts are what counts.
    determines = {**settings, "recipe": config.recipe.to_dict()["stages"], "protocol": about}
    key = content_key(determines, arithmetic(device, suite.tf32), suite.threads, package_versions("torch"))
    return PlannedAttack(surrogate.suite, recipe, eps, config, surrogate.preparation, settings, key, needs)


def _pool(suite: Suite, base: Path, configs: Mapping[AttackName, AttackConfig]) -> tuple[ImageRecord, ...]:
    if suite.pool is None:
        return ()
    if configs and not any(needs_pool(config.recipe) for config in configs.values()):
        raise RecipeError("No recipe makes use of it.", "Leave pool out of the suite.")
    return list_images(base / suite.pool)


def _selection(suite: Suite, protocol: Protocol | None) -> Selection:
    if suite.selection is not None:
        return suite.selection
    return "right-on-every-victim" if protocol is not None and protocol.selection == "every-victim" else "none"


def _filled(suite: Suite, base: Path, first: AttackConfig) -> Suite:
    """The suite with its defaults filled in and its paths absolute, as the run keeps it."""
    protocol = first.protocol
    data = suite.data
    if "path" in type(data).model_fields:
        data = data.model_copy(update={"path": str((base / data.path).absolute())})  # type: ignore[union-attr]
    if isinstance(data, FilesData) and isinstance(data.classes, str):
        data = data.model_copy(update={"classes": str((base / data.classes).absolute())})
    cost = suite.cost
    if cost.steps is None and cost.gradients is None:
        cost = cost.model_copy(update={"steps": first.steps})
    return suite.model_copy(
        update={
            "data": data,
            "victims": tuple(
                one.model_copy(update={"labels": str((base / one.labels).absolute())})
                if one.labels is not None and (base / one.labels).exists()
                else one
                for one in suite.victims
            ),
            "pool": None if suite.pool is None else str((base / suite.pool).absolute()),
            "norm": first.norm,
            "rounding": first.rounding,
            "selection": _selection(suite, protocol),
            "victim_input": suite.victim_input or ("own" if protocol is None else "protocol"),
            "cost": cost,
        }
    )
