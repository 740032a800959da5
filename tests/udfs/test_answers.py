"""leeroo_answer and leeroo: what they return, and what they say when they cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from leeroo.engine.errors import PoolError, UsageError
from leeroo.engine.schema import ANSWERS
from leeroo.udfs.connection import Connection

LARGE = 15 * 100 / 1e6  # USD: 15 tokens at 100 dollars a million
Q = "What is 3 plus 3?"


def one(con: Connection, expression: str) -> Any:
    """Return the value of an expression, as Python has it."""
    return con.execute(f"SELECT {expression}").fetchone()[0]


def test_an_answer_is_text(con: Connection) -> None:
    """leeroo_answer is the text that the chosen expert answers."""
    assert con.execute("SELECT leeroo_answer(question) FROM t WHERE id IN (3, 4) ORDER BY id").fetchall() == [
        ("large says 6",),
        ("large says 8",),
    ]


def test_leeroo_has_the_answers_columns(con: Connection) -> None:
    """leeroo is a struct with the columns that the engine appends, recorded scores included where they are replayed."""
    answer = one(con, f"leeroo('{Q}')")
    assert list(answer) == [*ANSWERS.names, "recorded_score"]
    assert (answer["answer"], answer["expert"], answer["recorded_score"]) == ("large says 6", "large", 1.0)
    assert (answer["prompt_tokens"], answer["completion_tokens"]) == (10, 5)
    assert answer["cost_usd"] == answer["list_cost_usd"] == pytest.approx(LARGE)
    assert (answer["finish_reason"], answer["error"]) == ("stop", None)


def test_an_answer_is_paid_for_once(con: Connection, did: Callable[[], Any]) -> None:
    """A later statement finds what an earlier one has paid for, and says that it cost nothing."""
    assert one(con, f"leeroo('{Q}').cost_usd") == pytest.approx(LARGE)
    assert did() == (1, 1)
    again = one(con, f"leeroo('{Q}')")
    assert again["cost_usd"] == 0
    assert again["list_cost_usd"] == pytest.approx(LARGE)
    assert did() == (0, 0)


def test_null_in_null_out(con: Connection, did: Callable[[], Any]) -> None:
    """A NULL question is NULL, whatever the other arguments are, and nothing is sent."""
    con.execute("INSERT INTO t VALUES (99, 0, NULL)")
    rows = con.execute("SELECT leeroo_answer(question), leeroo(question, expert := 'small') FROM t WHERE id = 99")
    assert rows.fetchall() == [(None, None)]
    assert one(con, "leeroo_answer(NULL)") is None
    assert did() == (0, 0)


def test_a_failing_row_is_null_with_its_reason(con: Connection) -> None:
    """A row that cannot be answered is NULL, costs nothing, and its reason is in leeroo(...).error."""
    con.execute("INSERT INTO t VALUES (99, 0, 'never recorded'), (100, 0, ' ')")
    rows = con.execute("SELECT leeroo_answer(question), leeroo(question) FROM t WHERE id > 38 ORDER BY id").fetchall()
    assert rows[0][0] == "large says 78"
    assert [row[0] for row in rows[1:]] == [None, None]
    assert "not among those recorded" in rows[1][1]["error"]
    assert rows[1][1]["cost_usd"] == 0
    assert not rows[2][1] or rows[2][1]["error"] is None


def test_a_failed_row_is_sent_again_in_the_next_statement(con: Connection, did: Callable[[], Any]) -> None:
    """A failure is forgotten with its statement: the next one may have more luck."""
    for _ in range(2):
        assert one(con, "leeroo('never recorded').error") is not None
        assert did() == (1, 0)


def test_named_arguments_reach_the_expert(con: Connection, did: Callable[[], Any]) -> None:
    """Each named argument makes another request; NULL is the same as absent, and so is the temperature 0."""
    assert one(con, f"leeroo_answer('{Q}', expert := 'small')") == "small says 6"
    assert did() == (1, 1)
    con.execute(f"""SELECT leeroo_answer('{Q}', expert := 'small', system := NULL, max_tokens := NULL),
                           leeroo_answer('{Q}', expert := 'small', temperature := 0)""")
    assert did() == (0, 0)
    con.execute(f"""SELECT leeroo_answer('{Q}', expert := 'small', system := 'be brief'),
                           leeroo_answer('{Q}', expert := 'small', max_tokens := 5)""")
    assert did() == (1, 2)


def test_arguments_may_differ_from_row_to_row(con: Connection) -> None:
    """An argument may be a column, as any argument of SQL."""
    rows = con.execute("""
        SELECT leeroo_answer(question, expert := CASE WHEN id = 1 THEN 'small' WHEN id = 2 THEN 'large' END)
        FROM t WHERE id < 3 ORDER BY id""")
    assert rows.fetchall() == [("large says 0",), ("small says 2",), ("large says 4",)]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        ("leeroo_answer(question, expert := 'huge')", PoolError, "leeroo_answer: expert 'huge'.*large, small"),
        ("leeroo(question, max_tokens := 0)", UsageError, "leeroo: max_tokens must be .*not 0"),
        ("leeroo_answer(question, max_tokens := -id - 1)", UsageError, "leeroo_answer: max_tokens must be .*not -"),
        ("leeroo(question, temperature := -0.5)", UsageError, "leeroo: temperature must be .*not -0.5"),
        ("leeroo_answer(question, temperature := 'nan'::DOUBLE)", UsageError, "temperature must be .*not nan"),
    ],
)
def test_wrong_arguments_are_one_line(
    con: Connection, did: Callable[[], Any], call: str, kind: type[Exception], message: str
) -> None:
    """The error names the function and the argument, in one line, and nothing is sent."""
    with pytest.raises(kind, match=message) as caught:
        con.execute(f"SELECT {call} FROM t")
    assert "\n" not in str(caught.value)
    assert did() == (0, 0)


def test_questions_of_other_types_are_cast_to_text(con: Connection) -> None:
    """A value that is not text is sent as the text that it is cast to."""
    assert "recorded" in one(con, "leeroo(42).error")
    assert one(con, f"leeroo_answer('{Q}'::ENUM ('{Q}'))") == "large says 6"
