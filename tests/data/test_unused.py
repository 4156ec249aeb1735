"""What is not used, in one line and in JSON."""

from __future__ import annotations

from linbp.data.unused import by_kind, sentence


def test_kinds_are_counted_and_their_first_names_given() -> None:
    found = by_kind([("rows", "line 2"), ("files", "a"), ("files", "b"), ("files", "c"), ("files", "d")])
    assert [one.to_dict() for one in found] == [
        {"kind": "rows", "count": 1, "first": ["line 2"]},
        {"kind": "files", "count": 4, "first": ["a", "b", "c", "d"]},
    ]
    words = sentence("photos", found)
    assert "rows (1: line 2)" in words
    assert "files (4: a, b, c, ...)" in words
    many = by_kind(("files", str(number)) for number in range(100))[0].to_dict()
    assert (many["count"], len(many["first"])) == (100, 20)


def test_names_cannot_steer_a_terminal() -> None:
    words = sentence("x\x1b[2J", by_kind([("files", "a\nb\udcff")]))
    assert words.isprintable()
    assert "a\\nb" in words
