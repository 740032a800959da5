"""Questions made of a task and fields: leeroo_answer('Is {a} a {b}?', {'a': ..., 'b': ...})."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leeroo.engine.errors import UsageError
from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect

DidSince = Callable[[], Any]
SUM = "'What is {x} plus {y}?'"


def test_fields_are_filled_in(con: Connection, did: DidSince) -> None:
    """The question is the task with its fields: a recorded one is found, and what is known of it is used."""
    asked = f"SELECT leeroo_answer({SUM}, {{'x': id, 'y': id}}) FROM t WHERE id < 3 ORDER BY id"
    assert con.execute(asked).fetchall() == [("large says 0",), ("large says 2",), ("large says 4",)]
    assert did() == (1, 3)
    assert con.execute("SELECT leeroo_answer('What is 1 plus 1?')").fetchall() == [("large says 2",)]
    assert did().generated == 0


def test_a_row_can_be_the_fields(con: Connection) -> None:
    """A table's name is the struct of its columns; those that the task does not name are no part of the question."""
    rows = con.execute("SELECT leeroo_answer('What is {id} plus {id}?', t) FROM t WHERE id = 5").fetchall()
    assert rows == [("large says 10",)]


def test_null_in_null_out(con: Connection, did: DidSince) -> None:
    """A field that is NULL makes the question NULL, at no cost; one that is not named does not."""
    rows = con.execute(f"""
        SELECT leeroo_answer({SUM}, {{'x': x, 'y': y, 'z': NULL}}), leeroo_answer(NULL, {{'x': 1}}),
               leeroo_answer({SUM}, NULL::STRUCT(x INT, y INT))
        FROM (VALUES (1, 1), (2, NULL)) v(x, y) ORDER BY x""").fetchall()
    assert rows == [("large says 2", None, None), (None, None, None)]
    assert did().generated == 1


def test_braces(con: Connection) -> None:
    """Two braces are one; braces round anything but a name are braces."""
    rows = con.execute("SELECT leeroo('{{x}} is {x} in { json }', {'x': 1}).error").fetchall()
    assert "not among those recorded" in rows[0][0]
    with pytest.raises(
        UsageError, match="leeroo_answer: there is no field 'produkt' for {produkt}; the fields are: product"
    ):
        con.execute("SELECT leeroo_answer('Is {produkt} good?', {'product': 1})")


def test_it_goes_with_the_other_arguments(con: Connection, did: DidSince) -> None:
    """Experts and temperatures are given as ever; sampled, every row has an answer of its own."""
    said = con.execute(f"SELECT leeroo_answer({SUM}, {{'x': 1, 'y': 1}}, expert := 'small')").fetchall()
    assert said == [("small says 2",)]
    con.execute(f"SELECT leeroo_answer({SUM}, {{'x': 1, 'y': 1}}, temperature := 1) FROM range(3)")
    assert did().generated == 1 + 3


@pytest.fixture
def remote(api: Any, tmp_path: Path, store: Path) -> Iterator[Connection]:
    """Return a connection over a server that tells what it was asked."""
    (tmp_path / "pool.toml").write_text(
        f'[[expert]]\nname = "e"\nmodel = "m"\nbackend = "openai"\nbase_url = "{api.url}"\n'
        "usd_per_m_input = 1\nusd_per_m_output = 1\n"
    )
    with connect(pool=tmp_path / "pool.toml", store=store) as con:
        yield con


def test_what_rows_share_is_shown_first(remote: Connection, api: Any) -> None:
    """The task, then the fields, that which rows share most before the others; known answers stay known."""
    product = "a kettle with a very long description, number "
    ask = f"SELECT leeroo_answer('Is {{review}} about {{product}}?', {{'review': 'text ' || i, 'product': '{product}' || i % 2}})"
    remote.execute(f"{ask} FROM range(8) r(i)")
    assert sorted(api.asked) == sorted(
        f"Is {{review}} about {{product}}?\n\n{{product}}: {product}{i % 2}\n{{review}}: text {i}" for i in range(8)
    )
    remote.execute(f"{ask} FROM range(9) r(i)")
    assert sum(api.asked.values()) == 9


def test_where_little_is_shared_fields_are_filled_in(remote: Connection, api: Any) -> None:
    """A question that reads well is worth a few tokens."""
    remote.execute(
        "SELECT leeroo_answer('Is {review} about {product}?', {'review': 'text ' || i, 'product': 'P' || i}) FROM range(4) r(i)"
    )
    assert sorted(api.asked) == [f"Is text {i} about P{i}?" for i in range(4)]
