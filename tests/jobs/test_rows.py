"""Rows on disk: what was added stays, what was cut short is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from linbp.errors import StoreError
from linbp.jobs.rows import Rows


def test_rows_come_back_in_their_order(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows.jsonl")
    assert rows.read() == []
    for number in range(3):
        rows.append({"number": number, "name": "ä\udce4"})
    assert rows.read() == [{"number": number, "name": "ä\udce4"} for number in range(3)]
    rows.replace([{"number": 7}])
    assert rows.read() == [{"number": 7}]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path, cut: int) -> None:
    rows = Rows(tmp_path / "rows.jsonl")
    rows.append({"number": 0})
    whole = rows.path.read_bytes()
    rows.append({"number": 1})
    rows.path.write_bytes(rows.path.read_bytes()[: len(whole) + cut])
    assert rows.read() == [{"number": 0}]
    rows.append({"number": 2})
    assert rows.read() == [{"number": 0}, {"number": 2}]
    rows.path.write_bytes(whole + b"[1, 2]\n\n\xff\xfe\n")
    assert rows.read() == [{"number": 0}]


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    rows = Rows(tmp_path)
    for use in (rows.read, lambda: rows.append({}), lambda: rows.replace([])):
        with pytest.raises(StoreError, match=str(tmp_path)):
            use()
