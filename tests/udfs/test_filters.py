"""A filter asks about no more rows than its other conditions leave, whatever DuckDB makes of their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect


@pytest.fixture
def con(api: Any, api_entry: Callable[..., str], tmp_path: Path) -> Iterator[Connection]:
    """Return a connection with a table of 3,000 rows, and an expert that says "echo: " and the question."""
    (tmp_path / "pool.toml").write_text(api_entry("m", 1, 20))
    with connect(pool=tmp_path / "pool.toml", store=tmp_path / "store") as con:
        con.execute("CREATE TABLE t AS SELECT i AS id, 'q' || i AS q FROM range(3000) r(i)")
        yield con


@pytest.mark.parametrize(
    ("condition", "left"),
    [
        ("id % 1000 = 0 AND {} IS NOT NULL", 3),
        ("id::INT < 5 AND {} IS NOT NULL", 5),
        ("abs(id) < 5 AND {} IS NULL", 5),
        ("id % 1000 = 0 AND ({} LIKE 'a%' OR {} IS NOT NULL)", 3),
        ("id % 1000 = 0 AND {} LIKE 'echo%'", 3),
        ("id % 1000 = 0 AND {} = 'echo: q0'", 3),
        ("id < 5 AND {} IS NOT NULL", 5),
        ("(id = 7 OR (id % 1000 = 0 AND {} IS NOT NULL))", 3),
        ("id = 7 OR ({} IS NOT NULL AND id % 1000 = 0)", 3),
        ("id = 7 OR {} IS NOT NULL AND (NOT ({} IS NULL AND id % 1000 = 0)) AND id % 1000 = 0", 3),
        ("CASE WHEN {} IS NOT NULL AND id % 1000 = 0 THEN id % 2 = 0 ELSE id = 1 END", 3),
        ("{} IS NOT NULL AND id % 1000 = 0", 3),
        ("{} IS NULL -- AND id = 7\nAND abs(id) < 5", 5),
        ("{} = 'echo: q0' AND id::INT BETWEEN 0 AND 4", 5),
        ("{} IS NOT NULL AND CASE WHEN id = 1 AND {} IS NOT NULL THEN false ELSE true END AND abs(id) < 5", 5),
    ],
)
def test_only_filtered_rows_are_sent(con: Connection, api: Any, condition: str, left: int) -> None:
    """That holds for execute, sql and CREATE TABLE; the setting that orders conditions is as before."""
    statement = f"SELECT id FROM t WHERE {condition.replace('{}', 'leeroo_answer(q)')}"
    count = con.execute(f"SELECT count(*) FROM ({statement})").fetchall()
    assert sum(api.asked.values()) == left
    made = con.sql(statement)
    assert made is not None
    assert [(len(made.fetchall()),)] == count
    con.execute(f"CREATE TABLE made AS {statement}")
    assert sum(api.asked.values()) == left
    assert con.execute("SELECT current_setting('disabled_optimizers')").fetchall() == [("",)]
