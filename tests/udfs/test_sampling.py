"""A temperature makes a call an act of sampling: every row has a sample of its own, in all passes the same ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from leeroo.udfs.connection import Connection

DidSince = Callable[[], Any]
LARGE = 15 * 100 / 1e6


def test_every_row_is_sampled_anew(con: Connection, did: DidSince) -> None:
    """Rows with equal questions, constants included, are each generated and paid for, in one batch."""
    costs = con.execute("SELECT leeroo('What is 1 plus 1?', temperature := 0.7).cost_usd FROM range(5)").fetchall()
    assert [cost for (cost,) in costs] == pytest.approx([LARGE] * 5)
    assert did() == (1, 5)


def test_samples_belong_to_their_statement(con: Connection, did: DidSince) -> None:
    """The same statement run again samples again; a relation shown twice does not."""
    relation = con.sql("SELECT leeroo_answer(question, temperature := 1) FROM t WHERE id < 3")
    assert relation is not None
    assert did() == (1, 3)
    assert sorted(relation.fetchall()) == sorted(relation.filter("true").fetchall())
    assert did() == (0, 0)
    con.execute("SELECT leeroo_answer(question, temperature := 1) FROM t WHERE id < 3")
    assert did() == (1, 3)


def test_a_sample_is_evaluated_once(con: Connection, did: DidSince) -> None:
    """Filtering on a sampled answer does not sample it a second time for showing it."""
    statement = """SELECT a FROM (SELECT leeroo_answer(question, temperature := 1) AS a FROM t WHERE id < 4)
                   WHERE a LIKE '%says%'"""
    assert len(con.execute(statement).fetchall()) == 4
    assert did() == (1, 4)


def test_samples_may_be_in_questions(con: Connection, did: DidSince) -> None:
    """Calls on sampled answers are sent in the next round, with the samples that the statement ends up with."""
    rows = con.execute("""
        SELECT leeroo_answer(replace(leeroo_answer('What is 1 plus 1?', temperature := 1), 'large says', 'never recorded'),
                             expert := 'small') IS NULL,
               leeroo_answer(replace(leeroo_answer('What is 1 plus 1?', temperature := 1), 'large says 2', question))
        FROM t WHERE id < 3 ORDER BY id""").fetchall()
    assert rows == [(True, f"large says {2 * i}") for i in range(3)]
    assert did() == (2, 6 + 3)


def test_a_temperature_of_zero_or_null_is_none(con: Connection, did: DidSince) -> None:
    """Rows whose temperature is 0 or NULL share one answer, though other rows are sampled."""
    con.execute("""SELECT leeroo_answer('What is 1 plus 1?', temperature := CASE id WHEN 0 THEN 0 WHEN 1 THEN 1 END)
                   FROM t WHERE id < 5""")
    assert did() == (1, 2)
