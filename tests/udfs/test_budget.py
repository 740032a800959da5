"""Money in SQL: budgets and weights, as options and as variables, hold for each statement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from leeroo.engine.errors import UsageError
from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect, register

DidSince = Callable[[], Any]
LARGE = 15 * 100 / 1e6
SPEND = (
    "SELECT sum(leeroo(question).cost_usd), count(leeroo(question).answer), any_value(leeroo(question).error) FROM t"
)


@pytest.fixture
def con(con: Connection, pool_file: Path) -> Iterator[Connection]:
    """The same connection, with 'large' alone in its pool: what is out of the budget stays unanswered."""
    pool_file.write_text(pool_file.read_text().split('[[expert]]\nname = "small"')[0])
    with connect(pool=pool_file, store=pool_file.parent / "store", max_cost_usd=LARGE * 10.5) as own:
        own.execute("CREATE TABLE t AS SELECT 'What is ' || i || ' plus ' || i || '?' AS question FROM range(40) r(i)")
        yield own
