"""A filter asks about no more rows than its other conditions leave, whatever DuckDB makes of their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect
from leeroo.udfs.statements.filters import calls_last


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


@pytest.mark.parametrize(
    ("statement", "written"),
    [
        ("FROM t WHERE leeroo_answer(q) = 'x' AND id = 1", "FROM t WHERE id = 1 AND leeroo_answer(q) = 'x'"),
        (
            "FROM t WHERE (leeroo_answer(q) = 'x' AND id = 1) AND id BETWEEN 1 AND 2 ORDER BY id;",
            "FROM t WHERE id BETWEEN 1 AND 2 AND ( id = 1 AND leeroo_answer(q) = 'x' ) ORDER BY id;",
        ),
        (
            "DELETE FROM t WHERE leeroo_answer(q) = 'é' AND id = 1 RETURNING id",
            "DELETE FROM t WHERE id = 1 AND leeroo_answer(q) = 'é' RETURNING id",
        ),
        (
            "FROM t WHERE leeroo_answer(q) = 'x' AND id = 1 OR id = 2",
            "FROM t WHERE id = 1 AND leeroo_answer(q) = 'x' OR id = 2",
        ),
        (
            "SELECT CASE WHEN leeroo_answer(q) = 'x' AND id = 1 THEN leeroo_answer(q) AND b ELSE c AND d END FROM t",
            "SELECT CASE WHEN id = 1 AND leeroo_answer(q) = 'x' THEN leeroo_answer(q) AND b ELSE c AND d END FROM t",
        ),
        (
            "FROM t WHERE leeroo_answer(q) = 'x' AND id IN [1, 2] AND NOT ((leeroo_answer(q), id) = ('x', 3) AND id = 4)",
            "FROM t WHERE id IN [1, 2] AND leeroo_answer(q) = 'x' AND NOT ( id = 4 AND (leeroo_answer(q), id) = ('x', 3) )",
        ),
        (
            "FROM t WHERE EXISTS (SELECT leeroo_answer(q) AND b FROM u WHERE leeroo_answer(q) AND b HAVING leeroo_answer(q) AND c)",
            "FROM t WHERE EXISTS (SELECT leeroo_answer(q) AND b FROM u WHERE b AND leeroo_answer(q) HAVING c AND leeroo_answer(q) )",
        ),
        (
            "FROM t QUALIFY leeroo_answer(q) = 'x' AND sum(id) OVER (ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) = 1",
            "FROM t QUALIFY sum(id) OVER (ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) = 1 AND leeroo_answer(q) = 'x'",
        ),
        (
            "SELECT (leeroo_answer(q) AND b, c), f(leeroo_answer(q) AND b) FROM t WHERE (leeroo_answer(q), b) IN (FROM u)",
            None,
        ),
        ("FROM t WHERE leeroo_answer(' WHERE x AND y') = 'x'", None),
    ],
)
def test_calls_are_written_last(statement: str, written: str | None) -> None:
    """So it is in each place where AND alone joins conditions; comments and texts stay as they are."""
    assert calls_last(statement).split() == (written or statement).split()


def test_joins_keep_their_conditions(con: Connection, api: Any) -> None:
    """A join is planned as ever."""
    con.execute("SELECT * FROM t a, t b WHERE a.id = b.id AND a.id % 1000 = 0 AND leeroo_answer(b.q) = 'x'")
    assert sum(api.asked.values()) == 3
