"""Recorded answers of two experts to 600 questions, tables and views about them, and what each expert was sent."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.schema import OUTCOMES, QUERIES
from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect

ROWS = 600
# 'cheap' says yes to every third question, 'strong' to every second one, at a hundred times the price.
SAYS = {"cheap": 3, "strong": 2}
TABLES = f"""
CREATE TABLE t AS SELECT i AS id, 'q' || i AS q, i % 7 AS k FROM range({ROWS}) r(i);
CREATE TABLE u AS SELECT i * 10 AS id, i % 5 AS g, 'q' || (i * 10) AS q FROM range({ROWS // 10}) r(i);
CREATE VIEW yes AS SELECT * FROM t WHERE leeroo_answer(q) = 'yes';
CREATE VIEW yes_ids AS SELECT id, q AS body FROM t WHERE leeroo_answer(q) = 'yes';
CREATE MACRO is_yes(x) AS leeroo_answer(x) = 'yes';
CREATE MACRO strong(x) AS leeroo_answer(x, expert := 'strong') = 'yes';
"""

Sent = Callable[[], dict[str, int]]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Return a pool that replays both experts."""
    ids = [f"q{i}" for i in range(ROWS)]
    common = {"dataset": "d", "split": "test"}
    queries = [{"query_id": q, "question": q, "prompt": q, **common} for q in ids]
    outcomes = [
        {
            "query_id": q,
            "expert": expert,
            "score": 1.0,
            "response": "no" if i % every else "yes",
            "prompt_tokens": 10,
            "completion_tokens": 5,
        }
        for i, q in enumerate(ids)
        for expert, every in SAYS.items()
    ]
    pq.write_table(pa.Table.from_pylist(queries, schema=QUERIES), tmp_path / "queries.parquet")
    pq.write_table(pa.Table.from_pylist(outcomes, schema=OUTCOMES), tmp_path / "outcomes.parquet")
    path = tmp_path / "pool.toml"
    path.write_text(
        "\n".join(
            f'[[expert]]\nname = "{name}"\nmodel = "{tmp_path}"\nbackend = "replay"\n'
            f"usd_per_m_input = {price}\nusd_per_m_output = {price}\n"
            for name, price in (("cheap", 1), ("strong", 100))
        )
    )
    return path


@pytest.fixture
def con(pool: Path, tmp_path: Path) -> Iterator[Connection]:
    """Return a connection with `TABLES`."""
    with connect(pool=pool, store=tmp_path / "store") as con:
        con.execute(TABLES)
        yield con


@pytest.fixture
def sent(tmp_path: Path) -> Sent:
    """Count the questions that were sent to each expert, since this was called last."""
    before: dict[str, int] = {}

    def since() -> dict[str, int]:
        nonlocal before
        db = sqlite3.connect(tmp_path / "store" / "answers.sqlite")
        now = dict(db.execute("SELECT expert, count(*) FROM answers GROUP BY expert").fetchall())
        db.close()
        new = {name: count - before.get(name, 0) for name, count in now.items() if count > before.get(name, 0)}
        before = now
        return new

    return since
