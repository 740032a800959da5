"""Record the embedded local pool on our own questions and train its router.

    python bench/jobs/local_pool.py [--record]

With --record, every question of examples/local/questions.csv is answered by both experts, at temperature 0, through
the engine; the answers are checked and written as a data folder, examples/local/data. Then the router is trained
on the train split into leeroo/data/router, and what it gains on the test split is printed. Its card is written
afterwards, by bench/routing/shipped.py --only embedded.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.jobs.verify import says
from leeroo.engine.orchestrator.choose import choose
from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.training.learn import train
from leeroo.engine.pool import DEFAULT_POOL, DEFAULT_ROUTER, load_pool
from leeroo.engine.schema import EXPERTS, OUTCOMES, QUERIES

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DATA = EXAMPLES / "local" / "data"
DEMO_ROWS = 60


def is_right(answer: str | None, expected: str) -> bool:
    """Return whether an answer names the expected one, or one of several between ';'.

    What comes after the last "Answer:" counts, or else the whole; of yes and no, the one said last counts.
    """
    return says((answer or "").rsplit("nswer:", 1)[-1], expected)


def queries() -> pa.Table:
    """Return the questions with ids, and a split by hash: three of four for training."""
    with open(EXAMPLES / "local" / "questions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ids = [hashlib.sha256(row["question"].encode()).hexdigest()[:12] for row in rows]
    return pa.Table.from_pylist(
        [
            {
                "query_id": f"local-{key}",
                "dataset": "local",
                "split": "test" if int(key, 16) % 4 == 0 else "train",
                "subject": row["subject"],
                "question": row["question"],
                "answer": row["answers"],
                "prompt": row["question"],
            }
            for key, row in zip(ids, rows, strict=True)
        ],
        schema=QUERIES,
    ).sort_by("query_id")


def record() -> None:
    """Answer all questions with both experts and write the data folder and the questions of the demo."""
    pool, asked = load_pool(DEFAULT_POOL), queries()
    outcomes: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as store, Engine(pool, store=Path(store)) as engine:
        for name in pool.names:
            table = asked.select(["query_id", "question"])
            answered = engine.answer_table(table.to_reader(), Criteria(expert=name))
            outcomes += [
                {
                    "query_id": row["query_id"],
                    "expert": name,
                    "score": float(is_right(row["answer"], expected)),
                    "response": row["answer"],
                    "prompt_tokens": row["prompt_tokens"],
                    "completion_tokens": row["completion_tokens"],
                    "cost_usd": row["cost_usd"],
                }
                for row, expected in zip(answered.to_pylist(), asked.column("answer").to_pylist(), strict=True)
            ]
    experts = [
        {
            "expert": e.name,
            "model": e.model,
            "params_b": 0.135,
            "license_open": True,
            "usd_per_m_input": e.usd_per_m_input,
            "usd_per_m_output": e.usd_per_m_output,
        }
        for e in pool.experts
    ]
    DATA.mkdir(exist_ok=True)
    pq.write_table(asked, DATA / "queries.parquet", compression="zstd")
    order = [("query_id", "ascending"), ("expert", "ascending")]
    pq.write_table(
        pa.Table.from_pylist(outcomes, schema=OUTCOMES).sort_by(order), DATA / "outcomes.parquet", compression="zstd"
    )
    pq.write_table(pa.Table.from_pylist(experts, schema=EXPERTS), DATA / "experts.parquet", compression="zstd")
    duckdb.sql(
        f"""COPY (SELECT row_number() OVER () AS id, subject, question FROM
              (SELECT subject, question FROM '{DATA}/queries.parquet' WHERE split = 'test'
               ORDER BY md5(query_id) LIMIT {DEMO_ROWS}))
            TO '{EXAMPLES}/questions.parquet' (COMPRESSION zstd)"""
    )


def report(router: Router) -> None:
    """Print accuracy and cost on the test split: each expert, the oracle, and the router's choice under budgets."""
    rows = duckdb.execute(
        f"""SELECT question, list(o.score ORDER BY expert) AS scores, list(o.cost_usd ORDER BY expert) AS costs
            FROM '{DATA}/queries.parquet' q JOIN '{DATA}/outcomes.parquet' o USING (query_id)
            WHERE split = 'test' GROUP BY query_id, question ORDER BY query_id"""
    ).fetchall()
    scores, costs = (np.array([row[i] for row in rows]) for i in (1, 2))
    names = sorted(router.experts)
    order = [router.experts.index(name) for name in names]
    predicted = router.predict([row[0] for row in rows])
    prices = {e.name: (e.usd_per_m_input, e.usd_per_m_output) for e in load_pool(DEFAULT_POOL).experts}
    dollars = np.array([prices[name] for name in names]) / 1e6
    expected = predicted.prompt_tokens[:, order] * dollars[:, 0] + predicted.completion_tokens[:, order] * dollars[:, 1]
    print(f"test split: {len(rows)} questions")
    for i, name in enumerate(names):
        print(f"  {name:<16} accuracy {scores[:, i].mean():.3f}  USD per 1,000 {costs[:, i].mean() * 1e3:.5f}")
    print(f"  {'oracle':<16} accuracy {scores.max(axis=1).mean():.3f}")
    dear = costs.sum(axis=0).max()
    for share in (0.25, 0.5, 0.75, 1.0):
        chosen = choose(predicted.scores[:, order], expected, budget_usd=share * dear).expert
        at = np.arange(len(rows))[chosen >= 0], chosen[chosen >= 0]
        accuracy, spent = scores[at].sum() / len(rows), costs[at].sum() / len(rows) * 1e3
        print(f"  choice at {share:.2f} x   accuracy {accuracy:.3f}  USD per 1,000 {spent:.5f}")


def main() -> None:
    """Record if asked to, train, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="answer all questions anew")
    if parser.parse_args().record:
        record()
    router = train([DATA], [DEFAULT_ENCODER], on_progress=print)
    router.save(DEFAULT_ROUTER)
    report(router)


if __name__ == "__main__":
    main()
