"""leeroo_agg and leeroo_summarize by kind of statement: one batch for each level, each distinct group sent once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.errors import PoolError, UsageError
from leeroo.engine.jobs.aggregate.prompts import SUMMARY, ask_all
from leeroo.engine.jobs.aggregate.texts import Item
from leeroo.engine.schema import OUTCOMES, QUERIES
from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect
from tests.backends.tiny import save_model
from tests.recorded import recorded_pool, write_recorded

DidSince = Callable[[], Any]

# Six texts, of which one is there twice, in two parts; and texts that are no texts.
TABLES = """
CREATE TABLE r AS SELECT i AS id, i % 2 AS part, 'r' || i AS said FROM range(6) t(i);
CREATE TABLE twice AS SELECT unnest(['r1', 'r0', 'r1', NULL, ' ']) AS said;
"""
TEXTS = [f"r{i}" for i in range(6)]


def _prompts() -> Iterator[tuple[str, str]]:
    """Return the prompt of every group of texts, and what is answered."""
    for n in range(1, 7):
        for some in itertools.combinations(TEXTS, n):
            yield ask_all("Which?", [Item(text) for text in some]), "+".join(some)
            yield ask_all(SUMMARY, [Item(text) for text in some]), f"sum of {'+'.join(some)}"
    yield ask_all("Which?", [Item("r0"), Item("r1", texts=2, times=2)]), "r0+2*r1"
    yield ask_all("Which?", [Item("r0+r2+r4"), Item("r1+r3+r5")]), "(r0+r2+r4)+(r1+r3+r5)"


@pytest.fixture
def con(tmp_path: Path, store: Path) -> Iterator[Connection]:
    """Two experts over recorded answers for every group of the table's texts."""
    folder, prompts = tmp_path / "data", list(_prompts())
    folder.mkdir()
    queries = [
        {"query_id": str(i), "dataset": "toy", "split": "test", "question": prompt, "prompt": prompt}
        for i, (prompt, _) in enumerate(prompts)
    ]
    outcomes = [
        {
            "query_id": str(i),
            "expert": expert,
            "score": 1.0,
            "response": answer if expert == "large" else answer.upper(),
            "prompt_tokens": 100,
            "completion_tokens": 10,
        }
        for i, (_, answer) in enumerate(prompts)
        for expert in ("large", "small")
    ]
    pq.write_table(pa.Table.from_pylist(queries, schema=QUERIES), folder / "queries.parquet")
    pq.write_table(pa.Table.from_pylist(outcomes, schema=OUTCOMES), folder / "outcomes.parquet")
    expert = '[[expert]]\nname = "{}"\nmodel = "{}"\nbackend = "replay"\nusd_per_m_input = {}\nusd_per_m_output = {}\n'
    pool = "".join(expert.format(name, folder, usd, usd) for name, usd in (("large", 10), ("small", 1)))
    (tmp_path / "pool.toml").write_text(f'default = "large"\n{pool}')
    with connect(pool=tmp_path / "pool.toml", store=store) as con:
        con.execute(TABLES)
        yield con


# For each kind of statement: itself, its result, how many rounds of questions it takes, how many requests.
STATEMENTS = {
    "one group": ("SELECT leeroo_agg(said, 'Which?') FROM r", [("r0+r1+r2+r3+r4+r5",)], 1, 1),
    "GROUP BY": (
        "SELECT part, leeroo_agg(said, 'Which?') FROM r GROUP BY part ORDER BY part",
        [(0, "r0+r2+r4"), (1, "r1+r3+r5")],
        1,
        2,
    ),
    "beside other aggregates": (
        "SELECT part, count(*), leeroo_agg(said, 'Which?'), max(id) FROM r GROUP BY ALL ORDER BY part",
        [(0, 3, "r0+r2+r4", 4), (1, 3, "r1+r3+r5", 5)],
        1,
        2,
    ),
    "HAVING and ORDER BY": (
        """SELECT part FROM r GROUP BY part HAVING leeroo_agg(said, 'Which?') LIKE 'r%'
           ORDER BY leeroo_agg(said, 'Which?') DESC""",
        [(1,), (0,)],
        1,
        2,
    ),
    "WHERE": ("SELECT leeroo_agg(said, 'Which?') FROM r WHERE id < 2", [("r0+r1",)], 1, 1),
    "a condition inside": (
        "SELECT leeroo_agg(CASE WHEN id < 2 THEN said END, 'Which?'), count(*) FROM r",
        [("r0+r1", 6)],
        1,
        1,
    ),
    "a list with DISTINCT and FILTER": (
        "SELECT leeroo_agg_list(list(DISTINCT said) FILTER (WHERE id > 3), 'Which?') FROM (FROM r UNION ALL FROM r)",
        [("r4+r5",)],
        1,
        1,
    ),
    "lists of rows": (
        "SELECT leeroo_agg_list(l, 'Which?') FROM (VALUES (1, ['r0', NULL]), (2, []), (3, [NULL]), (4, NULL)) v(i, l) ORDER BY i",
        [("r0",), (None,), (None,), (None,)],
        1,
        1,
    ),
    "ROLLUP": (
        "SELECT part, leeroo_agg(said, 'Which?') FROM r WHERE id < 4 GROUP BY ROLLUP (part) ORDER BY ALL",
        [(0, "r0+r2"), (1, "r1+r3"), (None, "r0+r1+r2+r3")],
        1,
        3,
    ),
    "window": (
        """SELECT id, leeroo_agg(said, 'Which?') OVER (ORDER BY id ROWS 1 PRECEDING) FROM r
           WHERE id < 4 ORDER BY id""",
        [(0, "r0"), (1, "r0+r1"), (2, "r1+r2"), (3, "r2+r3")],
        1,
        4,
    ),
    "window with equal frames": (
        """SELECT id, leeroo_agg(said, 'Which?') OVER w, count(*) OVER w FROM r
           WINDOW w AS (PARTITION BY part) ORDER BY id LIMIT 3""",
        [(0, "r0+r2+r4", 3), (1, "r1+r3+r5", 3), (2, "r0+r2+r4", 3)],
        1,
        2,
    ),
    "JOIN": (
        """SELECT p.name, leeroo_agg(said, 'Which?') FROM r JOIN (VALUES (0, 'even'), (1, 'odd')) p(part, name)
           USING (part) GROUP BY ALL ORDER BY ALL""",
        [("even", "r0+r2+r4"), ("odd", "r1+r3+r5")],
        1,
        2,
    ),
    "CTE used twice": (
        """WITH a AS (SELECT part, leeroo_agg(said, 'Which?') AS which FROM r GROUP BY part)
           SELECT x.which FROM a x JOIN a y USING (which) ORDER BY ALL""",
        [("r0+r2+r4",), ("r1+r3+r5",)],
        1,
        2,
    ),
    "correlated subquery": (
        "SELECT id, (SELECT leeroo_agg(said, 'Which?') FROM r b WHERE b.id <= a.id) FROM r a WHERE id < 2 ORDER BY id",
        [(0, "r0"), (1, "r0+r1")],
        1,
        2,
    ),
    "an aggregate of aggregates": (
        "SELECT leeroo_agg(which, 'Which?') FROM (SELECT leeroo_agg(said, 'Which?') AS which FROM r GROUP BY part)",
        [("(r0+r2+r4)+(r1+r3+r5)",)],
        2,
        3,
    ),
    "constants": (
        "SELECT leeroo_agg('r0', 'Which?'), leeroo_agg_list(['r1', 'r0'], 'Which?'), leeroo_agg(NULL, 'Which?')",
        [("r0", "r0+r1", None)],
        1,
        2,
    ),
    "no rows, NULL and blank texts": (
        """SELECT (SELECT leeroo_agg(said, 'Which?') FROM r WHERE false),
           (SELECT leeroo_agg(said, 'Which?') FROM twice WHERE trim(said) = '' OR said IS NULL),
           (SELECT leeroo_agg(said, 'Which?') FROM twice)""",
        [(None, None, "r0+2*r1")],
        1,
        1,
    ),
    "no task": (
        "SELECT leeroo_agg(said, NULL) FROM r",
        [(None,)],
        0,
        0,
    ),
    "a task for each group": (
        "SELECT leeroo_agg(said, CASE part WHEN 0 THEN 'Which?' END) FROM r GROUP BY part ORDER BY part",
        [("r0+r2+r4",), (None,)],
        1,
        1,
    ),
    "summaries": (
        "SELECT leeroo_summarize(said) FROM r GROUP BY part ORDER BY part",
        [("sum of r0+r2+r4",), ("sum of r1+r3+r5",)],
        1,
        2,
    ),
    "an expert by name": (
        "SELECT leeroo_agg(said, 'Which?', expert := 'small') FROM r WHERE id < 2",
        [("R0+R1",)],
        1,
        1,
    ),
    "QUALIFY": (
        "SELECT id FROM r WHERE id < 3 QUALIFY leeroo_agg(said, 'Which?') OVER (ORDER BY id ROWS 1 PRECEDING) = 'r0+r1'",
        [(1,)],
        1,
        3,
    ),
}


@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_statement_is_one_batch(con: Connection, did: DidSince, kind: str) -> None:
    """The right rows, a batch for each round, and every distinct group is sent once; again it costs nothing."""
    statement, rows, rounds, requests = STATEMENTS[kind]
    did()
    assert con.execute(statement).fetchall() == rows
    assert did() == (rounds, requests)
    assert con.execute(statement).fetchall() == rows
    assert did() == (0, 0)


@pytest.mark.parametrize("what", ["CREATE TABLE s AS", "CREATE VIEW s AS"])
def test_tables_and_views_hold_aggregates(con: Connection, did: DidSince, what: str) -> None:
    """A table asks once, a view when it is read."""
    con.execute(f"{what} SELECT part, leeroo_agg(said, 'Which?') AS which FROM r GROUP BY part")
    assert con.execute("SELECT which FROM s ORDER BY part").fetchall() == [("r0+r2+r4",), ("r1+r3+r5",)]
    assert did() == (1, 2)


def test_a_prepared_statement_takes_its_task(con: Connection) -> None:
    """Parameters stand where they may stand in other functions."""
    assert con.execute("SELECT leeroo_agg(said, ?) FROM r WHERE id = $2", ["Which?", 3]).fetchall() == [("r3",)]


def test_the_struct_says_what_it_took(con: Connection) -> None:
    """Texts, requests, levels and money; paid for in another statement, it costs nothing in this one."""
    statement = "SELECT part, leeroo_aggregated(said, 'Which?') AS a FROM r GROUP BY part ORDER BY part"
    made = con.sql(statement)
    assert made is not None
    assert str(made.types[1]) == (
        'STRUCT("value" VARCHAR, texts BIGINT, requests INTEGER, levels INTEGER, cut INTEGER, expert VARCHAR,'
        ' cost_usd DOUBLE, "error" VARCHAR)'
    )
    (_, even), _ = made.fetchall()
    assert even.pop("cost_usd") == pytest.approx(110 * 10e-6)
    assert even == {
        "value": "r0+r2+r4",
        "texts": 3,
        "requests": 1,
        "levels": 1,
        "cut": 0,
        "expert": "large",
        "error": None,
    }
    assert all(row[1]["cost_usd"] == 0 for row in con.execute(statement).fetchall())
    [(summary,)] = con.execute("SELECT leeroo_summarized(said) FROM r").fetchall()
    assert (summary["value"], summary["requests"]) == ("sum of r0+r1+r2+r3+r4+r5", 1)


def test_groups_wait_for_the_answers_that_choose_their_rows(con: Connection, did: DidSince) -> None:
    """With some answers known already, no group is sent before the others are: its rows would not be complete."""
    ask = "leeroo_answer('Which?' || chr(10) || chr(10) || 'Answer from this text only:' || chr(10) || '- ' || said)"
    con.execute(f"SELECT {ask} FROM r WHERE id < 3")
    did()
    rows = con.execute(f"SELECT leeroo_agg(said, 'Which?') FROM r WHERE {ask} <> 'r4'").fetchall()
    assert rows == [("r0+r1+r2+r3+r5",)]
    assert did() == (2, 3 + 1)


def test_a_failed_group_is_a_row_of_its_own(con: Connection, did: DidSince) -> None:
    """Other groups have their answers, and the next statement tries again."""
    con.execute("INSERT INTO r VALUES (7, 7, 'not recorded')")
    for _ in range(2):
        rows = con.execute("SELECT leeroo_aggregated(said, 'Which?') FROM r GROUP BY part ORDER BY part").fetchall()
        assert [row[0]["value"] for row in rows] == ["r0+r2+r4", "r1+r3+r5", None]
        assert rows[2][0]["error"].startswith("the question is not among those recorded")


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ("leeroo_agg(said, 'x', expert := 'huge')", "leeroo_agg: expert 'huge' is not in the pool"),
        ("leeroo_agg(said, ' ')", "leeroo_agg: the task is blank: say in words what to answer from the texts"),
        ("leeroo_summarize(said, max_tokens := 0)", "leeroo_summarize: max_tokens must be from 1 to"),
    ],
)
def test_a_wrong_argument_is_one_line(con: Connection, call: str, line: str) -> None:
    """The error has the function's name."""
    with pytest.raises((UsageError, PoolError)) as error:
        con.execute(f"SELECT {call} FROM r")
    assert str(error.value).startswith(line)


@pytest.mark.parametrize(
    "call", ["leeroo_agg(DISTINCT said, 'Which?')", "leeroo_agg(said, 'Which?') FILTER (WHERE id < 2)"]
)
def test_duckdb_refuses_distinct_and_filter(con: Connection, call: str) -> None:
    """It says why; the reference names the other ways."""
    with pytest.raises(
        duckdb.InvalidInputException, match='"DISTINCT", "FILTER", and "ORDER BY" are only applicable to'
    ):
        con.execute(f"SELECT {call} FROM r")


def test_a_plain_connection_aggregates_too(con: Connection, did: DidSince) -> None:
    """Without batches of whole statements, groups go a vector at a time."""
    with con.cursor() as other:
        made = other.sql("FROM r")
        assert made is not None
        rows = made.aggregate("part, leeroo_agg(said, 'Which?')", "part").order("part").fetchall()
    assert rows == [(0, "r0+r2+r4"), (1, "r1+r3+r5")]


def test_explain_counts_all_levels(con: Connection, did: DidSince) -> None:
    """Each distinct group is counted, and nothing is sent."""
    explained = con.explain("SELECT leeroo_agg(said, 'Which?') OVER (PARTITION BY part) FROM r")
    [(name, estimate)] = explained.estimates
    assert (name, estimate.prompts) == ("leeroo_agg", 2)
    assert did() == (0, 0)


def test_the_statement_keeps_its_budget(con: Connection) -> None:
    """Groups that the budget does not reach say so; the others are answered."""
    con.execute("SET VARIABLE leeroo_max_cost_usd = 0.0012")
    rows = con.execute("SELECT leeroo_aggregated(said, 'Which?') FROM r GROUP BY id ORDER BY id").fetchall()
    assert sum(row[0]["cost_usd"] for row in rows) <= 0.0012
    assert any(row[0]["value"] for row in rows)
    assert all(row[0]["value"] or "budget" in row[0]["error"] for row in rows)


def test_a_real_model_reads_a_group_in_parts(tmp_path: Path, store: Path, did: DidSince) -> None:
    """A model whose tokens are bytes has far less room than is estimated: parts are halved until they fit."""
    model = save_model(tmp_path / "tiny", max_position_embeddings=1500)
    (tmp_path / "pool.toml").write_text(
        f'[[expert]]\nname = "tiny"\nmodel = "{model}"\nbackend = "transformers"\nusd_per_m_input = 1\nusd_per_m_output = 1\n'
    )
    with connect(pool=tmp_path / "pool.toml", store=store) as con:
        [(found,)] = con.execute(
            "SELECT leeroo_aggregated('row ' || i, 'What is said?', max_tokens := 8) FROM range(300) t(i)"
        ).fetchall()
        assert found["error"] is None
        assert found["texts"] == 300
        assert found["levels"] > 1
        assert found["requests"] == did().generated > 2
        assert found["cut"] == found["requests"]


def test_recorded_answers_of_parts_and_merges_are_replayed(tmp_path: Path, store: Path, api: Any) -> None:
    """A pool that replays the answers of a tree gives the same rows in as many batches, and sends nothing."""
    said: dict[str, str] = {}

    def record(_model: str, prompt: str) -> str:
        return said.setdefault(prompt, f"point {len(said)}")

    api.says = record
    context = "context_tokens = 1000"
    statement = """
        SELECT i % 2 AS part, leeroo_aggregated('complaint number ' || i, 'What is wrong?', max_tokens := 20) AS a
        FROM range(300) t(i) GROUP BY part ORDER BY part"""
    (tmp_path / "asked.toml").write_text(api.entry("recorded", 10, 100, f"[expert.engine]\n{context}"))
    with connect(pool=tmp_path / "asked.toml", store=store) as con:
        first = con.execute(statement).fetchall()
    sent = len(api.calls)
    assert [row["levels"] for _, row in first] == [2, 2]
    assert sum(row["requests"] for _, row in first) == sent == len(said) > 4
    write_recorded(tmp_path / "data", said)
    (tmp_path / "replay.toml").write_text(recorded_pool(tmp_path / "data", context))
    with connect(pool=tmp_path / "replay.toml", store=tmp_path / "replayed") as con:
        again = con.execute(statement).fetchall()
        assert con.execute("SELECT sum(answers) FROM leeroo_spend()").fetchall() == [(sent,)]
        assert con.execute("SELECT count(*) FROM leeroo_runs()").fetchall() == [(2,)]
    shown = ("value", "texts", "requests", "levels", "error")
    assert [[row[name] for name in shown] for _, row in again] == [[row[name] for name in shown] for _, row in first]
    assert len(api.calls) == sent


@pytest.mark.vllm
def test_vllm_reads_a_group_in_parts(tmp_path: Path, store: Path) -> None:
    """A real vLLM engine answers parts and merges."""
    (tmp_path / "pool.toml").write_text("""
[[expert]]
name = "smollm2"
model = "HuggingFaceTB/SmolLM2-135M-Instruct"
backend = "vllm"
usd_per_m_input = 0.01
usd_per_m_output = 0.02
[expert.engine]
max_model_len = 512
max_num_seqs = 8
""")
    statement = """
        SELECT leeroo_aggregated(format('Parcel {} came {} days late.', i, 1 + i % 3), 'What is wrong?', max_tokens := 24)
        FROM range(60) t(i)"""
    with connect(pool=tmp_path / "pool.toml", store=store) as con:
        [(found,)] = con.execute(statement).fetchall()
        assert (found["error"], found["texts"], found["levels"]) == (None, 60, 2)
        assert found["requests"] > 2
        assert found["value"]
        [(again,)] = con.execute(statement).fetchall()
        assert (again["value"], again["cost_usd"]) == (found["value"], 0)
