"""The page of protocols says what the protocols do, and the lists of published code can be used with them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from linbp.attack.protocol import Protocol
from linbp.attack.published_protocols import PROTOCOLS, find_protocol
from linbp.attack.targets import TargetRule
from linbp.data.preprocessing import Preparation
from linbp.errors import RecipeError

PAGE = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text(encoding="utf-8")


def row(what: str) -> list[str]:
    """The cells of a line of the page's table, one a protocol."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {what} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def with_more(values: tuple[object, ...]) -> str:
    """The first value, and the others in parentheses."""
    first, *more = map(str, values)
    return f"{first} ({', '.join(more)})" if more else first


def test_the_table_holds_the_values() -> None:
    heads = re.search(r"^\| \| (`.+`) \|$", PAGE, re.MULTILINE)
    assert heads is not None
    assert [name.strip("` ") for name in heads[1].split("|")] == list(PROTOCOLS)
    every = list(PROTOCOLS.values())
    assert row("eps") == [with_more(protocol.eps) for protocol in every]
    assert row("steps") == [with_more(protocol.steps) for protocol in every]
    assert row("step size") == [protocol.step_size for protocol in every]
    assert row("rounding") == [protocol.rounding for protocol in every]
    targets = {None: "none", "column": "the list's"}
    assert row("targets") == [targets.get(protocol.target_rule, str(protocol.target_rule)) for protocol in every]
    for cell, protocol in zip(row("the white box sees"), every, strict=True):
        assert (cell == "the same as the victims") is (protocol.white_box == protocol.victims != ())


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_every_protocol_has_its_paragraph_with_its_sources(protocol: Protocol) -> None:
    paragraph = PAGE.split(f"\n## {protocol.name}\n")[1].split("\n## ")[0]
    assert "**Odd:**" in paragraph
    assert "**Not verified:**" in paragraph
    for source in protocol.sources:
        repository, file = source.split(": ")
        assert repository in paragraph
        assert file in paragraph
    assert protocol.odd
    assert protocol.unverified
    assert protocol.name == find_protocol(protocol.name).name


def test_shifts_are_rules() -> None:
    for protocol in PROTOCOLS.values():
        if protocol.target_rule not in (None, "column"):
            assert str(TargetRule.parse(str(protocol.target_rule))) == protocol.target_rule


def test_the_surrogates_own_size() -> None:
    benchmark = PROTOCOLS["ta-bench-2023"]
    square = benchmark.prepare_for((299, 299), "bicubic")
    assert square == Preparation(resize=299, interpolation="bicubic", crop=(299, 299))
    tall = benchmark.prepare_for((256, 128), "bilinear")
    assert tall == Preparation(resize=(256, 128), interpolation="bilinear", crop=(256, 128))
    released = PROTOCOLS["linbp-2020-imagenet"]
    assert released.prepare_for((299, 299), "bicubic") == released.preparation


def test_settling() -> None:
    released = PROTOCOLS["linbp-2020-imagenet"]
    assert released.resolve_number("eps", None, released.eps) == 0.03
    assert released.resolve_number("eps", 0.1 * (1 + 1e-12), released.eps) == 0.1
    with pytest.raises(RecipeError, match=r"eps 0\.031.*0\.03 or 0\.05 or 0\.1") as caught:
        released.resolve_number("eps", 0.031, released.eps)
    assert "linbp show linbp-2020-imagenet" in caught.value.hint
    with pytest.raises(RecipeError, match="'ta-bench'") as caught:
        find_protocol("ta-bench")
    assert "'ta-bench-2023'" in caught.value.hint
