"""leeroo_route and leeroo_scores: what the orchestrator expects, with a router trained on recorded outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.errors import RouterError
from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER
from leeroo.engine.orchestrator.training.learn import train
from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect, register

DidSince = Callable[[], Any]


@pytest.fixture
def router(data_folder: Path, tmp_path: Path) -> Path:
    """Return a router that learned from the recorded outcomes."""
    queries = pq.read_table(data_folder / "queries.parquet")
    at = queries.schema.get_field_index("split")
    trained = queries.set_column(at, queries.schema.field(at), pa.array(["train"] * len(queries)))
    pq.write_table(trained, data_folder / "queries.parquet")
    train([data_folder], [DEFAULT_ENCODER]).save(tmp_path / "router")
    return tmp_path / "router"


@pytest.fixture
def con(pool_file: Path, router: Path, store: Path) -> Iterator[Connection]:
    """Return a connection with a router."""
    with connect(pool=pool_file, router=router, store=store) as con:
        con.execute(
            "CREATE TABLE t AS SELECT i AS id, 'What is ' || i || ' plus ' || i || '?' AS question FROM range(40) r(i)"
        )
        yield con


def test_scores_are_a_map_of_experts(con: Connection, did: DidSince) -> None:
    """leeroo_scores has a probability for each expert, the same that the answer carries; NULL for NULL."""
    rows = con.execute("""SELECT leeroo_scores(question), leeroo(question, expert := 'small').predicted_score
                          FROM t WHERE id < 3 UNION ALL SELECT leeroo_scores(NULL), NULL""").fetchall()
    assert rows[-1] == (None, None)
    for scores, predicted in rows[:-1]:
        assert set(scores) == {"large", "small"}
        assert all(0 <= score <= 1 for score in scores.values())
        assert scores["small"] == pytest.approx(predicted, abs=1e-5)
    assert con.execute("SELECT typeof(leeroo_scores('x'))").fetchone() == ("MAP(VARCHAR, DOUBLE)",)


def test_routes_generate_nothing(con: Connection, did: DidSince, monkeypatch: pytest.MonkeyPatch) -> None:
    """leeroo_route returns the expert, its predicted score and its cost, in one batch; NULL for NULL."""
    route_all = Engine.route
    batches: list[Criteria] = []

    def counted(engine: Engine, reader: pa.RecordBatchReader, criteria: Criteria) -> pa.RecordBatchReader:
        batches.append(criteria)
        return route_all(engine, reader, criteria)

    monkeypatch.setattr(Engine, "route", counted)
    rows = con.execute("SELECT leeroo_route(question) FROM t UNION ALL SELECT leeroo_route(NULL)").fetchall()
    assert rows[-1] == (None,)
    for (route,) in rows[:-1]:
        assert list(route) == ["expert", "predicted_score", "expected_cost_usd"]
        assert route["expert"] in ("large", "small")
        assert 0 <= route["predicted_score"] <= 1
        assert route["expected_cost_usd"] > 0
    assert len(batches) == 1
    assert did() == (0, 0)  # no run, no answer


def test_routes_are_the_answers_experts(con: Connection, did: DidSince) -> None:
    """The answer comes from the expert that the route names, for the same whole batch."""
    con.execute("SET VARIABLE leeroo_cost_weight = 200")
    same = con.execute("SELECT count(*) FROM t WHERE leeroo_route(question).expert = leeroo(question).expert")
    assert same.fetchone() == (40,)


def test_weights_change_the_route(con: Connection) -> None:
    """A high price of a dollar sends everything to the cheap expert, statement by statement."""
    expert = "SELECT DISTINCT leeroo_route(question).expert FROM t"
    free = con.execute("SELECT avg(leeroo_route(question).expected_cost_usd) FROM t").fetchone()
    con.execute("SET VARIABLE leeroo_cost_weight = 1e6")
    assert con.execute(expert).fetchall() == [("small",)]
    dear = con.execute("SELECT avg(leeroo_route(question).expected_cost_usd) FROM t").fetchone()
    assert free is not None
    assert dear is not None
    assert np.array(dear) < np.array(free)


def test_scores_need_a_router(pool_file: Path, store: Path) -> None:
    """Without a router, leeroo_scores says how to come by one."""
    with connect(pool=pool_file, store=store) as con:
        with pytest.raises(RouterError, match="leeroo_scores.*leeroo train"):
            con.execute("SELECT leeroo_scores('What is 1 plus 1?')")
        assert con.execute("SELECT leeroo_route('What is 1 plus 1?').expert").fetchall() == [("large",)]
    plain = duckdb.connect()
    register(plain, pool=pool_file, store=store)
    with pytest.raises(duckdb.InvalidInputException, match="leeroo_scores.*leeroo train"):
        plain.execute("SELECT leeroo_scores('What is 1 plus 1?')")
