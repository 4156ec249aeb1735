"""From the files of a run to a resolved audit. No network is asked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from linbp.audit.answers import VictimOutcomes
from linbp.audit.compare import compare_with_baseline, compare_with_references, open_baseline
from linbp.audit.controls import CHANGES, NOISE, read_controls
from linbp.audit.doubts import doubts
from linbp.audit.record import AuditRecord, read_record
from linbp.audit.result import (
    AttackRate,
    Audit,
    Baseline,
    Changed,
    ClassExposure,
    Example,
    Exposure,
    Queries,
    SurrogateFacts,
    VictimFacts,
)
from linbp.audit.verdict import decide
from linbp.bench.results_at import results_at
from linbp.bench.run_files import FACTS, read_object
from linbp.data.predictions import class_words
from linbp.errors import StoreError
from linbp.evaluation.statistics import Outcomes, mcnemar, rate, survival, worst_case
from linbp.evaluation.statistics import distinct as distinct_rows

__all__ = ["read_audit"]

EXAMPLES = 6

Controls = Mapping[tuple[str, str, str], Mapping[str, int]]


def read_audit(place: str | os.PathLike[str]) -> Audit:
    """The audit in a folder, or at an fsspec URL.

    Raises:
        StoreError: there is none, or none of its attacks is finished.
    """
    store, table = results_at(place)
    record = read_record(store, os.fspath(place))
    mine = VictimOutcomes(Outcomes(table), record.victim, record.other_classes)
    run = read_object(store, FACTS) or {}
    controls = read_controls(store)
    radii = tuple(_exposure(mine, controls, eps, numbers) for eps, numbers in mine.by_radius.items())
    # Of an audit that was broken off, the radius that decides may not be there yet.
    headline = next((one for one in radii if one.eps_text == record.decisive), radii[-1])
    numbers = mine.by_radius[headline.eps]
    references = compare_with_references(mine, numbers)
    names = tuple(map(str, run.get("class_names", [])))
    surrogates = _surrogates(table, mine, run)
    thresholds = {one.eps: record.thresholds[one.eps_text] for one in radii if one.eps_text in record.thresholds}
    last = (run.get("runs") or [{}])[-1]
    return Audit(
        out=store.url,
        suite=record.suite,
        victim=_victim(table, record, mine),
        surrogates=surrogates,
        named=record.named,
        images=len(mine.table.images),
        norm="linf",
        radii=radii,
        decisive=headline.eps_text,
        verdicts=decide([(one.eps, one.eps_text, one.worst) for one in radii], thresholds, record.strict),
        changed=_changed(mine, controls, headline, numbers),
        references=references,
        classes=_classes(mine, numbers, names),
        examples=_examples(mine, headline, numbers, names),
        baseline=_baseline(record, mine),
        queries=Queries(
            attacks=len(mine.table.images) * len(mine.numbers),
            total=len(mine.table.images) * (len(mine.numbers) + 1) + sum(map(len, controls.values())),
            attacker=sum(one.queries for one in surrogates),
        ),
        flags=doubts(record, mine.clean, radii, headline, surrogates, references),
        left_out=record.left_out,
        class_names=names,
        complete=not record.failure,
        facts=_facts(last),
        command=record.command,
        store=store,
    )


def _exposure(mine: VictimOutcomes, controls: Controls, eps: float, numbers: Sequence[int]) -> Exposure:
    attacks = tuple(_attack(mine, number) for number in numbers)
    text = mine.attack(numbers[0]).eps_text
    noise, p = None, None
    if (answers := controls.get((NOISE, text, ""))) is not None:
        wrong = mine.wrong(answers)
        noise = worst_case(wrong[None], mine.counted)
        best = numbers[max(range(len(numbers)), key=lambda place: attacks[place].rate.value or 0)]
        p = mcnemar(mine.successes([best])[0][mine.counted], wrong[mine.counted])[2]
    return Exposure(
        eps=eps,
        eps_text=text,
        worst=mine.worst(numbers),
        attacks=attacks,
        gradients=sum(one.gradients for one in attacks),
        noise=noise,
        noise_p=p,
    )


def _attack(mine: VictimOutcomes, number: int) -> AttackRate:
    one = mine.attack(number)
    return AttackRate(
        surrogate=one.surrogate,
        recipe=one.recipe,
        recipe_text=one.recipe_text,
        steps=one.steps,
        gradients=one.gradients,
        attack=one.attack,
        rate=mine.rate(number),
        own=mine.on_own_surrogate(number)[1],
        white_box=bool(mine.table.white_box[number, mine.number]),
    )


def _best(mine: VictimOutcomes, headline: Exposure, numbers: Sequence[int]) -> int:
    return next(number for number in numbers if mine.attack(number).attack == headline.best.attack)


def _changed(
    mine: VictimOutcomes, controls: Controls, headline: Exposure, numbers: Sequence[int]
) -> tuple[Changed, ...]:
    best, found = headline.best, []
    success = mine.successes([_best(mine, headline, numbers)])[0] & mine.counted
    for name in CHANGES:
        answers, clean = controls.get((name, headline.eps_text, best.attack)), controls.get((name, "", ""))
        if answers is None or clean is None:
            continue
        wrong = mine.wrong(answers)
        found.append(
            Changed(
                control=name,
                rate=worst_case(wrong[None], mine.counted),
                survival=survival(success, wrong),
                clean=worst_case(mine.wrong(clean)[None], mine.counted),
            )
        )
    return tuple(found)


def _classes(mine: VictimOutcomes, numbers: Sequence[int], names: Sequence[str]) -> tuple[ClassExposure, ...]:
    """The surest first: by the lower bound, so that a class of one image does not lead."""
    fooled, found = mine.fooled(numbers), []
    for label in np.unique(mine.labels[mine.counted]).tolist():
        rows = mine.counted & (mine.labels == label)
        value = rate(int((fooled & rows).sum()), int(rows.sum()))
        found.append(ClassExposure(label=label, name=class_words(label, names), rate=value))
    return tuple(sorted(found, key=lambda one: (-one.rate.low, one.label)))


def _examples(
    mine: VictimOutcomes, headline: Exposure, numbers: Sequence[int], names: Sequence[str]
) -> tuple[Example, ...]:
    """Some counted images under the best attack, chosen by a hash of their names, about as many fooled as in all."""
    number = _best(mine, headline, numbers)
    success, adv = mine.answers(number) == 1, mine.table.column("adv_prediction", number, mine.number)
    order = sorted(np.flatnonzero(mine.counted).tolist(), key=lambda row: _mixed(mine.table.images[row]))
    fooled, resisted = [row for row in order if success[row]], [row for row in order if not success[row]]
    share = len(fooled) / max(1, len(order))
    wanted = round(EXAMPLES * share)
    if fooled and resisted:
        wanted = min(EXAMPLES - 1, max(1, wanted))
    chosen = [*fooled[:wanted], *resisted[: EXAMPLES - wanted]]
    return tuple(
        Example(
            image_id=mine.table.images[row],
            file=mine.table.files[row],
            label=class_words(int(mine.labels[row]), names),
            attack=headline.best.attack,
            clean=class_words(int(mine.table.clean[mine.number, row]), names),
            adv=class_words(int(adv[row]), names),
            fooled=bool(success[row]),
        )
        for row in chosen
    )


def _mixed(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


def _surrogates(table: pa.Table, mine: VictimOutcomes, run: Mapping[str, Any]) -> tuple[SurrogateFacts, ...]:
    found: dict[str, dict[str, Any]] = {}
    for number in mine.numbers:
        one = mine.attack(number)
        facts = found.setdefault(one.surrogate, {"recipes": [], "clean": mine.on_own_surrogate(number)[0]})
        facts["recipes"] += [one.recipe] if one.recipe not in facts["recipes"] else []
    networks = run.get("networks", {})
    return tuple(
        SurrogateFacts(
            name=name,
            sha256=str(networks.get(name, {}).get("weights_sha256", "")),
            recipes=tuple(facts["recipes"]),
            clean=facts["clean"],
            other_classes=name in mine.other_classes,
            **_substitute(networks.get(name, {}).get("substitute"), mine),
        )
        for name, facts in found.items()
    )


def _substitute(facts: Mapping[str, Any] | None, mine: VictimOutcomes) -> dict[str, Any]:
    """What is known of a surrogate that was trained on this victim's answers."""
    if not facts or facts["victim"] != mine.table.victims[mine.number]:
        return {}
    agreement = facts["agreement"]
    return {"queries": int(facts["queries"]), "agreement": rate(int(agreement["right"]), int(agreement["n"]))}


def _victim(table: pa.Table, record: AuditRecord, mine: VictimOutcomes) -> VictimFacts:
    rows = distinct_rows(table, ["victim", "victim_key"])
    return VictimFacts(
        name=record.victim,
        model=record.model,
        sha256=record.sha256,
        key=next(str(row["victim_key"]) for row in rows if row["victim"] == record.victim),
        preprocessing=record.preprocessing,
        clean=mine.clean,
    )


def _baseline(record: AuditRecord, mine: VictimOutcomes) -> Baseline | None:
    if record.baseline is None:
        return None
    other, before = open_baseline(record.baseline)
    try:
        return compare_with_baseline(record.baseline, other, before, mine, record.images)
    except StoreError:
        if record.failure:  # of what there is, nothing may be comparable yet
            return None
        raise


def _facts(last: Mapping[str, Any]) -> dict[str, str]:
    found = {name: str(last[name]) for name in ("started", "device", "machine") if last.get(name)}
    if versions := last.get("versions"):
        found["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return found
