"""leeroo_decide by kind of statement: typed choices, one request a text however many questions there are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import leeroo
from leeroo.engine.errors import LeerooError
from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect
from tests.provider import Provider

DidSince = Callable[[], Any]

ASKED = "{'kind': ['even', 'odd'], 'stars': [0, 1, 2, 3], 'small': [true, false]}"
TYPES = (
    "STRUCT(kind STRUCT(choice VARCHAR, confidence DOUBLE), stars STRUCT(choice INTEGER, confidence DOUBLE),"
    " small STRUCT(choice BOOLEAN, confidence DOUBLE))"
)


@pytest.fixture
def data_folder(data_folder: Path) -> Path:
    """Record decisions in the place of answers; those of text 3 lack one."""
    path = data_folder / "outcomes.parquet"
    outcomes = pq.read_table(path)
    said = []
    for query in outcomes.column("query_id").to_pylist():
        i = int(query[2:])
        decided = {"kind": "odd" if i % 2 else "even", "stars": i % 4, "small": i < 2}
        said.append(json.dumps({"kind": "odd"} if i == 3 else decided))
    pq.write_table(outcomes.set_column(outcomes.schema.get_field_index("response"), "response", pa.array(said)), path)
    return data_folder


# For each kind of statement: itself, its result, how many rounds of questions it takes, how many texts are sent.
STATEMENTS = {
    "projection": (
        f"SELECT d.kind.choice, d.stars.choice + 1, d.small.choice, d.kind.confidence FROM (SELECT id,"
        f" leeroo_decide(question, {ASKED}) AS d FROM t WHERE id < 3) ORDER BY id",
        [("even", 1, True, None), ("odd", 2, True, None), ("even", 3, False, None)],
        1,
        3,
    ),
    "WHERE": (
        f"SELECT id FROM t WHERE id < 3 AND leeroo_decide(question, {ASKED}).small.choice ORDER BY id",
        [(0,), (1,)],
        1,
        3,
    ),
    "WHERE, several times": (
        f"""SELECT id FROM t WHERE id < 3 AND leeroo_decide(question, {ASKED}).small.choice
            AND leeroo_decide(question, {ASKED}).kind.choice = 'odd'""",
        [(1,)],
        1,
        3,
    ),
    "JOIN": (
        f"""SELECT a.id, b.id FROM t a JOIN t b ON leeroo_decide(a.question, {ASKED}).kind.choice
            = leeroo_decide(b.question, {ASKED}).kind.choice WHERE a.id < 2 AND b.id < 2 ORDER BY ALL""",
        [(0, 0), (1, 1)],
        1,
        2,
    ),
    "GROUP BY": (
        f"""SELECT leeroo_decide(question, {ASKED}).kind.choice AS kind, avg(leeroo_decide(question, {ASKED})
            .stars.choice) FROM t WHERE id < 3 GROUP BY kind ORDER BY kind""",
        [("even", 1.0), ("odd", 1.0)],
        1,
        3,
    ),
    "window": (
        f"""SELECT id, rank() OVER (ORDER BY leeroo_decide(question, {ASKED}).stars.choice DESC) FROM t
            WHERE id < 3 ORDER BY id""",
        [(0, 3), (1, 2), (2, 1)],
        1,
        3,
    ),
    "CTE used twice": (
        f"""WITH d AS (SELECT id, leeroo_decide(question, {ASKED}).stars.choice AS n FROM t WHERE id < 2)
            SELECT a.n + b.n FROM d a JOIN d b USING (id) ORDER BY 1""",
        [(0,), (2,)],
        1,
        2,
    ),
    "nested calls": (
        f"""SELECT leeroo_decide('What is ' || n || ' plus ' || n || '?', {ASKED}).kind.choice FROM (
            SELECT leeroo_decide(question, {ASKED}).stars.choice AS n FROM t WHERE id = 2)""",
        [("even",)],
        1,
        1,
    ),
    "constant": (f"SELECT leeroo_decide('What is 1 plus 1?', {ASKED}).stars.choice", [(1,)], 1, 1),
    "NULL": (
        f"SELECT leeroo_decide(NULL, {ASKED}), leeroo_decide(question, NULL) FROM t WHERE id = 0",
        [(None, None)],
        0,
        0,
    ),
    "failed rows": (
        f"""SELECT id, d.value.kind.choice, d.expert, d.error FROM (
                SELECT id, leeroo_decided(question, {ASKED}) AS d FROM t WHERE id IN (2, 3)) ORDER BY id""",
        [
            (2, "even", "large", None),
            (3, None, "large", "recorded: the answer has no choice for 'stars'"),
        ],
        1,
        1,
    ),
    "another expert": (
        f"SELECT leeroo_decided('What is 1 plus 1?', {ASKED}, expert := 'small').expert",
        [("small",)],
        1,
        1,
    ),
}


@pytest.mark.filterwarnings("ignore::leeroo.RowsFailedWarning")
@pytest.mark.parametrize("kind", STATEMENTS)
def test_statements_give_typed_choices(con: Connection, did: DidSince, kind: str) -> None:
    """Each has its result, and takes as few batches and requests as it can; again it costs nothing."""
    statement, rows, rounds, texts = STATEMENTS[kind]
    assert con.execute(statement).fetchall() == rows
    assert did() == (rounds, texts)
    assert con.execute(statement).fetchall() == rows
    assert did().generated == 0


def test_a_table_and_a_view_have_the_types(con: Connection, did: DidSince) -> None:
    """CREATE TABLE AS and a view know the struct, and the view's rows come from the store."""
    con.execute(f"CREATE TABLE made AS SELECT id, leeroo_decide(question, {ASKED}) AS d FROM t WHERE id < 2")
    assert con.execute("SELECT DISTINCT typeof(d) FROM made").fetchall() == [(TYPES,)]
    assert did() == (1, 2)
    con.execute(
        f"CREATE TEMP VIEW seen AS SELECT leeroo_decide(question, {ASKED}).stars.choice AS n FROM t WHERE id < 2"
    )
    assert con.execute("SELECT sum(n) FROM seen").fetchall() == [(1,)]
    assert did().generated == 0


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("leeroo_decide('a', {'k': ['x']})", "leeroo_decide: the decision 'k' needs at least two choices, not 1"),
        ("leeroo_decide('a', {'k': ['x', NULL]})", "leeroo_decide: the decision 'k' has a choice that is NULL"),
        ("leeroo_decided('a', {'k': 'x'})", "leeroo_decided: the decision 'k' needs a list of choices, not \"x\""),
        ("leeroo_decide('a', {'k': [1, 1]})", "leeroo_decide: the decision 'k' has a choice twice"),
        ("leeroo_decide('a', {})", "leeroo_decide: decisions must be names with their choices"),
        (
            "leeroo_decide('a', f) FROM (VALUES ({'k': ['x', 'y']})) v(f)",
            "write them in the statement, not as a column",
        ),
        ("leeroo_decide('a', {'k': ['x', 'y']}, expert := 'no')", "leeroo_decide: expert 'no' is not in the pool"),
    ],
)
def test_wrong_questions_are_one_line(con: Connection, did: DidSince, call: str, says: str) -> None:
    """The line names function and question; nothing is sent."""
    with pytest.raises(LeerooError) as error:
        con.execute(f"SELECT {call}")
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert did() == (0, 0)


def test_a_model_reads_each_text_once(smollm2_pool: Path, store: Path, models_here: None, did: DidSince) -> None:
    """One request a text, with confidences that the store keeps; a NULL and a duplicate cost nothing."""
    statement = """SELECT i, leeroo_decided(x, {'urgent': ['yes', 'no'], 'team': ['billing', 'bug', 'other'],
        'stars': [1, 2, 3]}) FROM (VALUES (1, 'I was charged twice!'), (2, 'The page is blank.'), (3, NULL),
        (4, 'The page is blank.')) v(i, x) ORDER BY i"""
    with connect(pool=smollm2_pool, store=store) as con:
        rows = dict(con.execute(statement).fetchall())
    assert did() == (1, 2)
    assert rows[3] is None
    assert rows[2]["value"] == rows[4]["value"]
    asked: dict[str, list[Any]] = {"urgent": ["yes", "no"], "team": ["billing", "bug", "other"], "stars": [1, 2, 3]}
    for name, choices in asked.items():
        decided = rows[1]["value"][name]
        assert decided["choice"] in choices
        assert 1 / len(choices) <= decided["confidence"] <= 1
    with connect(pool=smollm2_pool, store=store) as con:
        again = dict(con.execute(statement).fetchall())
    assert [row and row["value"] for row in again.values()] == [row and row["value"] for row in rows.values()]
    assert did().generated == 0


def test_a_private_row_never_goes_to_an_api(api: Provider, tmp_path: Path, store: Path) -> None:
    """Without a local expert it fails alone."""
    api.says = lambda _, prompt: '{"kind": "even"}'
    pool = tmp_path / "mixed.toml"
    pool.write_text(api.entry("far", 1, 100))
    statement = """SELECT leeroo_decided('text ' || i, {'kind': ['even', 'odd']}, private := i = 1) FROM range(2) r(i)
        ORDER BY i"""
    with connect(pool=pool, store=store, on_warning=lambda _: None) as con:
        (open_,), (private,) = con.execute(statement).fetchall()
    assert open_["value"]["kind"]["choice"] == "even"
    assert private["value"] is None
    assert "private" in private["error"]
    assert len(api.bodies) == 1


def test_answers_of_a_register_alone(pool_file: Path, store: Path) -> None:
    """A connection of the user's own has the function too."""
    import duckdb

    with duckdb.connect() as own:
        registered = leeroo.register(own, pool=pool_file, store=store)
        query = (
            f"SELECT leeroo_decide('What is ' || i || ' plus ' || i || '?', {ASKED}).stars.choice FROM range(2) r(i)"
        )
        assert own.execute(f"{query} ORDER BY i").fetchall() == [(0,), (1,)]
        registered.close()
