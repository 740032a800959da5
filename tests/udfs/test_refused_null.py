"""A target that refuses NULL, the rehearsal's answer, still has all its questions asked as one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from leeroo.udfs.connection import Connection

DidSince = Callable[[], Any]
# Three vectors of DuckDB's, each with questions that no other has.
ASKED = "SELECT i, 'What is ' || i // 125 || ' plus ' || i // 125 || '?' AS q FROM range(5000) r(i)"


@pytest.mark.parametrize(
    "columns",
    ["i INT, a VARCHAR NOT NULL", "i INT, a VARCHAR CHECK (a IS NOT NULL)", "i INT, a VARCHAR, PRIMARY KEY (i, a)"],
)
@pytest.mark.parametrize(
    "insert",
    [
        "INSERT INTO said SELECT i, leeroo_answer(q) FROM asked",
        "WITH w AS (FROM asked) INSERT INTO said (i, a) FROM (SELECT i, leeroo_answer(q) FROM w) RETURNING i",
        "INSERT INTO said BY NAME (SELECT i, leeroo_answer(q) AS a FROM asked)",
        "INSERT INTO said WITH w AS (FROM asked) SELECT i, leeroo_answer(q) FROM w",
    ],
)
def test_an_insert_is_one_batch(con: Connection, did: DidSince, columns: str, insert: str) -> None:
    """NOT NULL, CHECK and PRIMARY KEY on the answer, in each form of INSERT."""
    con.execute(f"CREATE TABLE asked AS {ASKED}; CREATE TABLE said ({columns})")
    con.execute(insert)
    assert did() == (1, 40)
    assert con.execute("SELECT count(*) FROM said WHERE a = 'large says ' || i // 125 * 2").fetchall() == [(5000,)]


def test_a_conflict_is_left_out(con: Connection, did: DidSince) -> None:
    """The clause after the query is no part of it."""
    con.execute(f"CREATE TABLE asked AS {ASKED}; CREATE TABLE said (a VARCHAR PRIMARY KEY)")
    con.execute("INSERT INTO said (a) SELECT leeroo_answer(q) FROM asked ON CONFLICT DO NOTHING")
    assert did() == (1, 40)
    assert con.execute("SELECT count(*) FROM said").fetchall() == [(40,)]
