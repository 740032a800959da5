"""The example tables and the embedded local pool are what the docs say they are."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from leeroo.engine.orchestrator.router import Router
from leeroo.engine.pool import DEFAULT_POOL, DEFAULT_ROUTER, load_pool
from leeroo.engine.schema import EXPERTS, OUTCOMES, QUERIES

EXAMPLES = Path(__file__).parents[1] / "examples"
DATA = EXAMPLES / "local" / "data"


def test_the_recorded_tables_keep_to_the_contracts() -> None:
    """Schemas, at least 400 distinct questions with checkable answers, an outcome of each expert for each."""
    queries, outcomes = (pq.read_table(DATA / f"{name}.parquet") for name in ("queries", "outcomes"))
    assert queries.schema.equals(QUERIES)
    assert outcomes.schema.equals(OUTCOMES)
    assert pq.read_schema(DATA / "experts.parquet").equals(EXPERTS)
    questions = queries.column("question").to_pylist()
    assert len(questions) == len(set(questions)) >= 400
    assert all(answer.strip() for answer in queries.column("answer").to_pylist())
    assert outcomes.num_rows == 2 * len(questions)
    assert set(outcomes.column("score").to_pylist()) == {0.0, 1.0}


def test_the_demo_has_questions_that_the_router_has_not_learned() -> None:
    """The 60 questions are of the test split."""
    queries = pq.read_table(DATA / "queries.parquet").to_pylist()
    learned = {row["question"] for row in queries if row["split"] == "train"}
    asked = pq.read_table(EXAMPLES / "questions.parquet").column("question").to_pylist()
    assert len(asked) == 60
    assert learned.isdisjoint(asked)


def test_the_router_knows_the_local_pool() -> None:
    """It predicts a probability for both experts, and that reasoning writes more."""
    router, pool = Router.load(DEFAULT_ROUTER), load_pool(DEFAULT_POOL)
    assert set(router.experts) == set(pool.names)
    predicted = router.predict(["What is the capital of France?", "Tom has 3 pens and buys 4. How many has he?"])
    assert ((predicted.scores > 0) & (predicted.scores < 1)).all()
    direct, reason = (router.experts.index(name) for name in ("smollm2-direct", "smollm2-reason"))
    assert (predicted.completion_tokens[:, reason] > predicted.completion_tokens[:, direct]).all()
