"""The table of results: the same bytes for the same rows, read back with its types, and by other tools."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from result_tables import synthetic

from linbp.bench.table import SCHEMA, facts_of, parquet_bytes, read_results, results_bytes
from linbp.errors import StoreError


def test_a_table_comes_back_with_its_types_its_nulls_and_its_facts(tmp_path: Path) -> None:
    table = synthetic()
    content = results_bytes(table, {"suite": "tonight"})
    (tmp_path / "results.parquet").write_bytes(content)
    for source in (content, tmp_path, tmp_path / "results.parquet"):
        found = read_results(source)
        assert found.equals(table)
        assert found.schema.equals(SCHEMA)
        assert facts_of(found) == {"version": "1", "suite": "tonight"}
    assert found["success"].null_count > 0
    assert results_bytes(synthetic(), {"suite": "tonight"}) == content


def test_pandas_polars_and_duckdb_read_the_same_rates(tmp_path: Path) -> None:
    table, path = synthetic(), tmp_path / "results.parquet"
    path.write_bytes(results_bytes(table))
    rows = [row for row in table.to_pylist() if row["success"] is not None and row["selected"]]
    wanted = {
        name: sum(row["success"] for row in rows if row["recipe"] == name) / sum(row["recipe"] == name for row in rows)
        for name in ("mi", "linbp")
    }
    frame = pd.read_parquet(path)
    counted = frame[frame["selected"] & frame["success"].notna()]
    rates = counted.assign(success=counted["success"].astype(float)).groupby("recipe", observed=True)["success"].mean()
    assert rates.to_dict() == pytest.approx(wanted)
    lazy = pl.read_parquet(path).filter(pl.col("selected")).group_by(pl.col("recipe").cast(pl.String))
    assert dict(lazy.agg(pl.col("success").mean()).rows()) == pytest.approx(wanted)
    query = f"select recipe, avg(success::int) from '{path}' where selected group by recipe"
    assert dict(duckdb.sql(query).fetchall()) == pytest.approx(wanted)


def test_files_that_are_no_table_of_results_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    with pytest.raises(StoreError, match=r"results\.parquet"):
        read_results(path)
    content = results_bytes(synthetic())
    for wrong in (
        b"no parquet",
        content[: len(content) // 2],
        parquet_bytes(pa.table({"a": [1]})),
        parquet_bytes(synthetic()),
        content[:400] + bytes([content[400] ^ 1]) + content[401:],
    ):
        path.write_bytes(wrong)
        with pytest.raises(StoreError, match=r"results\.parquet"):
            read_results(path)
