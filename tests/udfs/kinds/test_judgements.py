"""leeroo_filter and leeroo_score by kind of statement: right values, one batch a round, one request for a distinct text."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.errors import UsageError
from leeroo.engine.schema import OUTCOMES, QUERIES
from leeroo.udfs.connection import Connection
from leeroo.udfs.functions.forms.judgements import FILTER, SCORE
from leeroo.udfs.register import connect
from tests.provider import Provider

DidSince = Callable[[], Any]

PAIR = "The complaint {l} is about the product {r}"
LEFT, RIGHT = ("a0", "a1", "a2"), ("0", "1")


def _recorded() -> dict[str, str]:
    """Return what is recorded for each prompt: 40 texts, of which the even ones meet a condition, and pairs of texts."""
    even, large = FILTER.of_text.format(about="is even"), SCORE.of_text.format(about="how large is it")
    evens = {f"Text: text {i}{even}": "no" if i % 2 else "yes" for i in range(40)}
    larges = {f"Text: text {i}{large}": str(1 + i % 5) for i in range(40)}
    pairs = {
        FILTER.of_fields.format(about=PAIR.format(l=left, r=right)): "yes" if left[1] == right else "no"
        for left, right in itertools.product(LEFT, RIGHT)
    }
    fits = {SCORE.of_fields.format(about=f"how well does {left} fit"): "5" for left in LEFT}
    return evens | larges | pairs | fits | {f"Text: blank{even}": "unclear"}


@pytest.fixture
def con(tmp_path: Path, store: Path) -> Iterator[Connection]:
    """Return a connection with `t`, 40 rows of text and each twice, and the recorded answers of one expert."""
    queries = [
        {"query_id": prompt, "dataset": "d", "split": "test", "question": prompt, "prompt": prompt}
        for prompt in _recorded()
    ]
    outcomes = [
        {"query_id": prompt, "expert": "e", "score": 1.0, "response": said} for prompt, said in _recorded().items()
    ]
    pq.write_table(pa.Table.from_pylist(queries, schema=QUERIES), tmp_path / "queries.parquet")
    pq.write_table(pa.Table.from_pylist(outcomes, schema=OUTCOMES), tmp_path / "outcomes.parquet")
    pool = tmp_path / "pool.toml"
    pool.write_text(
        f'[[expert]]\nname = "e"\nmodel = "{tmp_path}"\nbackend = "replay"\nusd_per_m_input = 1\nusd_per_m_output = 1\n'
    )
    with connect(pool=pool, store=store) as con:
        con.execute(f"""
            CREATE TABLE t AS SELECT i AS id, 'text ' || (i % 40) AS x FROM range(80) r(i);
            CREATE TABLE l AS SELECT unnest({list(LEFT)}) AS l;
            CREATE TABLE r AS SELECT unnest({list(RIGHT)}) AS r;
            CREATE VIEW even AS SELECT * FROM t WHERE leeroo_filter(x, 'is even')""")
        yield con


# For each kind of statement: itself, its result, how many rounds of questions it takes, how many texts are sent.
STATEMENTS = {
    "projection": (
        "SELECT leeroo_filter(x, 'is even'), leeroo_score(x, 'how large is it') FROM t WHERE id IN (1, 2, 42) ORDER BY id",
        [(False, 0.25), (True, 0.5), (True, 0.5)],
        1,
        4,
    ),
    "WHERE": (
        "SELECT id FROM t WHERE leeroo_filter(x, 'is even') AND id % 20 < 2 ORDER BY id",
        [(0,), (20,), (40,), (60,)],
        1,
        4,
    ),
    "WHERE NOT": ("SELECT id FROM t WHERE NOT leeroo_filter(x, 'is even') AND id < 3", [(1,)], 1, 3),
    "a filter, then a score of what is left": (
        "SELECT id FROM t WHERE leeroo_score(x, 'how large is it') > 0.7 AND leeroo_filter(x, 'is even') AND id < 10",
        [(4,), (8,)],
        2,
        15,
    ),
    "JOIN on both sides' columns": (
        "SELECT l, r FROM l JOIN r ON leeroo_filter('The complaint ' || l || ' is about the product ' || r, 'is even')",
        [],
        1,
        6,
    ),
    "JOIN with fields": (
        f"SELECT l, r FROM l JOIN r ON leeroo_filter('{PAIR}', {{'l': l, 'r': r}}) ORDER BY l",
        [("a0", "0"), ("a1", "1")],
        1,
        6,
    ),
    "JOIN with fields and a condition that costs nothing": (
        f"SELECT l, r FROM l JOIN r ON leeroo_filter('{PAIR}', {{'l': l, 'r': r}}) AND l <> 'a0' ORDER BY l",
        [("a1", "1")],
        1,
        4,
    ),
    "the fields of a row": ("SELECT leeroo_score('how well does {l} fit?', row_) FROM l AS row_", [(1.0,)] * 3, 1, 3),
    "GROUP BY": (
        "SELECT leeroo_filter(x, 'is even') AS e, count(*) FROM t WHERE id < 6 GROUP BY e ORDER BY e",
        [(False, 3), (True, 3)],
        1,
        6,
    ),
    "an aggregate": ("SELECT avg(leeroo_score(x, 'how large is it')) FROM t WHERE id < 5", [(0.5,)], 1, 5),
    "ORDER BY": (
        "SELECT id FROM t WHERE id < 4 ORDER BY leeroo_score(x, 'how large is it') DESC LIMIT 1",
        [(3,)],
        1,
        4,
    ),
    "window": (
        "SELECT id, rank() OVER (ORDER BY leeroo_score(x, 'how large is it') DESC) FROM t WHERE id < 2 ORDER BY id",
        [(0, 2), (1, 1)],
        1,
        2,
    ),
    "CTE": (
        "WITH c AS (SELECT id, leeroo_filter(x, 'is even') AS e FROM t WHERE id < 4) SELECT count(*) FROM c WHERE e",
        [(2,)],
        1,
        4,
    ),
    "view": ("SELECT id FROM even WHERE id < 3 ORDER BY id", [(0,), (2,)], 1, 3),
    "LIMIT": ("SELECT id FROM even LIMIT 2", [(0,), (2,)], 1, 7),
    "nested in a question": (
        "SELECT leeroo_filter('text ' || (leeroo_score(x, 'how large is it') * 4)::INTEGER, 'is even') FROM t WHERE id IN (2, 3)",
        [(True,), (False,)],
        2,
        4,
    ),
    "NULLs": (
        "SELECT leeroo_filter(NULL, 'is even'), leeroo_filter(x, NULL), leeroo_score(NULL, 'x'), leeroo_score(x, NULL)"
        " FROM t WHERE id = 0",
        [(None, None, None, None)],
        0,
        0,
    ),
    "a column of conditions": (
        "SELECT leeroo_filter(x, c) FROM t, (VALUES ('is even'), (NULL)) v(c) WHERE id = 2 ORDER BY c",
        [(True,), (None,)],
        1,
        1,
    ),
}


@pytest.mark.parametrize("kind", STATEMENTS)
@pytest.mark.filterwarnings("ignore::leeroo.engine.errors.RowsFailedWarning")
def test_a_statement_is_one_batch_a_round(con: Connection, did: DidSince, kind: str) -> None:
    """The result is right, each round of questions is one batch, and no text is sent twice."""
    statement, result, rounds, sent = STATEMENTS[kind]
    assert con.execute(statement).fetchall() == result
    done = did()
    assert done.batches == rounds
    if kind != "JOIN on both sides' columns":  # its questions are not among those recorded
        assert done.generated == sent
        assert con.execute(statement).fetchall() == result
        assert did() == (0, 0)


def test_struct_forms_say_who_judged_and_why_not(con: Connection) -> None:
    """Value, confidence (none is recorded), expert, cost and error; NULL for NULL."""
    rows = con.execute("""SELECT leeroo_filtered(x, 'is even'), leeroo_scored(x, 'how large is it')
                          FROM (VALUES (1, 'text 1'), (2, NULL), (3, 'text 99')) v(i, x) ORDER BY i""").fetchall()
    assert rows[0][0] == {
        "value": False,
        "confidence": None,
        "expert": "e",
        "cost_usd": rows[0][0]["cost_usd"],
        "error": None,
    }
    assert rows[0][1]["value"] == 0.25
    assert rows[1] == (None, None)
    assert [each["value"] for each in rows[2]] == [None, None]
    assert all("not among those recorded" in each["error"] for each in rows[2])


def test_a_filter_is_null_where_the_model_cannot_tell(con: Connection) -> None:
    """The choice 'unclear' is NULL without an error, and passes neither the condition nor its opposite."""
    assert con.execute("SELECT leeroo_filtered('blank', 'is even')").fetchall()[0][0] | {"cost_usd": 0} == {
        "value": None,
        "confidence": None,
        "expert": "e",
        "cost_usd": 0,
        "error": None,
    }
    query = "SELECT count(*) FROM (SELECT 1) WHERE {} leeroo_filter('blank', 'is even')"
    assert [con.execute(query.format(no)).fetchall() for no in ("", "NOT")] == [[(0,)], [(0,)]]


def test_create_table_as(con: Connection, did: DidSince) -> None:
    """A table of judgements has BOOLEAN and DOUBLE columns."""
    con.execute(
        "CREATE TABLE made AS SELECT leeroo_filter(x, 'is even') AS e, leeroo_score(x, 'how large is it') AS s FROM t"
    )
    assert did() == (1, 80)
    assert con.execute(
        "SELECT typeof(e), typeof(s), count(*) FILTER (WHERE e), sum(s) FROM made GROUP BY ALL"
    ).fetchall()[0][:2] == (
        "BOOLEAN",
        "DOUBLE",
    )


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ("leeroo_filter('x', 'is even', threshold := 1.4)", "leeroo_filter: threshold must be from 0 to 1, not 1.4"),
        ("leeroo_filter('x', ' ')", "leeroo_filter: there is nothing to judge by: the second argument is blank"),
        ("leeroo_score('x', '')", "leeroo_score: there is nothing to judge by: the second argument is blank"),
        ("leeroo_filter('{a} is {b}', {'a': 1})", "leeroo_filter: there is no field 'b' for {b}; the fields are: a"),
    ],
)
def test_wrong_arguments_are_one_line(con: Connection, did: DidSince, call: str, line: str) -> None:
    """They are the statement's error, before anything is sent."""
    with pytest.raises(UsageError) as raised:
        con.execute(f"SELECT {call}")
    assert str(raised.value) == line
    assert did() == (0, 0)


def test_a_model_judges_by_probabilities(models_here: None, smollm2_pool: Path, store: Path, did: DidSince) -> None:
    """The score is an expectation, and a threshold decides what is true; another threshold sends nothing."""
    texts = "FROM (VALUES ('I am furious!'), ('Thanks, all fine.'), ('I am furious!')) v(x)"
    with connect(pool=smollm2_pool, store=store) as con:
        rows = con.execute(f"SELECT leeroo_scored(x, 'how angry is the writer') AS s {texts}").fetchall()
        assert did() == (1, 2)
        values = [row[0]["value"] for row in rows]
        assert values[0] == values[2] != values[1]
        assert all(0 < value < 1 and value * 4 % 1 for value in values)
        filtered = con.execute(f"SELECT leeroo_filtered(x, 'is angry') AS f {texts}").fetchall()[0][0]
        assert 0.5 <= filtered["confidence"] < 1
        assert isinstance(filtered["value"], bool)
        both = "leeroo_filter(x, 'is angry', threshold := 0.001), leeroo_filter(x, 'is angry', threshold := 0.999)"
        assert con.execute(f"SELECT {both} {texts} LIMIT 1").fetchall() == [(True, False)]
        assert did() == (1, 2)


def test_an_api_without_probabilities_judges_by_its_choice(
    api: Provider, api_entry: Callable[..., str], tmp_path: Path, store: Path
) -> None:
    """The value is the choice itself, and the confidence NULL."""
    api.does = {"": "no_logprobs"}
    api.says = lambda _, prompt: "4" if "scale" in prompt else "yes"
    (tmp_path / "pool.toml").write_text(api_entry("m", 1, 2))
    with connect(pool=tmp_path / "pool.toml", store=store) as con:
        assert con.execute("SELECT leeroo_filter('x', 'is even', threshold := 0.9)").fetchall() == [(True,)]
        row = con.execute("SELECT leeroo_scored('x', 'how large is it')").fetchall()[0][0]
    assert (row["value"], row["confidence"], row["error"]) == (0.75, None, None)
