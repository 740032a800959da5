"""leeroo_choice, leeroo_label and leeroo_extract, over a real model and over recorded outcomes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.errors import PoolError, UsageError
from leeroo.engine.schema import OUTCOMES, QUERIES
from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect

DidSince = Callable[[], Any]
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
)


@pytest.fixture(scope="module")
def real(models_here: None, smollm2_pool: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """Return a connection over SmolLM2."""
    with connect(pool=smollm2_pool, store=tmp_path_factory.mktemp("store")) as con:
        yield con


def test_a_choice_is_one_of_the_choices(real: Connection) -> None:
    """The struct has its text, its position from 1, its confidence, and the cost of one token for a letter."""
    rows = real.execute("""
        SELECT c.choice, c.position, c.confidence, c.expert, c.cost_usd, c.error
        FROM (SELECT leeroo_choice('What is the capital of France?', choices) AS c
              FROM (VALUES (['London', 'Paris']), (['Oslo', 'Rome', 'Paris'])) v(choices))""").fetchall()
    for (choice, position, confidence, expert, cost, error), among in zip(
        rows, (["London", "Paris"], ["Oslo", "Rome", "Paris"]), strict=True
    ):
        assert choice == among[position - 1]
        assert 1 / len(among) <= confidence <= 1
        assert (expert, error) == ("smollm2", None)
        assert 0 < cost < 100 * 0.01 / 1e6


def test_bad_choices_are_the_rows_error(real: Connection) -> None:
    """NULL stays NULL; one choice, none, or NULL among them costs nothing and harms no other row."""
    rows = real.execute("""
        SELECT leeroo_choice(q, choices) FROM (VALUES (1, NULL, ['a', 'b']), (2, 'x', NULL), (3, 'x', ['a']),
            (4, 'x', ['a', NULL]), (5, 'Which is a fruit?', ['apple', 'stone'])) v(i, q, choices) ORDER BY i""").fetchall()
    assert [row[0] for row in rows[:2]] == [None, None]
    assert rows[2][0]["error"] == "a choice is among at least two choices, not 1"
    assert rows[3][0]["error"] == "one of the choices is NULL"
    assert [rows[i][0]["cost_usd"] for i in (2, 3)] == [0, 0]
    assert rows[4][0]["choice"] in ("apple", "stone")


def test_thirty_choices_are_numbered(real: Connection) -> None:
    """Numbers are used where letters do not suffice, and 1 is distinguished from 10 to 19."""
    row = real.execute("SELECT leeroo_choice('Which number is the largest?', range(30)::VARCHAR[])").fetchall()[0][0]
    assert row["choice"] == str(row["position"] - 1)


def test_a_label_is_one_of_the_labels(real: Connection) -> None:
    """The value is always one of the labels, or NULL where there is no text."""
    rows = real.execute("""
        SELECT leeroo_label(t, ['good', 'very good', 'bad']) FROM (VALUES ('I love it!'), ('Terrible.'), (NULL)) v(t)""")
    labels = [label for (label,) in rows.fetchall()]
    assert labels[2] is None
    assert set(labels[:2]) <= {"good", "very good", "bad"}


def test_extraction_gives_valid_json(real: Connection) -> None:
    """JSON that DuckDB reads, valid under the schema; NULL for NULL, and where the limit cuts it off."""
    row = real.execute(
        "SELECT j->>'name', (j->>'age')::INT, typeof(j) FROM (SELECT leeroo_extract(?, ?) AS j)",
        ["John Smith is 42 years old.", SCHEMA],
    ).fetchall()[0]
    assert isinstance(row[0], str)
    assert isinstance(row[1], int)
    assert row[2] == "JSON"
    assert real.execute("SELECT leeroo_extract(NULL, ?), leeroo_extract('x', NULL)", [SCHEMA]).fetchall() == [
        (None, None)
    ]
    assert real.execute("SELECT leeroo_extract('Bob is 7.', ?, max_tokens := 2)", [SCHEMA]).fetchall() == [(None,)]


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ("leeroo_label('x', ['a'])", "leeroo_label: labels must be at least two different texts, not ['a']"),
        ("leeroo_label('x', ['a', 'a'])", "leeroo_label: labels must be at least two different texts"),
        ("leeroo_label('x', ['a', NULL])", "leeroo_label: labels must be at least two different texts"),
        ("leeroo_extract('x', '{')", "leeroo_extract: json_schema is not a JSON schema"),
        ("""leeroo_extract('x', '{"type": "objekt"}')""", "leeroo_extract: json_schema is not a JSON schema: 'objekt'"),
        ("leeroo_choice('x', ['a', 'b'], expert := 'huge')", "leeroo_choice: expert 'huge' is not in the pool"),
    ],
)
def test_a_wrong_argument_names_function_and_argument(real: Connection, call: str, line: str) -> None:
    """An argument that is wrong for all rows is the statement's error."""
    with pytest.raises((UsageError, PoolError)) as told:
        real.execute(f"SELECT {call}")
    assert str(told.value).startswith(line)


def test_all_forms_of_a_statement_are_one_batch(con: Connection, did: DidSince) -> None:
    """Different functions in one statement go to the engine together."""
    con.execute("""SELECT leeroo_answer(question), leeroo_choice(question, ['a', 'b']), leeroo_label(question, ['a', 'b']),
                          leeroo_extract(question, '{}') FROM t WHERE id < 3""")
    assert did().batches == 1


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Return a pool that replays a question with choices: the response names one, a prediction another, or neither."""
    prompts = [f"Question {i}?\nA. one\nB. two" for i in range(4)]
    queries = [
        {"query_id": str(i), "dataset": "d", "split": "test", "question": f"Question {i}?", "prompt": p}
        for i, p in enumerate(prompts)
    ]
    said = [("B. two, because", None), ("I think", "A"), ("Because", None), (None, None)]
    outcomes = [
        {"query_id": str(i), "expert": "e", "score": 1.0, "response": response, "prediction": prediction}
        for i, (response, prediction) in enumerate(said)
    ]
    pq.write_table(pa.Table.from_pylist(queries, schema=QUERIES), tmp_path / "queries.parquet")
    pq.write_table(pa.Table.from_pylist(outcomes, schema=OUTCOMES), tmp_path / "outcomes.parquet")
    pool = tmp_path / "pool.toml"
    pool.write_text(
        f'[[expert]]\nname = "e"\nmodel = "{tmp_path}"\nbackend = "replay"\nusd_per_m_input = 1\nusd_per_m_output = 1\n'
    )
    return pool


def test_recorded_answers_are_read_as_choices(recorded: Path, store: Path) -> None:
    """The letter that a response begins with, or the prediction read from it; anything else is the row's error."""
    with connect(pool=recorded, store=store) as con:
        rows = con.execute(
            "SELECT leeroo_choice('Question ' || i || '?', ['one', 'two']) FROM range(4) r(i) ORDER BY i"
        ).fetchall()
    told = [row[0] for row in rows]
    assert [(row["choice"], row["position"]) for row in told] == [("two", 2), ("one", 1), (None, None), (None, None)]
    assert [row["error"] for row in told] == [None, None, "the recorded answer 'Because' is none of the choices", None]
