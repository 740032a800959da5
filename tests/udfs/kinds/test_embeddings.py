"""Vectors in whole statements: FLOAT[n] for the planner, each text embedded once, in few requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from leeroo.engine.errors import PoolError, RowsFailed, RowsFailedWarning, UsageError
from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect
from tests.provider import Call, Provider, Reply

DidSince = Callable[[], Any]
_SIZE = 6


def _vector(text: str) -> list[float]:
    return [float(each) for each in np.random.default_rng(list(text.encode())).normal(size=_SIZE)]


def _embeds(call: Call) -> Reply:
    texts = call.body["input"]
    if "bad" in texts:
        return Reply({"error": {"message": "the input is invalid", "type": "invalid_request_error"}}, 400)
    data = [{"index": i, "embedding": _vector(text)} for i, text in enumerate(texts)]
    return Reply({"data": data, "usage": {"prompt_tokens": 10 * len(texts)}}, billed=(10 * len(texts), 0))


@pytest.fixture
def server(api: Provider) -> Provider:
    """Return a server with embeddings alone."""
    api.paths, api.replies, api.usd_per_m = {"/v1/embeddings"}, _embeds, {"": (1.0, 0.0)}
    return api


@pytest.fixture
def remote(server: Provider, tmp_path: Path) -> Iterator[Connection]:
    """Return a connection whose pool has the embedder 'e' of the server, with a table of texts."""
    pool = tmp_path / "pool.toml"
    pool.write_text(f"""
[[expert]]
name = "a"
model = "a"
backend = "openai"
base_url = "{server.url}"
usd_per_m_input = 0
usd_per_m_output = 0
[[expert]]
name = "e"
kind = "embed"
model = "embed-small"
backend = "openai"
base_url = "{server.url}"
dimensions = {_SIZE}
usd_per_m_input = 1
[[expert]]
name = "lost"
kind = "embed"
model = "nobody/nothing"
""")
    with connect(pool=pool, router="none", store=tmp_path / "store") as con:
        con.execute("CREATE TABLE t AS SELECT i AS id, i % 3 AS part, 'text ' || (i % 40) AS text FROM range(80) r(i)")
        con.execute("INSERT INTO t VALUES (80, 0, NULL), (81, 0, '  ')")
        yield con


def _rows(con: Connection, query: str) -> list[Any]:
    return list(con.execute(query).fetchall())


# For each kind of statement: itself, its result, and how many texts it embeds.
STATEMENTS = {
    "projection": ("SELECT count(leeroo_embed(text, model := 'e')), count(*) FROM t", [(80, 82)], 40),
    "type": ("SELECT DISTINCT typeof(leeroo_embed(text, model := 'e')) FROM t", [(f"FLOAT[{_SIZE}]",)], 0),
    "filter": ("SELECT id FROM t WHERE leeroo_similarity(text, 'text 3', model := 'e') > 0.9999", [(3,), (43,)], 40),
    "join": (
        """SELECT a.id, b.id FROM t a JOIN t b ON a.id < b.id AND a.id < 2 AND b.id BETWEEN 39 AND 42
           AND leeroo_similarity(a.text, b.text, model := 'e') > 0.9999 ORDER BY 1""",
        [(0, 40), (1, 41)],
        4,
    ),
    "group": (
        "SELECT part, count(DISTINCT leeroo_embed(text, model := 'e')) FROM t WHERE id < 9 GROUP BY part ORDER BY 1",
        [(0, 3), (1, 3), (2, 3)],
        9,
    ),
    "window": (
        """SELECT id FROM (SELECT id, row_number() OVER (
               ORDER BY array_distance(leeroo_embed(text, model := 'e'), leeroo_embed('text 7', model := 'e')), id) AS n
           FROM t WHERE id < 20) WHERE n = 1""",
        [(7,)],
        20,
    ),
    "CTE": (
        "WITH v AS (SELECT leeroo_embed(text, model := 'e') AS v FROM t) SELECT count(v) FROM v",
        [(80,)],
        40,
    ),
    "view": (
        "CREATE TEMP VIEW w AS SELECT leeroo_embed(text, model := 'e') AS v FROM t; SELECT count(v) FROM w",
        [(80,)],
        40,
    ),
    "constants": (
        "SELECT leeroo_similarity('x', 'x', model := 'e'), leeroo_embed('x', model := 'e') = leeroo_embed('x', model := 'e')",
        [(1.0, True)],
        1,
    ),
    "NULLs": (
        "SELECT leeroo_embed(NULL, model := 'e'), leeroo_similarity('x', NULL, model := 'e'), leeroo_embed(' ', model := 'e')",
        [(None, None, None)],
        1,
    ),
    "nested": (
        "SELECT round(leeroo_similarity(text, upper(lower(text)), model := 'e'), 3) = 1 FROM t WHERE id = 5",
        [(False,)],
        2,
    ),
}


@pytest.mark.parametrize("kind", STATEMENTS)
def test_each_text_is_embedded_once(kind: str, remote: Connection, server: Provider) -> None:
    """The statement has its result, and each different text went to the server once; a second time nothing does."""
    statement, result, texts = STATEMENTS[kind]
    assert _rows(remote, statement) == result
    sent = [text for body in server.bodies for text in body["input"]]
    assert (len(sent), len(set(sent))) == (texts, texts)
    # What a condition compares may be known in two rounds, and the first text of a round goes alone.
    assert len(server.bodies) <= 4
    assert _rows(remote, statement.replace("CREATE TEMP VIEW", "CREATE OR REPLACE TEMP VIEW")) == result
    assert sum(len(body["input"]) for body in server.bodies) == texts


def test_a_table_of_vectors_has_fixed_arrays(remote: Connection) -> None:
    """What is made of them is FLOAT[n], which array functions and vss indexes take."""
    remote.execute("CREATE TABLE v AS SELECT id, leeroo_embed(text, model := 'e') AS v FROM t")
    assert _rows(remote, "SELECT DISTINCT typeof(v) FROM v") == [(f"FLOAT[{_SIZE}]",)]
    found = _rows(remote, "SELECT v FROM v WHERE id = 5")
    assert found[0][0] == pytest.approx(_vector("text 5"), rel=1e-6)
    query = "SELECT id FROM v ORDER BY array_distance(v, leeroo_embed('text 9', model := 'e')), id LIMIT 2"
    assert _rows(remote, query) == [(9,), (49,)]


def test_the_encoder_of_the_router_costs_nothing(con: Connection, did: DidSince) -> None:
    """It has 384 numbers for the planner, nears what is alike, and the engine has no batch."""
    did()
    assert _rows(con, "SELECT typeof(leeroo_embed('x')), typeof(leeroo_embed(NULL))") == [("FLOAT[384]", "FLOAT[384]")]
    query = """SELECT leeroo_similarity('a small dog', 'a little puppy') > leeroo_similarity('a small dog', 'a tax form'),
                      leeroo_similarity('same', 'same'), leeroo_similarity('x', NULL)"""
    assert _rows(con, query) == [(True, pytest.approx(1.0), None)]
    assert did() == (0, 0)


def test_prepared_statements_and_parameters_embed(remote: Connection) -> None:
    """The text may be a parameter, the model may not: the type depends on it."""
    assert remote.execute("SELECT leeroo_embed(?, model := 'e')", ["text 1"]).fetchall()[0][0] == pytest.approx(
        _vector("text 1"), rel=1e-6
    )
    with pytest.raises(UsageError, match="the model of leeroo_embed give the type of the result"):
        remote.execute("SELECT leeroo_embed(text, model := text) FROM t")


def test_a_connection_of_the_user_embeds_too(pool_file: Path, store: Path) -> None:
    """After `register` alone each vector is answered as it comes."""
    import leeroo

    con = duckdb.connect()
    leeroo.register(con, pool=pool_file, store=store)
    query = "SELECT max(leeroo_similarity('text ' || i, 'text 7')) FROM range(10) r(i)"
    assert con.execute(query).fetchall() == [(pytest.approx(1.0),)]
    con.close()


def test_a_failed_text_is_null_and_costs_no_other_its_vector(remote: Connection, server: Provider) -> None:
    """One warning counts it; with on_error = 'fail' the statement fails."""
    remote.execute("INSERT INTO t VALUES (99, 0, 'bad')")
    with pytest.warns(RowsFailedWarning, match="leeroo_embed: 1 of 41 questions .* the input is invalid"):
        assert _rows(remote, "SELECT count(leeroo_embed(text, model := 'e')) FROM t") == [(80,)]
    remote.execute("SET VARIABLE leeroo_on_error = 'fail'")
    with pytest.raises(RowsFailed, match="the input is invalid"):
        remote.execute("SELECT leeroo_embed(text, model := 'e') FROM t")


def test_the_budget_of_a_statement_holds(remote: Connection, server: Provider) -> None:
    """What is beyond it is NULL, with a warning."""
    remote.execute("SET VARIABLE leeroo_max_cost_usd = 0.0002")
    with pytest.warns(RowsFailedWarning, match="leeroo_embed: "):
        ((count,),) = _rows(remote, "SELECT count(leeroo_embed(text, model := 'e')) FROM t")
    assert 0 < count < 80
    assert server.account_usd <= 0.0002


def test_wrong_models_are_errors_in_one_line(remote: Connection) -> None:
    """An unknown one, one that answers, and one whose size nobody knows."""
    for name in ("zz", "a"):
        with pytest.raises(PoolError, match=f"leeroo_embed: no expert called '{name}' embeds; those .* are: e, lost"):
            remote.execute(f"SELECT leeroo_embed(text, model := '{name}') FROM t")
    with pytest.raises(UsageError, match="leeroo_embed: nobody says how many numbers .* write dimensions into"):
        remote.execute("SELECT leeroo_embed(text, model := 'lost') FROM t")
    with pytest.raises(PoolError, match="private texts do not go to 'e', which is remote"):
        remote.execute("SELECT leeroo_embed(text, model := 'e', private := true) FROM t")


def test_embedders_are_in_the_table_of_experts(remote: Connection) -> None:
    """They stand after the experts that answer."""
    query = "SELECT expert, backend, unavailable IS NULL FROM leeroo_experts()"
    assert _rows(remote, query) == [("a", "openai", True), ("e", "embeddings", True), ("lost", "encoder", False)]


def test_an_estimate_has_both(remote: Connection, server: Provider) -> None:
    """The API's texts have a price, the encoder's none; nothing is sent."""
    text = str(remote.explain("SELECT leeroo_embed(text, model := 'e'), leeroo_embed(text) FROM t"))
    assert "160 rows, 80 distinct prompts" in text
    assert "embedded here by sentence-transformers/all-MiniLM-L6-v2, at no cost" in text
    assert "embeddings" in text
    assert server.bodies == []


@pytest.mark.vllm
def test_vllm_embeds_in_a_statement(tmp_path: Path) -> None:
    """A pooling model of vLLM gives the vectors of sentence-transformers, with the size from its files."""
    pool = tmp_path / "pool.toml"
    pool.write_text("""
[[expert]]
name = "a"
model = "HuggingFaceTB/SmolLM2-135M-Instruct"
usd_per_m_input = 0
usd_per_m_output = 0
[[expert]]
name = "v"
kind = "embed"
backend = "vllm"
model = "sentence-transformers/all-MiniLM-L6-v2"
""")
    with connect(pool=pool, router="none", store=tmp_path / "store") as con:
        query = """SELECT array_cosine_similarity(leeroo_embed(w, model := 'v'), leeroo_embed(w))
                   FROM (VALUES ('a cat'), ('a dog')) t(w)"""
        assert [s for (s,) in _rows(con, query)] == pytest.approx([1, 1], abs=1e-4)
