"""Joins, deduplications and rankings in whole statements: right rows, few batches, nothing decided twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import leeroo
from leeroo.engine.errors import PoolError, RowsFailed, RowsFailedWarning, UsageError
from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect
from tests.provider import Provider
from tests.recorded import recorded_pool, write_recorded

TABLES = """
CREATE TABLE things AS SELECT * FROM (VALUES
    (1, 'apple'), (2, 'banana'), (3, 'cherry'), (4, 'desk'), (5, 'engine'), (6, 'forest')) v(pid, name);
CREATE TABLE notes AS SELECT i AS id, 'a note about the ' || name || ' today' AS text
    FROM range(12) r(i) JOIN things ON pid = 1 + i % 6;
INSERT INTO notes VALUES (90, NULL), (91, '  '), (92, 'a note about the apple today');
"""
JOIN = "leeroo_join('notes', 'things', '{l.text} is about {r.name}', k := 2)"


def decides(model: str, prompt: str) -> str:
    """Decide by words: the thing of a note, the last text by the alphabet, equal last words; echo anything else."""
    if prompt.startswith("Which of these"):
        lines = [line for line in prompt.splitlines() if line[1:2] == "."]
        return max(lines, key=lambda line: line[3:])[0]
    if (found := re.search(r"about the (\w+) today is about (\w+)", prompt)) is not None:
        return "yes" if found[1] == found[2] else "no"
    if (pair := re.search(r"A: (.*)\n\nB: (.*)", prompt)) is not None:
        return "yes" if pair[1].split()[-2:] == pair[2].split()[-2:] else "no"
    return prompt.removeprefix("say ")


@pytest.fixture
def server(api: Provider) -> Provider:
    """Return an API that decides as `decides` does."""
    api.says, api.usd_per_m = decides, {"": (1.0, 1.0)}
    return api


@pytest.fixture
def con(server: Provider, tmp_path: Path) -> Iterator[Connection]:
    """Return a connection over the API, with `TABLES`."""
    pool = tmp_path / "pool.toml"
    pool.write_text(server.entry("a", 1.0, 20, "[expert.engine]\nmax_retries = 0\n"))
    with connect(pool=pool, router="none", store=tmp_path / "store") as con:
        con.execute(TABLES)
        yield con


def _rows(con: Connection, query: str) -> list[Any]:
    rows: list[Any] = con.execute(query).fetchall()
    return rows


def _runs(con: Connection) -> int:
    ((count,),) = _rows(con, "SELECT count(*) FROM leeroo_runs()")
    return int(count)


# For each kind of statement: itself, its result, and how many runs of the engine it takes.
STATEMENTS = {
    "projection": (
        f"SELECT l.id, r.name FROM {JOIN} WHERE l.id < 3 OR l.id > 80 ORDER BY 1",
        [(0, "apple"), (1, "banana"), (2, "cherry"), (92, "apple")],
        1,
    ),
    "filter and join": (
        f"SELECT t.name, count(*) FROM {JOIN} j JOIN things t ON t.pid = j.r.pid WHERE confidence > 0.5 AND pid < 3 GROUP BY 1 ORDER BY 1",
        [("apple", 3), ("banana", 2)],
        1,
    ),
    "window": (
        f"SELECT l.id FROM {JOIN} WHERE r.pid = 1 QUALIFY row_number() OVER (PARTITION BY r.pid ORDER BY l.id DESC) = 1",
        [(92,)],
        1,
    ),
    "CTE as a table": (
        """WITH few AS (FROM notes WHERE id < 2)
           SELECT l.id, r.pid FROM leeroo_join('few', 'things', '{l.text} is about {r.name}', k := 2) ORDER BY 1""",
        [(0, 1), (1, 2)],
        1,
    ),
    "a table on both sides": (
        """SELECT count(*), min(l.name = r.name) FROM leeroo_join('things', 'things',
               'a note about the {l.name} today is about {r.name}', k := 2, sample := 0)""",
        [(6, True)],
        1,
    ),
    "answers in a view": (
        """CREATE OR REPLACE TEMP VIEW said AS SELECT pid, leeroo_answer('say ' || name) AS name FROM things;
           SELECT l.id, r.pid FROM leeroo_join('notes', 'said', '{l.text} is about {r.name}', k := 2)
           WHERE l.id IN (3, 4) ORDER BY 1""",
        [(3, 4), (4, 5)],
        2,
    ),
    "table": (
        f"CREATE OR REPLACE TABLE made AS SELECT l.id AS id, r.name AS name, cost_usd FROM {JOIN}; SELECT count(*) FROM made",
        [(13,)],
        1,
    ),
    "nothing to join": (
        "WITH none AS (FROM notes WHERE text IS NULL) SELECT * FROM leeroo_join('none', 'things', '{l.text} is about {r.name}')",
        [],
        0,
    ),
    "duplicates": (
        """SELECT id, group_id, representative FROM leeroo_dedupe('notes', 'text', similarity := 0.2)
           WHERE id IN (0, 6, 92, 1, 90) ORDER BY id""",
        [(0, 1, True), (1, 2, True), (6, 1, False), (90, None, True), (92, 1, False)],
        1,
    ),
    "what is left of duplicates": (
        "SELECT count(*) FROM leeroo_dedupe('notes', 'text', similarity := 0.2) WHERE representative",
        [(8,)],
        1,
    ),
    "duplicates in own words": (
        """SELECT count(DISTINCT group_id) FROM leeroo_dedupe('things', '{pid} {name}', k := 2, similarity := -1,
               prompt := 'A: {a}\n\nB: {b}')""",
        [(6,)],
        1,
    ),
    "the best": (
        """SELECT name, rank FROM leeroo_top_k('things', 'last name', k := 2, "column" := 'name')""",
        [("forest", 1), ("engine", 2)],
        2,
    ),
    "the best of equal rows": (
        """SELECT count(*), max(rank), bool_and(text LIKE '%forest%')
           FROM leeroo_top_k('notes', 'last', k := 2, "column" := 'text')""",
        [(2, 1, True)],
        2,
    ),
    "join and best in one statement": (
        f"""SELECT (SELECT count(*) FROM {JOIN}), (SELECT count(*) FROM leeroo_top_k('things', 'last name', k := 1))""",
        [(13, 1)],
        1,
    ),
}


@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_statement_has_its_rows_in_few_batches(kind: str, con: Connection, server: Provider) -> None:
    """Each wave of a statement is one run of the engine, no question goes twice, and a second time nothing does."""
    statement, result, runs = STATEMENTS[kind]
    before = _runs(con)
    assert _rows(con, statement) == result
    assert _runs(con) - before == runs
    assert set(server.asked.values()) <= {1}
    sent = len(server.bodies)
    assert _rows(con, statement) == result
    assert len(server.bodies) == sent


@pytest.mark.parametrize("kind", ["projection", "duplicates", "the best", "join and best in one statement"])
def test_recorded_decisions_are_replayed(kind: str, con: Connection, server: Provider, tmp_path: Path) -> None:
    """A pool that replays the decisions gives the same rows in as many batches, and sends nothing."""
    statement, result, runs = STATEMENTS[kind]
    said: dict[str, str] = {}

    def record(model: str, prompt: str) -> str:
        return said.setdefault(prompt, decides(model, prompt))

    server.says = record
    con.execute(statement)
    sent = len(server.bodies)
    write_recorded(tmp_path / "data", said)
    pool = tmp_path / "replay.toml"
    pool.write_text(recorded_pool(tmp_path / "data"))
    with connect(pool=pool, router="none", store=tmp_path / "replayed") as replayed:
        replayed.execute(TABLES)
        assert _rows(replayed, statement) == result
        assert _runs(replayed) == runs
        ((answers,),) = _rows(replayed, "SELECT sum(answers) FROM leeroo_spend()")
        assert answers == len(said)
    assert len(server.bodies) == sent


def test_a_join_says_what_each_pair_cost(con: Connection, server: Provider) -> None:
    """Confidence, similarity, expert, cost and recall stand beside the rows; in another statement they cost nothing."""
    query = f"SELECT confidence, similarity, expert, cost_usd, recall FROM {JOIN} LIMIT 1"
    confidence, similarity, expert, cost, recall = _rows(con, query)[0]
    assert confidence == pytest.approx(0.9)
    assert 0 < similarity < 1
    assert (expert, cost > 0, recall) == ("a", True, 1.0)
    assert _rows(con, f"SELECT sum(cost_usd), count(*) FROM {JOIN}") == [(0, 13)]
    assert len(server.bodies) < 6 * 6


def test_tables_may_be_views_frames_and_qualified(con: Connection) -> None:
    """Whatever has a name in SQL is a table of an operation."""
    con.execute("CREATE VIEW seen AS FROM notes WHERE id < 3")
    frame = con.execute("FROM things").df()
    assert len(frame) == 6
    query = "SELECT l.id, r.pid FROM leeroo_join('{}', '{}', '{{l.text}} is about {{r.name}}', k := 2) ORDER BY 1"
    for left, right in [("seen", "frame"), ("main.seen", "memory.main.things")]:
        assert _rows(con, query.format(left, right)) == [(0, 1), (1, 2), (2, 3)]


def test_a_user_connection_has_the_operations_too(server: Provider, tmp_path: Path) -> None:
    """After `register` alone they work as well."""
    pool = tmp_path / "pool.toml"
    pool.write_text(server.entry("a", 1.0, 20))
    own = duckdb.connect()
    leeroo.register(own, pool=pool, router="none", store=tmp_path / "store")
    own.execute(TABLES)
    assert own.execute(f"SELECT count(*) FROM {JOIN}").fetchall() == [(13,)]
    own.close()


def test_failed_decisions_are_one_warning(con: Connection, server: Provider) -> None:
    """The other pairs are found; with on_error = 'fail' the statement fails."""
    server.faults, server.repeat = {"banana today is": [400]}, True
    with pytest.warns(RowsFailedWarning, match=r"^leeroo_join: \d+ of \d+ decisions failed: 400 Bad Request"):
        assert _rows(con, f"SELECT count(*) FROM {JOIN}") == [(11,)]
    con.execute("SET VARIABLE leeroo_on_error = 'fail'")
    with pytest.raises(RowsFailed, match="decisions failed: 400 Bad Request"):
        con.execute(f"SELECT count(*) FROM {JOIN}")


def test_the_budget_of_a_statement_holds(con: Connection, server: Provider) -> None:
    """A join finds what it can pay for."""
    con.execute("SET VARIABLE leeroo_max_cost_usd = 0.0004")
    with pytest.warns(RowsFailedWarning, match="the budget of"):
        ((count,),) = _rows(con, f"SELECT count(*) FROM {JOIN}")
    assert 0 < count < 13
    assert server.account_usd <= 0.0004


def test_a_join_has_its_part_of_the_budget(con: Connection, server: Provider) -> None:
    """Answers of the same statement leave it the money for its decisions, not for one request."""
    server.says = lambda _, prompt: decides(_, prompt) if "today is about" in prompt else "word " * 19
    server.usage = lambda prompt, _: (12, 3) if "today is about" in prompt else (12, 20)
    con.execute("SET VARIABLE leeroo_max_cost_usd = 0.002")
    query = f"SELECT (SELECT count(*) FROM {JOIN}), (SELECT count(leeroo_answer('say ' || i)) FROM range(60) r(i))"
    with pytest.warns(RowsFailedWarning, match="the budget of"):
        ((pairs, answers),) = _rows(con, query)
    assert pairs == 13
    assert 10 < answers < 60
    assert server.account_usd <= 0.002


@pytest.mark.parametrize(
    ("query", "error", "says"),
    [
        (
            "leeroo_join('notes', 'things', '{text} is about {r.name}')",
            UsageError,
            "leeroo_join: {text} in the prompt is",
        ),
        ("leeroo_join('notes', 'things', '{l.text} is {r.nam}')", UsageError, "leeroo_join: there is no column 'nam'"),
        ("leeroo_join('notes', 'things', '{l.text}')", UsageError, "names no column of the right table"),
        ("leeroo_join('notes', 'things', '{l.text} {r.name}', k := 0)", UsageError, "k must be a number above 0"),
        ("leeroo_join('notes', 'things', '{l.text} {r.name}', sample := 7)", UsageError, "sample must be from 0 to 1"),
        (
            "leeroo_join('notes', 'things', '{l.text} {r.name}', model := 'zz')",
            PoolError,
            "no expert called 'zz' embeds",
        ),
        ("leeroo_join('notes', 'things', '{l.text} {r.name}', expert := 'zz')", PoolError, "expert 'zz' is not in the"),
        (
            "leeroo_join('many', 'many', '{l.i} {r.i}', k := 51)",
            UsageError,
            "up to 10,200,000 candidates (100,000 + 100,000",
        ),
        (
            "leeroo_join('notes', 'nowhere', '{l.text} {r.i}')",
            duckdb.CatalogException,
            "Table with name nowhere does not",
        ),
        (
            "leeroo_dedupe('notes', 'txt')",
            UsageError,
            "leeroo_dedupe: there is no column 'txt'; the columns are: id, text",
        ),
        ("leeroo_dedupe('notes', 'text', prompt := '{a}')", UsageError, "must name both rows, {a} and {b}"),
        ("leeroo_dedupe('notes', 'text', similarity := 2)", UsageError, "similarity must be from -1 to 1"),
        ("leeroo_top_k('notes', '')", UsageError, "leeroo_top_k: the criterion is blank"),
        ("leeroo_top_k('notes', 'best', \"group\" := 99)", UsageError, "a group has from 2 to 26 rows, not 99"),
    ],
)
def test_what_cannot_be_is_an_error_in_one_line(
    query: str, error: type[Exception], says: str, con: Connection, server: Provider
) -> None:
    """It says what is wrong and how to mend it, before anything is sent."""
    con.execute("CREATE TABLE many AS SELECT 'thing ' || i AS i FROM range(100000) r(i)")
    with pytest.raises(error, match=re.escape(says)):
        con.execute(f"SELECT * FROM {query}")
    assert server.bodies == []


def test_the_plan_is_in_the_estimate(con: Connection, server: Provider) -> None:
    """Candidates and decisions are counted, and nothing is sent."""
    text = str(con.explain(f"SELECT * FROM {JOIN}, leeroo_top_k('things', 'last name', k := 2)"))
    assert re.search(r"Plan: join 6 x 6 different rows: \d+ candidates \(k = 2\), \d other pairs", text)
    assert "Plan: the best 2 of 6 different rows: rounds of 1 requests" in text
    assert server.bodies == []


def test_a_real_model_decides(tmp_path: Path, smollm2_pool: Path) -> None:
    """The embedded model gives each decision a confidence; what it says is its own."""
    with connect(pool=smollm2_pool, router="none", store=tmp_path / "store") as con:
        con.execute(TABLES)
        query = "FROM leeroo_join('notes', 'things', 'The text \"{l.text}\" is about: {r.name}', k := 1, sample := 0)"
        for confidence, expert in con.execute(f"SELECT confidence, expert {query}").fetchall():
            assert 0.5 <= confidence <= 1
            assert expert == "smollm2"
        assert con.execute("SELECT count(*), max(rank) FROM leeroo_top_k('things', 'fruit', k := 2)").fetchall() == [
            (2, 2)
        ]
        assert con.execute("SELECT count(*) FROM leeroo_dedupe('notes', 'text', k := 1)").fetchall() == [(15,)]


@pytest.mark.vllm
def test_vllm_decides(tmp_path: Path) -> None:
    """An engine of vLLM decides, and another one embeds."""
    pool = tmp_path / "pool.toml"
    pool.write_text("""
[[expert]]
name = "smollm2"
model = "HuggingFaceTB/SmolLM2-135M-Instruct"
backend = "vllm"
usd_per_m_input = 0
usd_per_m_output = 0
[expert.engine]
max_model_len = 512
[[expert]]
name = "v"
kind = "embed"
backend = "vllm"
model = "sentence-transformers/all-MiniLM-L6-v2"
""")
    with connect(pool=pool, router="none", store=tmp_path / "store") as con:
        con.execute(TABLES)
        query = "SELECT id, group_id, representative FROM leeroo_dedupe('notes', 'text', k := 1, model := 'v')"
        rows = con.execute(query).fetchall()
        assert len(rows) == 15
        groups = {group for _, group, _ in rows if group is not None}
        assert sum(flag for _, _, flag in rows) == len(groups) + 2
        assert con.execute("SELECT max(rank) FROM leeroo_top_k('things', 'fruit', k := 2)").fetchall() == [(2,)]
