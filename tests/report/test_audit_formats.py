"""Each file of an audit has its figures, follows its schema, and nothing in a name breaks it."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from linbp.audit.result import Audit, Baseline, Change, Reference
from linbp.audit.verdict import decide
from linbp.evaluation.statistics import Difference, rate
from linbp.report.audit import json as as_json
from linbp.report.audit import junit, markdown
from linbp.report.audit.summary import sentences, stamp, status

HOSTILE = "a|b <i>*x*</i> & 50% $y_1$ {z} ~^\\ \x0b"


@pytest.fixture(scope="module")
def audit(made_audit: Any) -> Audit:
    found: Audit = made_audit[0]
    return found


def judged(audit: Audit, thresholds: dict[float, float], *, strict: bool = False) -> Audit:
    """The audit with other thresholds."""
    exposures = [(one.eps, one.eps_text, one.worst) for one in audit.radii]
    return dataclasses.replace(audit, verdicts=decide(exposures, thresholds, strict))


def with_everything(audit: Audit) -> Audit:
    """The audit with a baseline and reference networks, made up, under names full of markup."""
    gap = Difference(value=12.0, low=3.0, high=21.0, p=0.004)
    change = Change(
        eps=8 / 255,
        eps_text="8/255",
        before=rate(10, 40),
        after=rate(15, 40),
        attacks=4,
        difference=gap,
        adjusted=0.008,
        won=1,
        lost=6,
    )
    other = Reference(
        name=HOSTILE,
        clean=rate(30, 40),
        attacks=4,
        exposure=rate(9, 30),
        victim=rate(15, 30),
        difference=gap,
        adjusted=0.2,
    )
    return dataclasses.replace(
        audit,
        victim=dataclasses.replace(audit.victim, name=HOSTILE),
        command=HOSTILE,
        references=(other,),
        baseline=Baseline(run=HOSTILE, victim=HOSTILE, sha256="", clean=rate(30, 40), changes=(change,)),
    )


def test_json_follows_its_schema(audit: Audit) -> None:
    schema = as_json.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["version"]["const"] == as_json.VERSION
    for one in (audit, with_everything(audit), judged(audit, {}), dataclasses.replace(audit, complete=False)):
        found = json.loads(as_json.render(one))
        jsonschema.validate(found, schema)
        assert found.keys() == schema["properties"].keys()
    for broken in ({"images": -1}, {"verdict": {}}, {"exposure": [{"eps": 1}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**found, **broken}, schema)


def test_json_has_the_figures(audit: Audit) -> None:
    found = json.loads(as_json.render(audit))
    for one, shown in zip(audit.radii, found["exposure"], strict=True):
        assert shown["worst_case"]["successes"] == one.worst.successes
        assert shown["worst_case"]["low"] == one.worst.low
        assert len(shown["attacks"]) == len(one.attacks) == 6
    assert {technique["id"] for technique in found["threat_model"]["atlas"]} >= {"AML.T0043.002"}


@pytest.mark.parametrize("everything", [False, True])
def test_markdown_tables_have_one_cell_for_each_head_and_the_first_fits(audit: Audit, everything: bool) -> None:
    text = markdown.render(with_everything(audit) if everything else audit)
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(blocks) == (5 if everything else 3)
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert max(len(line) for line in blocks[0].splitlines()) <= 100
    assert len(blocks[0].splitlines()) == 2 + len(audit.radii)
    assert "<i>" not in text.replace("\\<i\\>", "").split("```")[0]


def test_junit_has_a_case_for_each_radius_and_fails_where_the_verdict_does(audit: Audit) -> None:
    strictest = judged(audit, {8 / 255: 0.0, 16 / 255: 1.0})
    root = ElementTree.fromstring(junit.render(strictest))
    cases = root.findall("testsuite/testcase")
    assert [case.find("failure") is not None for case in cases] == [True, False]
    suite = root.find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    worse = ElementTree.fromstring(junit.render(with_everything(judged(audit, {}))))
    assert [case.find("failure") is not None for case in worse.findall("testsuite/testcase")] == [False, False, True]
    partial = ElementTree.fromstring(junit.render(dataclasses.replace(audit, complete=False)))
    assert len(partial.findall("testsuite/testcase/error")) == 1


def test_the_stamp_is_that_of_the_verdict(audit: Audit) -> None:
    exposure = audit.headline.worst
    assert exposure.value is not None
    assert status(judged(audit, {})) == "open"
    assert status(judged(audit, {8 / 255: 0.99})) == "passed"
    assert status(judged(audit, {8 / 255: 0.01})) == "failed"
    assert "certain" in stamp(judged(audit, {8 / 255: exposure.value}))
    assert status(judged(audit, {8 / 255: exposure.value}, strict=True)) == "failed"
    assert status(dataclasses.replace(judged(audit, {}), complete=False)) == "incomplete"
    assert status(with_everything(judged(audit, {8 / 255: 0.99}))) == "failed"


def test_the_first_screen_has_the_exposure_with_its_interval_and_n(audit: Audit) -> None:
    worst = audit.headline.worst
    for one in (audit, judged(audit, {})):
        first = sentences(one)[0]
        assert f"{worst.successes} of {worst.n} images" in first
        assert f"{worst.low:.0%}"[:-1] in first
