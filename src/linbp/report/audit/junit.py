"""An audit as JUnit XML: a case for each radius, and one for each radius of a baseline."""

from __future__ import annotations

from xml.etree import ElementTree

from linbp.audit.result import Audit
from linbp.report.audit.summary import change_words, rate_and_interval, sentences
from linbp.report.junit import xml_document, xml_text
from linbp.report.words import percent

__all__ = ["render"]


def render(audit: Audit) -> str:
    """A case fails where its threshold is exceeded, or where the exposure has grown significantly; a case without a
    threshold passes; one that could not be finished is an error."""
    name = f"linbp audit: {audit.victim.name}"
    root = ElementTree.Element("testsuites", name=xml_text(name))
    suite = ElementTree.SubElement(root, "testsuite", name=xml_text(audit.suite.name))
    cases = failures = errors = 0
    for one in audit.verdicts:
        case = _case(suite, audit, f"exposure at eps {one.eps_text}")
        told = rate_and_interval(one.exposure)
        cases += 1
        if one.failed:
            bound = f"{'upper' if one.strict else 'lower'} bound {percent(one.bound)}"
            failures += 1
            message = f"{told}: {bound} above the threshold {percent(one.threshold)}"
            ElementTree.SubElement(case, "failure", message=xml_text(message), type="exposure")
        limit = "no threshold" if one.threshold is None else f"threshold {percent(one.threshold)}"
        ElementTree.SubElement(case, "system-out").text = xml_text(f"{told}; {limit}")
    for change in () if audit.baseline is None else audit.baseline.changes:
        case = _case(suite, audit, f"no worse than the baseline at eps {change.eps_text}")
        cases += 1
        if change.worse:
            failures += 1
            ElementTree.SubElement(case, "failure", message=xml_text(change_words(change)), type="baseline")
        ElementTree.SubElement(case, "system-out").text = xml_text(change_words(change))
    if not audit.complete:
        case = _case(suite, audit, "every attack is finished")
        cases, errors = cases + 1, 1
        ElementTree.SubElement(case, "error", message="the audit is not complete", type="incomplete")
    counts = {"tests": cases, "failures": failures, "errors": errors, "skipped": 0}
    suite.attrib.update({key: str(value) for key, value in counts.items()})
    every = [*sentences(audit), *(flag.text for flag in audit.flags)]
    ElementTree.SubElement(suite, "system-out").text = xml_text("\n".join(every))
    return xml_document(root)


def _case(suite: ElementTree.Element, audit: Audit, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", classname=xml_text(f"linbp.audit.{audit.victim.name}"), name=xml_text(name), time="0"
    )
