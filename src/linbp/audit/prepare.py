"""From what a user asks for to what the bench will do: networks, attacks, radii, thresholds, and what that takes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter as clock
from typing import Any

from pydantic import TypeAdapter

from linbp.attack.budget import parse_radius
from linbp.audit.bench_suite import bench_suite
from linbp.audit.choose import Choice, LeftOut, choose
from linbp.audit.controls import CHANGES
from linbp.audit.data import data_of, with_class_names
from linbp.audit.doubts import other_classes
from linbp.audit.fit import Fit, Pace, fit_time, keep
from linbp.audit.look import look_at, sample_of
from linbp.audit.substitute import Substitution
from linbp.audit.verdict import decisive_radius, read_thresholds
from linbp.bench.estimate import Estimate, estimate
from linbp.bench.networks import Network, Networks
from linbp.bench.run_files import SUITE
from linbp.bench.store import Store, open_store
from linbp.bench.suite import Suite, tomllib
from linbp.bench.suite_data import Data
from linbp.data.secret_names import refuse_secrets
from linbp.errors import BudgetError
from linbp.jobs.progress import ProgressCallback
from linbp.models import Classifier, Model

__all__ = ["AuditPlan", "Prepared", "prepare"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """What an audit is about to do.

    Attributes:
        victim: the audited model's name.
        classes: how many it has.
        suite: name and version of the suite.
        surrogates, references: networks.
        left_out: networks that the suite names and that are not used.
        attacks: pairs of surrogate and recipe, at each radius.
        eps: radii.
        steps: of each attack; several numbers where attacks cost differently.
        images: how many.
        queries: that the audited model is asked, in all.
        seconds: that is left to do.
        disk: bytes in the end.
        resumed: whether a part of it is done already.
        fitted: what was taken away to fit the time, and what that costs; empty for nothing.
        notes: what should be known of labels and surrogates.
    """

    victim: str
    classes: int
    suite: str
    surrogates: tuple[str, ...]
    references: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    attacks: int
    eps: tuple[str, ...]
    steps: tuple[int, ...]
    images: int
    queries: int
    seconds: float
    disk: int
    resumed: bool
    fitted: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """What an audit will do, resolved.

    Attributes:
        spec: the name by which the model is loaded.
        network: the model.
        classes: how many it has.
        choice: of suite, attacks and networks.
        radii: as texts, the smallest first.
        decisive: of them, the one that decides.
        thresholds: by radius, as texts.
        suite: of the bench.
        models: networks that were given as objects, by name.
        expected: what it takes.
        fitted: what was taken away to fit the time, in words.
        label_notes: what should be known of the labels.
    """

    spec: str
    network: Network
    classes: int
    choice: Choice
    radii: tuple[str, ...]
    decisive: str
    thresholds: Mapping[str, float]
    suite: Suite
    models: Mapping[str, Classifier]
    expected: Estimate
    fitted: str
    label_notes: tuple[str, ...] = ()

    @property
    def plan(self) -> AuditPlan:
        """The same for people, before it is done."""
        asked = len(self.expected.attacks) + 1 + len(self.radii) + 2 * len(CHANGES)
        return AuditPlan(
            victim=self.network.name,
            classes=self.classes,
            suite=f"{self.choice.suite.name}-{self.choice.suite.version}",
            surrogates=self.choice.surrogates,
            references=self.choice.references,
            left_out=self.choice.left_out,
            attacks=len(self.choice.pairs),
            eps=self.radii,
            steps=tuple(sorted({line.steps for line in self.expected.attacks})),
            images=self.expected.images,
            queries=self.expected.images * asked,
            seconds=self.expected.seconds,
            disk=self.expected.disk,
            resumed=self.expected.done > 0,
            fitted=self.fitted,
            notes=(*self.label_notes, *map(other_classes, self.choice.other_classes)),
        )


def prepare(
    victim: str | Classifier | Callable[..., Any],
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    surrogates: Sequence[str | Model],
    substitution: Substitution | None,
    suite: str | None,
    eps: Sequence[str | float] | None,
    images: int | None,
    budget: int | None,
    time: float | None,
    fail_above: Sequence[str | float],
    classes: Sequence[str] | None,
    first_label: int,
    trust_labels: bool,
    seed: int,
    batch_size: int,
    device: str | None,
    tell: ProgressCallback,
) -> Prepared:
    """Load the model, choose what attacks it, and measure how long that takes. Nothing but a substitute is written.

    Args and errors: as for `run_audit`.
    """
    began = clock()
    refuse_secrets([victim, *surrogates])
    table = {**data_of(data, first_label), **({} if images is None else {"sample": images})}
    given: dict[str, Classifier] = {}
    spec = _named(victim, given)
    named = [_named(one, given) for one in surrogates]
    networks = Networks(device, given)
    tell("loading the model", 0, 1)
    network = networks.network(spec)
    table, label_notes = with_class_names(table, network, classes)
    sample = sample_of(TypeAdapter(Data).validate_python(table))
    tell("loading the model", 1, 1)
    first = dataclasses.replace(sample, records=sample.records[:1], pixels=sample.pixels[:1])
    count = look_at(network, first).classes
    if eps is not None:
        read_thresholds(fail_above, _radii(eps), _radii(eps)[-1])  # before the time that a substitute takes
    if substitution is not None:
        named.append(substitution.make(network, tell))
    choice = choose(networks, network, sample, count, suite=suite, surrogates=named, tell=tell)
    radii = _radii(choice.suite.eps if eps is None else eps)
    decisive = decisive_radius(radii, choice.suite.decisive)
    thresholds = read_thresholds(fail_above, radii, decisive)
    planned = bench_suite(
        choice,
        victim=(network.name, spec),
        data=table,
        eps=radii,
        cost=_cost(choice, budget),
        seed=seed,
        trust_labels=trust_labels,
        batch_size=batch_size,
    )
    models = {name: networks.network(name) for name in given}

    def measured(suite: Suite, place: str | os.PathLike[str] | None) -> Estimate:
        return estimate(suite, place, device=device, models=models, progress=tell)

    fitted = ""
    if time is None:
        expected = measured(planned, out)
        controls = expected.asking * (_with_controls(expected) - 1)
        expected = dataclasses.replace(expected, seconds=expected.seconds + controls)
    else:
        planned, expected, fitted = _in_time(planned, open_store(out), measured, lambda: time - (clock() - began))
    return Prepared(
        spec=spec,
        network=network,
        classes=count,
        label_notes=label_notes,
        choice=choice,
        radii=radii,
        decisive=decisive,
        thresholds={text: thresholds[parse_radius(text)] for text in radii if parse_radius(text) in thresholds},
        suite=planned,
        models=models,
        expected=expected,
        fitted=fitted,
    )


def _named(model: str | Any, given: dict[str, Any]) -> str:
    """The name of a network; one that is an object is kept under it."""
    if isinstance(model, str):
        return model
    from linbp.evaluation.predict import name_of

    name = name_of(model)
    while name in given:
        name += "'"
    given[name] = model
    return name


def _radii(given: Sequence[str | float]) -> tuple[str, ...]:
    """The radii as texts, the smallest first, each once.

    Raises:
        BudgetError: none, or one that is no radius.
    """
    texts = {parse_radius(one): str(one) for one in given}
    if not texts:
        raise BudgetError("There is no radius.", "Give at least one: --eps 8/255.")
    return tuple(texts[eps] for eps in sorted(texts))


def _cost(choice: Choice, budget: int | None) -> dict[str, int]:
    """Steps of each attack, or the gradients that each of them may take of a common budget.

    Raises:
        BudgetError: the budget does not pay for a gradient of each.
    """
    if budget is None:
        return {"steps": choice.suite.steps}
    share = budget // len(choice.pairs)
    if share < 1:
        raise BudgetError(
            f"{budget} gradients are fewer than the {len(choice.pairs)} attacks of the suite.", "Raise --budget."
        )
    return {"gradients": share}


def _in_time(
    planned: Suite,
    store: Store,
    measured: Callable[[Suite, str | None], Estimate],
    left: Callable[[], float],
) -> tuple[Suite, Estimate, str]:
    """The suite with as many images and steps as there is time for; those of an earlier start, if there was one.

    Raises:
        BudgetError: there is not enough time.
    """
    whole = measured(planned, None)
    what = "steps" if planned.cost.steps is not None else "gradients"
    full = planned.cost.steps or max(planned.cost.gradients or (1,))
    pace = Pace(
        images=whole.images,
        steps=full,
        crafting=(whole.seconds - whole.asking) / (whole.images * full),
        asking=whole.asking / whole.images * _with_controls(whole),
    )
    earlier = _earlier_fit(store, planned, what)
    if earlier is not None:
        fit = keep(pace, *earlier, what)
        suite = _smaller(planned, fit, what)
        return suite, measured(suite, store.url), fit.words
    fit = fit_time(pace, left(), what)
    lines = tuple(dataclasses.replace(one, steps=round(one.steps * fit.steps / full)) for one in whole.attacks)
    seconds, disk = pace.seconds(fit.images, fit.steps), round(whole.disk * fit.images / whole.images)
    expected = dataclasses.replace(whole, images=fit.images, attacks=lines, seconds=seconds, disk=disk)
    return _smaller(planned, fit, what), expected, fit.words


def _smaller(planned: Suite, fit: Fit, what: str) -> Suite:
    data = planned.data.model_copy(update={"sample": fit.images})
    cost = {what: fit.steps if what == "steps" else (fit.steps,)}
    return planned.model_copy(update={"data": data, "cost": planned.cost.model_copy(update=cost)})


def _with_controls(whole: Estimate) -> float:
    """How many times the questions about attacks all questions are: the controls are asked of one victim."""
    radii = len({line.eps for line in whole.attacks})
    asked = (len(whole.attacks) + 1) * len(whole.victims)
    return 1 + (radii + 2 * len(CHANGES)) / asked


def _earlier_fit(store: Store, planned: Suite, what: str) -> tuple[int, int] | None:
    """Images and steps of an audit that goes on."""
    content = store.read(SUITE)
    if content is None:
        return None
    try:
        found = tomllib.loads(content.decode())
        spent = found["cost"][what]
        steps = max(spent) if isinstance(spent, list) else int(spent)
        return (int(found["data"]["sample"]), steps) if found["name"] == planned.name else None
    except (ValueError, KeyError, TypeError):
        return None
