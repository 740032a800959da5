"""leeroo_record by kind of statement: typed values, one batch for each round, every text sent once."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import leeroo
from leeroo.engine.errors import LeerooError
from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect

DidSince = Callable[[], Any]

FIELDS = "{'total': 'INTEGER', 'kind': ['even', 'odd'], 'due': 'DATE', 'price': 'DECIMAL(10,2)', 'tags': 'VARCHAR[]'}"
TYPES = "STRUCT(total INTEGER, kind ENUM('even', 'odd'), due DATE, price DECIMAL(10,2), tags VARCHAR[])"


def _said(i: int) -> str:
    if i == 3:
        return "I cannot say."
    day = "2024-02-30" if i == 5 else "2024-02-28"
    kind = "even" if i % 2 == 0 else "odd"
    record = {"total": 2 * i, "kind": kind, "due": day, "price": i + 0.5, "tags": [f"t{i}"] if i else None}
    return json.dumps(record)


@pytest.fixture
def data_folder(data_folder: Path) -> Path:
    """Record records in the place of answers: that of text 3 is no JSON, that of text 5 has a day that is none."""
    path = data_folder / "outcomes.parquet"
    outcomes = pq.read_table(path)
    said = [_said(int(query[2:])) for query in outcomes.column("query_id").to_pylist()]
    pq.write_table(outcomes.set_column(outcomes.schema.get_field_index("response"), "response", pa.array(said)), path)
    return data_folder


# For each kind of statement: itself, its result, how many rounds of questions it takes, how many texts are sent.
STATEMENTS = {
    "projection": (
        f"SELECT leeroo_record(question, {FIELDS}) FROM t WHERE id IN (0, 1) ORDER BY id",
        [
            (
                {
                    "total": 2 * i,
                    "kind": ("even", "odd")[i],
                    "due": datetime.date(2024, 2, 28),
                    "price": Decimal(f"{i}.50"),
                    "tags": [f"t{i}"] if i else None,
                },
            )
            for i in (0, 1)
        ],
        1,
        2,
    ),
    "fields of one call are one request": (
        f"""SELECT r.total, r.due + 1, r.tags[1] FROM (SELECT id, leeroo_record(question, {FIELDS}) AS r FROM t)
            WHERE id = 2""",
        [(4, datetime.date(2024, 2, 29), "t2")],
        1,
        1,
    ),
    "WHERE": (
        f"SELECT id FROM t WHERE id < 3 AND leeroo_record(question, {FIELDS}).kind = 'even' ORDER BY id",
        [(0,), (2,)],
        1,
        3,
    ),
    "JOIN": (
        f"""SELECT a.id, b.id FROM t a JOIN t b
            ON leeroo_record(a.question, {FIELDS}).total = leeroo_record(b.question, {FIELDS}).total
            WHERE a.id < 2 AND b.id < 2 ORDER BY ALL""",
        [(0, 0), (1, 1)],
        1,
        2,
    ),
    "GROUP BY": (
        f"""SELECT leeroo_record(question, {FIELDS}).kind AS kind, count(*) FROM t WHERE id < 3 GROUP BY kind
            ORDER BY kind""",
        [("even", 2), ("odd", 1)],
        1,
        3,
    ),
    "window": (
        f"""SELECT id, sum(leeroo_record(question, {FIELDS}).total) OVER (ORDER BY id) FROM t WHERE id < 3
            ORDER BY id""",
        [(0, 0), (1, 2), (2, 6)],
        1,
        3,
    ),
    "CTE used twice": (
        f"""WITH r AS (SELECT id, leeroo_record(question, {FIELDS}).total AS total FROM t WHERE id < 2)
            SELECT a.total + b.total FROM r a JOIN r b USING (id) ORDER BY 1""",
        [(0,), (4,)],
        1,
        2,
    ),
    "nested calls": (
        f"""SELECT leeroo_record('What is ' || r.total || ' plus ' || r.total || '?', {FIELDS}).total
            FROM (SELECT leeroo_record(question, {FIELDS}) AS r FROM t WHERE id = 1)""",
        [(4,)],
        2,
        2,
    ),
    "constant": (f"SELECT leeroo_record('What is 1 plus 1?', {FIELDS}).total", [(2,)], 1, 1),
    "fields as text": (
        """SELECT leeroo_record('What is 1 plus 1?', 'total INTEGER, kind VARCHAR, due DATE, price DOUBLE,
            tags VARCHAR[]').price""",
        [(1.5,)],
        1,
        1,
    ),
    "NULL": (
        f"SELECT leeroo_record(NULL, {FIELDS}), leeroo_record(question, NULL) FROM t WHERE id = 0",
        [(None, None)],
        0,
        0,
    ),
    "failed rows": (
        f"""SELECT id, r.value IS NULL, r.expert, r.error FROM (
                SELECT id, leeroo_recorded(question, {FIELDS}) AS r FROM t WHERE id IN (3, 4, 5)) ORDER BY id""",
        [
            (3, True, "large", "the answer is not JSON: 'I cannot say.'"),
            (4, False, "large", None),
            (5, True, "large", "the answer cannot be converted: due: 2024-02-30 is no DATE"),
        ],
        1,
        3,
    ),
}


@pytest.mark.filterwarnings("ignore::leeroo.RowsFailedWarning")
@pytest.mark.parametrize("kind", STATEMENTS)
def test_statements_give_typed_values(con: Connection, did: DidSince, kind: str) -> None:
    """Each has its result, and takes as few batches and requests as it can; again it costs nothing."""
    statement, rows, rounds, texts = STATEMENTS[kind]
    assert con.execute(statement).fetchall() == rows
    assert did() == (rounds, texts)
    assert con.execute(statement).fetchall() == rows
    assert did().generated == 0


def test_a_table_and_a_view_have_the_types(con: Connection, did: DidSince) -> None:
    """CREATE TABLE AS and a view know the struct, and the view's rows come from the store."""
    con.execute(f"CREATE TABLE made AS SELECT id, leeroo_record(question, {FIELDS}) AS r FROM t WHERE id < 2")
    assert con.execute("SELECT DISTINCT typeof(r) FROM made").fetchall() == [(TYPES,)]
    assert did() == (1, 2)
    con.execute(f"CREATE TEMP VIEW seen AS SELECT leeroo_record(question, {FIELDS}).total AS n FROM t WHERE id < 2")
    assert con.execute("SELECT sum(n) FROM seen").fetchall() == [(2,)]
    assert did().generated == 0


@pytest.mark.parametrize("text", ["NULL", "NULL::VARCHAR", "'What is 1 plus 1?'"])
def test_a_constant_has_the_types(con: Connection, text: str) -> None:
    """Also where the planner knows that there is nothing to read."""
    call = f"leeroo_record({text}, {FIELDS})"
    assert con.execute(f"SELECT typeof({call}), {call}.total FROM range(1)").fetchall()[0][0] == TYPES


def test_parameters_give_text_and_fields(con: Connection) -> None:
    """Fields may be a parameter: the planner knows its value."""
    statement = "SELECT leeroo_record($text, $fields)"
    values = {"text": "What is 1 plus 1?", "fields": {"total": "INTEGER", "kind": "VARCHAR"}}
    with pytest.warns(leeroo.RowsFailedWarning, match="Additional properties are not allowed"):
        assert con.execute(statement, values).fetchall() == [(None,)]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("leeroo_record('a', {'n': 'INTEGRE'})", "leeroo_record: n: there is no type 'INTEGRE'"),
        ("leeroo_recorded('a', {'n': {'m': 'X'}})", "leeroo_recorded: n: m: there is no type 'X'"),
        ("leeroo_record('a', {})", "leeroo_record: a record needs at least one field"),
        ("leeroo_record('a', {'n': []})", "leeroo_record: n: values to choose from must be different texts"),
        ("leeroo_record('a', {'n': ['x', NULL]})", "leeroo_record: n: values to choose from must be different texts"),
        ("leeroo_record('a', {'n': 'BLOB'})", "leeroo_record: n: values of the type BLOB cannot be read from a text"),
        ("leeroo_record('a', {'n': 3})", "leeroo_record: n: a type is text, a list of values or a further record"),
        ("leeroo_record('a', ['n'])", "leeroo_record: a record is fields with their types"),
        ("leeroo_record('a', 'n')", "leeroo_record: the fields 'n' cannot be read"),
        ("leeroo_record('a', f) FROM (VALUES ({'n': 'DATE'})) v(f)", "write them in the statement, not as a column"),
        ("leeroo_record('a', {'n': 'DATE'}, expert := 'nobody')", "leeroo_record: expert 'nobody' is not in the pool"),
    ],
)
def test_wrong_fields_are_one_line(con: Connection, did: DidSince, call: str, says: str) -> None:
    """The line names function and field; nothing is sent."""
    with pytest.raises(LeerooError) as error:
        con.execute(f"SELECT {call}")
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert did() == (0, 0)


def test_plain_registration_gives_records(pool_file: Path, store: Path) -> None:
    """A connection of the user's own has the function too, a vector at a time."""
    import duckdb

    with duckdb.connect() as own:
        registered = leeroo.register(own, pool=pool_file, store=store)
        query = "SELECT leeroo_record('What is ' || i || ' plus ' || i || '?', 'total INTEGER, kind VARCHAR, due DATE, "
        query += "price DOUBLE, tags VARCHAR[]').total FROM range(2) r(i) ORDER BY i"
        assert own.execute(query).fetchall() == [(0,), (2,)]
        registered.close()


@pytest.fixture
def real(smollm2_pool: Path, store: Path, models_here: None) -> Iterator[Connection]:
    """Return a connection to a real model, which transformers loads."""
    with connect(pool=smollm2_pool, store=store) as con:
        yield con


def test_a_model_is_kept_to_the_types(real: Connection, did: DidSince) -> None:
    """Whatever a small model writes, it is of the types; the second time it costs nothing."""
    fields = "{'name': 'VARCHAR', 'age': 'INTEGER', 'kind': ['person', 'firm'], 'due': 'DATE'}"
    statement = f"SELECT leeroo_recorded('John Smith is 42 years old.', {fields}, max_tokens := 60) AS r"
    (record,) = real.execute(statement).fetchall()[0]
    assert record["error"] is None
    assert record["value"]["name"] == "John Smith"
    assert isinstance(record["value"]["age"], int | None)
    assert record["value"]["kind"] in ("person", "firm", None)
    assert isinstance(record["value"]["due"], datetime.date | None)
    assert did() == (1, 1)
    assert real.execute(statement).fetchall() == [({**record, "cost_usd": 0.0},)]
    assert did().generated == 0
