"""`linbp audit`: choose the attacks, say what they will take, run them on the bench, ask the controls, decide."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

from linbp.audit.answers import VictimOutcomes
from linbp.audit.compare import check_comparable, open_baseline
from linbp.audit.controls import ask_controls
from linbp.audit.facts import hash_of, preprocessing_of, suite_facts
from linbp.audit.first_answers import first_answers, is_steady
from linbp.audit.flags import Flag
from linbp.audit.prepare import AuditPlan, Prepared, prepare
from linbp.audit.record import AuditRecord, write_record
from linbp.audit.resolve import read_audit
from linbp.audit.result import Audit
from linbp.audit.substitute import BACKBONE, Substitution
from linbp.bench.networks import Networks
from linbp.bench.plan import Plan
from linbp.bench.run import run_bench
from linbp.bench.run_files import SUITE
from linbp.bench.store import Store, open_store
from linbp.bench.suite import suite_text
from linbp.bench.table import RESULTS, facts_of, read_results
from linbp.errors import LinbpError, StoreError
from linbp.evaluation.statistics import Outcomes
from linbp.jobs.progress import ProgressCallback
from linbp.models import Classifier, Model

__all__ = ["AuditPlan", "Incomplete", "run_audit"]


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
    queries: int | None = None,
    backbone: str = BACKBONE,
    query_data: str | os.PathLike[str] | None = None,
    suite: str | None = None,
    eps: Sequence[str | float] | None = None,
    images: int | None = None,
    budget: int | None = None,
    time: float | None = None,
    fail_above: Sequence[str | float] = (),
    strict: bool = False,
    baseline: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    first_label: int = 0,
    trust_labels: bool = False,
    trust_victim: bool = False,
    seed: int = 0,
    batch_size: int = 8,
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
        surrogates: networks that attacks are made on; default: those of the suite. On one of other classes attacks lead
            away from its own predictions.
        queries: train a substitute first: a surrogate that learns the model's answers to so many images.
        backbone: the network that becomes the substitute; its classes do not matter.
        query_data: a folder of images or a CSV to ask the model about; default: the images of `data` themselves.
        suite: its name, or a TOML file; default: by the number of classes.
        eps: radii in L-inf; default: those of the suite.
        budget: gradients that each image may cost at each radius, over all attacks together; default: by the suite's
            steps.
        images: only so many, spread over the list; default: all.
        time: seconds that it may take, to which images and steps are fitted; an audit that goes on keeps what it had.
        fail_above: thresholds: `0.35` at the decisive radius, `8/255=0.35` at another one.
        strict: fail unless the exposure is shown to be at most the threshold.
        baseline: the folder of another audit; the exposure must not have grown significantly since.
        classes: the names of the model's classes in their order, for lists and folders that name them; default: the
            model's own.
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
    place = None if baseline is None else _place(os.fspath(baseline))
    before = None if place is None else open_baseline(place)
    substitution = None
    if queries is not None:
        images_to_ask = os.path.expanduser(data if query_data is None else query_data)
        substitution = Substitution(
            queries=queries,
            backbone=backbone,
            images=images_to_ask,
            out=os.path.expanduser(out),
            seed=seed,
            device=device,
            command=command,
        )
    prepared = prepare(
        victim,
        data,
        out,
        surrogates=surrogates,
        substitution=substitution,
        suite=suite,
        eps=eps,
        images=images,
        budget=budget,
        time=time,
        fail_above=fail_above,
        classes=classes,
        first_label=first_label,
        trust_labels=trust_labels,
        seed=seed,
        batch_size=batch_size,
        device=device,
        tell=tell,
    )
    if announce is not None:
        announce(prepared.plan)
    store, seen = open_store(out), _Seen()

    def first(plan: Plan, run_store: Store, networks: Networks) -> None:
        """Before anything is crafted: the victim's answers to the clean images, and doubts about them."""
        run_store.write(SUITE, suite_text(plan.suite).encode())  # from here on the folder is this audit's
        if place is not None and before is not None:
            check_comparable(place, *before, _hashes(plan), {one.key[:16] for one in plan.attacks})
        predictions = first_answers(plan, run_store, networks, tell)
        if not trust_victim:
            seen.checks = is_steady(plan, run_store, networks.network(prepared.spec), predictions)
        seen.plan, seen.networks = plan, networks

    fault: LinbpError | None = None
    try:
        run_bench(
            prepared.suite,
            out,
            workers=workers,
            device=device,
            models=prepared.models,
            command=command,
            progress=tell,
            before=first,
        )
        assert seen.plan is not None
        assert seen.networks is not None
        _controls(seen.plan, store, seen.networks, prepared, tell)
    except LinbpError as error:
        if seen.plan is None or not _has_results(store, prepared.network.name, seen.plan):
            raise
        fault = error
    assert seen.plan is not None
    failure = "" if fault is None else " ".join(fault.message.split())
    write_record(store, _record(prepared, seen, strict, place, budget, failure, command))
    found = read_audit(out)
    if fault is not None:
        raise Incomplete(found, fault)
    return found


def _place(baseline: str) -> str:
    """A path that holds from everywhere, or a URL as it is."""
    return baseline if "://" in baseline else os.path.abspath(os.path.expanduser(baseline))


def _record(
    prepared: Prepared, seen: _Seen, strict: bool, baseline: str | None, budget: int | None, failure: str, command: str
) -> AuditRecord:
    assert seen.plan is not None
    network, choice, suite = prepared.network, prepared.choice, prepared.suite
    fitted = [Flag(kind="time", text=prepared.fitted)] if prepared.fitted else []
    return AuditRecord(
        suite=suite_facts(choice.suite, steps=suite.cost.steps, budget=budget, seed=suite.seed),
        victim=network.name,
        model=prepared.spec,
        sha256=hash_of(network),
        classes=prepared.classes,
        preprocessing=preprocessing_of(network),
        named=choice.named,
        decisive=prepared.decisive,
        thresholds=prepared.thresholds,
        strict=strict,
        baseline=baseline,
        left_out=choice.left_out,
        checks=(*fitted, *(Flag(kind="classes", text=note) for note in prepared.label_notes), *seen.checks),
        images=_hashes(seen.plan),
        failure=failure,
        command=command,
        other_classes=choice.other_classes,
    )


def _hashes(plan: Plan) -> dict[str, str]:
    """The hash of each clean image's pixels, by name."""
    return dict(zip(plan.images.ids, plan.images.hashes[""], strict=True))


def _controls(
    plan: Plan, store: Store, networks: Networks, prepared: Prepared, tell: Callable[[str, int, int], None]
) -> None:
    """Ask the controls; those of changed images are about the best attack at the decisive radius."""
    content = store.read(RESULTS)
    assert content is not None
    mine = VictimOutcomes(Outcomes(read_results(content)), prepared.network.name)
    numbers = [number for number in mine.numbers if mine.attack(number).eps_text == prepared.decisive]
    best = max(numbers, key=lambda number: mine.rate(number).value or 0)
    changed = [one for one in plan.attacks if one.name == mine.attack(best).attack]
    ask_controls(plan, store, networks, changed, tell)


def _has_results(store: Store, victim: str, plan: Plan) -> bool:
    """Whether there is anything to report about a victim: not of another plan that the folder had before."""
    content = store.read(RESULTS)
    if content is None:
        return False
    try:
        table = read_results(content)
    except StoreError:
        return False
    return facts_of(table).get("fingerprint") == plan.fingerprint and victim in table["victim"].unique().to_pylist()
