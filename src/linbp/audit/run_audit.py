"""`linbp audit`: choose the attacks, say what they will take, run them on the bench, ask the controls, decide."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from linbp.attack.budget import parse_radius
from linbp.audit.answers import VictimOutcomes
from linbp.audit.bench_suite import bench_suite
from linbp.audit.choose import Choice, LeftOut, choose
from linbp.audit.compare import check_same_images, open_baseline
from linbp.audit.controls import CHANGES, ask_controls
from linbp.audit.data import data_of
from linbp.audit.first_answers import first_answers, is_steady
from linbp.audit.flags import Flag
from linbp.audit.look import look_at, sample_of
from linbp.audit.record import AuditRecord, write_record
from linbp.audit.resolve import read_audit
from linbp.audit.result import Audit, SuiteFacts
from linbp.audit.verdict import decisive_radius, read_thresholds
from linbp.bench.estimate import Estimate, estimate
from linbp.bench.networks import Network, Networks
from linbp.bench.plan import Plan
from linbp.bench.run import run_bench
from linbp.bench.run_files import SUITE
from linbp.bench.store import Store, open_store
from linbp.bench.suite import suite_text
from linbp.bench.suite_data import Data
from linbp.bench.table import RESULTS, read_results
from linbp.errors import BudgetError, LinbpError, StoreError
from linbp.evaluation.statistics import Outcomes
from linbp.jobs.progress import ProgressCallback
from linbp.models import Classifier, Model, OnnxModel

__all__ = ["AuditPlan", "Incomplete", "run_audit"]


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

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


class Incomplete(Exception):
    """The audit could not be finished; what there is was reported.

    Attributes:
        audit: of what there is.
        fault: why it was not finished.
    """

    def __init__(self, audit: Audit, fault: LinbpError) -> None:
        super().__init__(str(fault))
        self.audit, self.fault = audit, fault


@dataclasses.dataclass
class _Seen:
    """What the bench's own plan and the first answers left behind."""

    plan: Plan | None = None
    networks: Networks | None = None
    checks: tuple[Flag, ...] = ()


def run_audit(
    victim: str | Classifier | Callable[..., Any],
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    surrogates: Sequence[str | Model] = (),
    suite: str | None = None,
    eps: Sequence[str | float] | None = None,
    budget: int | None = None,
    fail_above: Sequence[str | float] = (),
    strict: bool = False,
    baseline: str | os.PathLike[str] | None = None,
    first_label: int = 0,
    trust_labels: bool = False,
    trust_victim: bool = False,
    seed: int = 0,
    batch_size: int = 16,
    workers: int = 1,
    device: str | None = None,
    command: str = "",
    announce: Callable[[AuditPlan], None] | None = None,
    progress: ProgressCallback | None = None,
) -> Audit:
    """Audit a model. Run again with the same folder, it does only what is missing.

    Args:
        victim: a network's name as `load_model` takes it, or a network.
        data: a folder of images or a CSV, with labels.
        out: the folder of the run, or an fsspec URL.
        surrogates: networks of the same classes that attacks are made on; default: those of the suite.
        suite: its name, or a TOML file; default: by the number of classes.
        eps: radii in L-inf; default: those of the suite.
        budget: gradients that each image may cost at each radius, over all attacks together; default: by the suite's
            steps.
        fail_above: thresholds: `0.35` at the decisive radius, `8/255=0.35` at another one.
        strict: fail unless the exposure is shown to be at most the threshold.
        baseline: the folder of another audit; the exposure must not have grown significantly since.
        first_label: what the list calls the first class.
        trust_labels: do not suspect labels of being shifted.
        trust_victim: do not ask the model again, nor with other preprocessing.
        seed: of all randomness.
        batch_size: images that networks compute at a time.
        workers: processes on this machine.
        device: where networks run.
        command: what the user typed, for the records.
        announce: told what is about to be done, before it is.
        progress: told how far it is.

    Raises:
        Incomplete: it could not be finished, but something could be reported.
        LinbpError: anything else that the user can mend.
    """
    tell = progress or (lambda stage, done, total: None)
    table = data_of(data, first_label)
    given: dict[str, Classifier] = {}
    spec = _named(victim, given)
    named = [_named(one, given) for one in surrogates]
    networks = Networks(device, given)
    tell("loading the model", 0, 1)
    network = networks.network(spec)
    sample = sample_of(TypeAdapter(Data).validate_python(table))
    tell("loading the model", 1, 1)
    one = dataclasses.replace(sample, records=sample.records[:1], pixels=sample.pixels[:1])
    classes = look_at(network, one).classes
    choice = choose(networks, network, sample, classes, suite=suite, surrogates=named, tell=tell)
    radii = _radii(choice.suite.eps if eps is None else eps)
    decisive = decisive_radius(radii, choice.suite.decisive)
    thresholds = read_thresholds(fail_above, radii, decisive)
    before = None if baseline is None else open_baseline(baseline)
    cost = _cost(choice, budget)
    planned = bench_suite(
        choice,
        victim=(network.name, spec),
        data=table,
        eps=radii,
        cost=cost,
        seed=seed,
        trust_labels=trust_labels,
        batch_size=batch_size,
    )
    store = open_store(out)
    models = {name: networks.network(name) for name in given}
    expected = estimate(planned, out, device=device, models=models, progress=tell)
    if announce is not None:
        announce(_plan(network.name, classes, choice, radii, expected))
    seen = _Seen()

    def first(plan: Plan, run_store: Store, run_networks: Networks) -> None:
        """Before anything is crafted: the victim's answers to the clean images, and doubts about them."""
        hashes = dict(zip(plan.images.ids, plan.images.hashes[""], strict=True))
        if before is not None:
            check_same_images(os.fspath(str(baseline)), before[0], hashes)
        run_store.write(SUITE, suite_text(plan.suite).encode())
        predictions = first_answers(plan, run_store, run_networks, tell)
        if not trust_victim:
            seen.checks = is_steady(plan, run_store, run_networks.network(spec), predictions)
        seen.plan, seen.networks = plan, run_networks

    record = AuditRecord(
        suite=_suite_facts(choice, cost, budget, seed),
        victim=network.name,
        model=spec,
        sha256=_hash_of(network),
        classes=classes,
        preprocessing=_preprocessing(network),
        named=choice.named,
        decisive=decisive,
        thresholds={text: thresholds[parse_radius(text)] for text in radii if parse_radius(text) in thresholds},
        strict=strict,
        baseline=None if baseline is None else os.path.abspath(os.fspath(baseline)),
        left_out=choice.left_out,
        checks=(),
        images={},
        failure="",
        command=command,
    )
    fault: LinbpError | None = None
    try:
        run_bench(
            planned,
            out,
            workers=workers,
            device=device,
            models=models if workers == 1 else None,
            command=command,
            progress=tell,
            before=first,
        )
        assert seen.plan is not None
        assert seen.networks is not None
        _controls(seen.plan, store, seen.networks, network.name, decisive, tell)
    except LinbpError as error:
        if seen.plan is None or not _has_results(store, network.name):
            raise
        fault = error
    assert seen.plan is not None
    record = dataclasses.replace(
        record,
        checks=seen.checks,
        images=dict(zip(seen.plan.images.ids, seen.plan.images.hashes[""], strict=True)),
        failure="" if fault is None else fault.message,
    )
    write_record(store, record)
    found = read_audit(out)
    if fault is not None:
        raise Incomplete(found, fault)
    return found


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


def _plan(name: str, classes: int, choice: Choice, radii: Sequence[str], expected: Estimate) -> AuditPlan:
    asked = len(expected.attacks) + 1 + len(radii) + 2 * len(CHANGES)
    return AuditPlan(
        victim=name,
        classes=classes,
        suite=f"{choice.suite.name} ({choice.suite.version})",
        surrogates=choice.surrogates,
        references=choice.references,
        left_out=choice.left_out,
        attacks=len(choice.pairs),
        eps=tuple(radii),
        steps=tuple(sorted({line.steps for line in expected.attacks})),
        images=expected.images,
        queries=expected.images * asked,
        seconds=expected.seconds,
        disk=expected.disk,
        resumed=expected.done > 0,
    )


def _controls(
    plan: Plan, store: Store, networks: Networks, victim: str, decisive: str, tell: Callable[[str, int, int], None]
) -> None:
    """Ask the controls; those of changed images are about the best attack at the decisive radius."""
    content = store.read(RESULTS)
    assert content is not None
    mine = VictimOutcomes(Outcomes(read_results(content)), victim)
    numbers = [number for number in mine.numbers if mine.attack(number).eps_text == decisive]
    best = max(numbers, key=lambda number: mine.rate(number).value or 0)
    changed = [one for one in plan.attacks if one.name == mine.attack(best).attack]
    ask_controls(plan, store, networks, changed, tell)


def _has_results(store: Store, victim: str) -> bool:
    """Whether there is anything to report about a victim."""
    content = store.read(RESULTS)
    if content is None:
        return False
    try:
        return victim in read_results(content)["victim"].unique().to_pylist()
    except StoreError:
        return False


def _suite_facts(choice: Choice, cost: Mapping[str, int], budget: int | None, seed: int) -> SuiteFacts:
    one = choice.suite
    return SuiteFacts(
        name=one.name,
        version=one.version,
        sha256=one.sha256,
        about=" ".join(one.about.split()),
        steps=cost.get("steps"),
        budget=budget,
        seed=seed,
    )


def _hash_of(network: Network) -> str:
    facts = network.identity()
    return str(facts.get("weights_sha256") or facts.get("file_sha256") or "")


def _preprocessing(network: Network) -> str:
    """What is done to an image before the network sees it, in words."""
    if not isinstance(network, Model | OnnxModel):
        return "its own: it gets images in [0, 1] at their own size"
    own = network if isinstance(network, Model) else network.preprocessing
    size = network.input_size
    words = ["any size" if size is None else f"resized as a whole to {size[2]} x {size[1]} ({own.interpolation})"]
    normalised = any(own.mean) or any(value != 1 for value in own.std)
    words.append(
        f"minus {_numbers(own.mean)}, over {_numbers(own.std)}" if normalised else "RGB in [0, 1], not normalised"
    )
    return ", ".join(words)


def _numbers(values: Sequence[float]) -> str:
    texts = [f"{value:.4g}" for value in values]
    return texts[0] if len(set(texts)) == 1 else f"({', '.join(texts)})"
