"""SQLAlchemy, with duckdb_engine over cursors of our connection, and pandas on top of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from duckdb_engine import ConnectionWrapper

from leeroo.engine.errors import PoolError
from leeroo.udfs.connection import Connection

DidSince = Callable[[], Any]

# 5,000 rows are three vectors of DuckDB's, and each of them has questions that no other has.
TABLES = """
CREATE TABLE many AS SELECT t.id, t.question FROM t, range(125) ORDER BY t.id;
CREATE TABLE said (id BIGINT, a VARCHAR);
"""
MANY = sa.table("many", sa.column("id"), sa.column("question"))
SAID = sa.table("said", sa.column("id"), sa.column("a"))
ASK_SMALL = sa.func.leeroo_answer(MANY.c.question, sa.text("expert := 'small'"))


@pytest.fixture
def con(con: Connection) -> Connection:
    """Return the connection with `TABLES` too."""
    con.execute(TABLES)
    return con


@pytest.fixture
def engine(con: Connection) -> Iterator[sa.Engine]:
    """Return the engine of docs/how-to/use-dbt-and-notebooks.md."""
    engine = sa.create_engine("duckdb://", creator=lambda: ConnectionWrapper(con.cursor()))  # pyright: ignore[reportArgumentType]
    yield engine
    engine.dispose()


def _text(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        query = sa.text("SELECT id, leeroo_answer(question, expert := :expert) FROM many")
        return len(set(connection.execute(query, {"expert": "small"}).all()))


def _core(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return len(set(connection.execute(sa.select(MANY.c.id, ASK_SMALL)).all()))


def _insert(engine: sa.Engine) -> int:
    with engine.begin() as connection:
        connection.execute(sa.insert(SAID).from_select(["id", "a"], sa.select(MANY.c.id, ASK_SMALL)))
    with engine.connect() as connection:
        return len(set(connection.execute(sa.select(SAID.c.id, SAID.c.a)).all()))


def _pandas(engine: sa.Engine) -> int:
    frame = pd.read_sql("SELECT id, leeroo_answer(question, expert := 'small') FROM many", engine)
    return len(frame.drop_duplicates())


@pytest.mark.parametrize("ask", [_text, _core, _insert, _pandas])
def test_a_statement_is_one_batch(engine: sa.Engine, did: DidSince, ask: Callable[[sa.Engine], int]) -> None:
    """Each statement over 5,000 rows is one batch, inside the transaction that SQLAlchemy begins for it."""
    assert ask(engine) == 40
    assert did() == (1, 40)


def test_values_are_as_python_has_them(engine: sa.Engine, did: DidSince) -> None:
    """Answers are text, structs are dicts, NULL is None; pandas gets the same, and nothing is paid for twice."""
    query = "SELECT id, leeroo_answer(question) AS a, leeroo(question) AS whole, leeroo_answer(NULL) AS n FROM t WHERE id < 3 ORDER BY id"
    with engine.connect() as connection:
        rows = connection.execute(sa.text(query)).mappings().all()
    assert [(row["id"], row["a"], row["n"]) for row in rows] == [(i, f"large says {2 * i}", None) for i in range(3)]
    assert rows[1]["whole"]["expert"] == "large"
    frame = pd.read_sql(query, engine)
    assert frame["a"].tolist() == [row["a"] for row in rows]
    assert did().generated == 3


def test_a_frame_is_a_table(engine: sa.Engine) -> None:
    """pandas writes its tables there, and a frame of the caller's is found by its name."""
    frame = pd.DataFrame({"question": ["What is 1 plus 1?", "What is 2 plus 2?"]})
    frame.to_sql("written", engine, index=False)
    for name in ("written", "frame"):
        said = pd.read_sql(f"SELECT leeroo_answer(question) AS a FROM {name}", engine)
        assert said["a"].tolist() == ["large says 2", "large says 4"]


def test_rolling_back_keeps_the_answers(con: Connection, engine: sa.Engine, did: DidSince) -> None:
    """The rows of a transaction are dropped with it, and its paid answers stay."""
    with engine.connect() as connection:
        connection.execute(sa.insert(SAID).from_select(["id", "a"], sa.select(MANY.c.id, ASK_SMALL)))
        assert connection.execute(sa.text("SELECT count(*) FROM said")).scalar_one() == 5000
        connection.rollback()
    assert con.execute("SELECT count(*) FROM said").fetchall() == [(0,)]
    assert did().generated == 40
    assert _insert(engine) == 40
    assert con.execute("SELECT count(*) FROM said").fetchall() == [(5000,)]
    assert did().generated == 0


def test_a_budget_is_set_in_sql(engine: sa.Engine, did: DidSince) -> None:
    """A variable set on a connection holds for the statements of that connection."""
    with engine.connect() as connection:
        connection.execute(sa.text("SET VARIABLE leeroo_max_cost_usd = 0"))
        assert set(connection.execute(sa.select(ASK_SMALL)).all()) == {(None,)}
    assert did().generated == 0


def test_many_rows_of_parameters_are_answered_one_by_one(engine: sa.Engine, did: DidSince) -> None:
    """A list of parameters is as many statements to SQLAlchemy's driver: right, but no batch."""
    with engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO said VALUES (:id, leeroo_answer(:question))"),
            [{"id": i, "question": f"What is {i} plus {i}?"} for i in range(3)],
        )
        rows: Sequence[Any] = connection.execute(sa.text("SELECT * FROM said ORDER BY id")).all()
    assert rows == [(i, f"large says {2 * i}") for i in range(3)]
    assert did() == (3, 3)


def test_threads_have_connections_of_the_pool(engine: sa.Engine, did: DidSince) -> None:
    """Threads that share an engine each get their own rows, and each question is paid for once."""

    def ask(i: int) -> list[Any]:
        with engine.connect() as connection:
            return [
                tuple(row)
                for row in connection.execute(sa.text(f"SELECT leeroo_answer(question) FROM t WHERE id = {i}"))
            ]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(ask, list(range(8)) * 2)) == [[(f"large says {2 * i}",)] for i in range(8)] * 2
    assert did().generated == 8


def test_errors_are_ours(engine: sa.Engine) -> None:
    """A wrong argument is our error with its sentence, and the connection goes on."""
    with engine.connect() as connection:
        with pytest.raises(PoolError, match="leeroo_answer: expert 'huge' is not in the pool"):
            connection.execute(sa.text("SELECT leeroo_answer(question, expert := 'huge') FROM t"))
        connection.rollback()
        assert (
            connection.execute(sa.text("SELECT leeroo_answer(question) FROM t WHERE id = 1")).scalar() == "large says 2"
        )


def test_pandas_takes_the_connection_itself(con: Connection, did: DidSince) -> None:
    """Without SQLAlchemy pandas uses a cursor of the connection, as one batch, and warns that it does not know it."""
    with pytest.warns(UserWarning, match="only supports SQLAlchemy"):
        frame = pd.read_sql("SELECT id, leeroo_answer(question) AS a FROM many ORDER BY id", con)  # type: ignore[call-overload]
    assert frame["a"].tolist() == [f"large says {i // 125 * 2}" for i in range(5000)]
    assert did() == (1, 40)
