"""A report as JUnit XML, which every CI shows: a suite for each radius, a case for each attack and victim."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from linbp.report.result import Report
from linbp.report.summary import sentences
from linbp.report.words import rate_words

__all__ = ["render", "xml_document", "xml_text"]

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold."""


def render(report: Report) -> str:
    """Cases that pass, with the rate in their output; skipped where nothing could be counted.

    A run has no threshold, so that no case fails. An audit has one.
    """
    root = ElementTree.Element("testsuites", name=xml_text(report.title))
    for radius in report.worst:
        name = f"eps {report.eps_text(radius)}"
        suite = ElementTree.SubElement(root, "testsuite", name=xml_text(name))
        count = skipped = 0
        for one in report.at(radius):
            for victim, rate, white in zip(report.outcomes.victims, one.rates, one.white_box, strict=True):
                if rate is None:
                    continue
                case = ElementTree.SubElement(
                    suite,
                    "testcase",
                    classname=xml_text(f"{name}.{victim}"),
                    name=xml_text(report.name_of(one.attack, eps=False) + (" (white box)" if white else "")),
                    time="0",
                )
                count += 1
                if rate.value is None:
                    skipped += 1
                    ElementTree.SubElement(case, "skipped", message="the victim has none of the clean images right")
                else:
                    ElementTree.SubElement(case, "system-out").text = xml_text(rate_words(rate))
        counts = {"tests": count, "failures": 0, "errors": 0, "skipped": skipped}
        suite.attrib.update({key: str(value) for key, value in counts.items()})
        ElementTree.SubElement(suite, "system-out").text = xml_text("\n".join(sentences(report)))
    return xml_document(root)


def xml_document(root: ElementTree.Element) -> str:
    """A whole file."""
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def xml_text(text: str) -> str:
    """A text without the characters that XML cannot hold."""
    return FORBIDDEN.sub("?", text)
