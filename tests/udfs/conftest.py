"""A connection over recorded outcomes, and what its engine really did, as its store tells."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect

# `t` has the 40 recorded questions; `next` makes the question after an answer: "large says 2" -> "What is 2 plus 2?".
TABLES = """
CREATE TABLE t AS SELECT i AS id, i % 4 AS part, 'What is ' || i || ' plus ' || i || '?' AS question FROM range(40) r(i);
CREATE MACRO next(said) AS 'What is ' || split_part(said, ' ', 3) || ' plus ' || split_part(said, ' ', 3) || '?';
"""


class Did(NamedTuple):
    """What engines did with a store so far."""

    batches: int  # tables handed to the engine, for answers or for routes
    generated: int  # answers paid for


@pytest.fixture(scope="session")
def smollm2_pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a pool of one real language model."""
    path = tmp_path_factory.mktemp("smollm2") / "pool.toml"
    path.write_text("""
[[expert]]
name = "smollm2"
model = "HuggingFaceTB/SmolLM2-135M-Instruct"
backend = "transformers"
usd_per_m_input = 0.01
usd_per_m_output = 0.02
max_tokens = 40
""")
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return the folder of an answer store of this test's own."""
    return tmp_path / "store"


@pytest.fixture
def con(pool_file: Path, store: Path) -> Iterator[Connection]:
    """Return a connection that batches whole statements, with `TABLES`."""
    with connect(pool=pool_file, store=store) as con:
        con.execute(TABLES)
        yield con


@pytest.fixture
def did(store: Path) -> Callable[[], Did]:
    """Count what was done since this was called last."""
    before = Did(0, 0)

    def since() -> Did:
        nonlocal before
        db = sqlite3.connect(store / "answers.sqlite")
        counts = [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("runs", "answers")]
        db.close()
        now = Did(*counts)
        done, before = Did(now.batches - before.batches, now.generated - before.generated), now
        return done

    return since
