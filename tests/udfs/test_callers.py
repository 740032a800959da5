"""Variables of the caller are tables; those of this package never are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

import leeroo
from leeroo.udfs.connection import Connection

DidSince = Callable[[], Any]
QUESTION = "What is 1 plus 1?"
# Names of parameters, locals and globals on the way from `Connection.sql` to DuckDB.
OURS = ("run", "alias", "text", "con", "tables", "method", "kwargs", "statements", "duckdb", "PASSES", "registration")


@pytest.mark.parametrize("name", OURS)
def test_a_frame_of_any_name_is_found(con: Connection, name: str) -> None:
    """Each way to run a statement finds the caller's frame, whatever its name."""
    made: dict[str, Any] = {"con": con, "frame": pd.DataFrame({"q": [QUESTION]})}
    statement = f"SELECT leeroo_answer(q) FROM {name}"
    exec(f"def ask(statement, {name}):\n    return made.execute(statement).fetchall()", {"made": con}, made)
    assert made["ask"](statement, made["frame"]) == [("large says 2",)]
    exec(f"def ask(statement, {name}):\n    return made.sql(statement).fetchall()", {"made": con}, made)
    assert made["ask"](statement, made["frame"]) == [("large says 2",)]


@pytest.mark.parametrize("name", OURS)
def test_a_name_of_ours_is_no_table(con: Connection, name: str) -> None:
    """A table that is not there does not exist, and nothing else is said of it."""
    for run in (con.execute, con.sql, con.explain):
        with pytest.raises(duckdb.CatalogException, match=f"Table with name {name} does not exist"):
            run(f"SELECT * FROM {name}")


def test_frames_further_out_are_found(con: Connection) -> None:
    """A library that runs a statement for its caller, as notebooks do, hides no table of the caller's."""
    frame = pd.DataFrame({"q": [QUESTION]})

    def run(statement: str) -> Any:
        return con.execute(statement).fetchall()

    assert run("SELECT leeroo_answer(q) FROM frame") == [("large says 2",)]
    assert len(frame) == 1


def test_a_plain_connection_finds_them_too(pool_file: Path, store: Path) -> None:
    """leeroo.sql and leeroo.explain find frames for a user's own connection."""
    con = statement = pd.DataFrame({"q": [QUESTION]})
    with duckdb.connect() as plain:
        leeroo.register(plain, pool=pool_file, store=store)
        for name in ("con", "statement"):
            text = f"SELECT leeroo_answer(q) FROM {name}"
            assert len(leeroo.explain(plain, text).estimates) == (name == "con")  # then it is known
            made = leeroo.sql(plain, text)
            assert made is not None
            assert made.fetchall() == [("large says 2",)]
    assert len(con) == len(statement)


def test_a_view_over_a_frame_is_answered(con: Connection) -> None:
    """A view names the frame, and the statement only the view."""
    frame = pa.table({"q": [QUESTION]})
    con.execute("CREATE TEMP VIEW asked AS SELECT leeroo_answer(q) AS a FROM frame")
    assert con.execute("FROM asked").fetchall() == [("large says 2",)]
    assert len(frame) == 1


def test_a_reader_is_read_once(con: Connection, did: DidSince) -> None:
    """A reader that can be read only once is stored, and one batch answers it."""
    rows = pa.table({"q": [QUESTION, "What is 2 plus 2?"]})
    reader = rows.to_reader()
    assert con.execute("SELECT leeroo_answer(q) FROM reader").fetchall() == [("large says 2",), ("large says 4",)]
    reader = rows.to_reader()
    made = con.sql("SELECT leeroo_answer(q) FROM reader")
    assert made is not None
    assert made.fetchall() == [("large says 2",), ("large says 4",)]
    con.register("registered", rows.to_reader())
    assert con.execute("SELECT count(leeroo_answer(q)) FROM registered").fetchall() == [(2,)]
    assert did() == (1, 2)
    assert reader.schema.names == ["q"]


def test_a_reader_without_questions_streams(con: Connection) -> None:
    """A statement without a call of ours is DuckDB's alone."""
    reader = pa.table({"q": [QUESTION]}).to_reader()
    assert con.execute("SELECT q FROM reader").fetchall() == [(QUESTION,)]
    assert reader.schema.names == ["q"]
