"""One model that answers at once, and thinks first as a second expert: thought is spent where it pays."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.orchestrator.training.learn import train
from leeroo.engine.pool import load_pool

_PLACES = ("Peru", "Kenya", "Norway", "Japan", "Chile", "Egypt", "Spain", "India", "Ghana", "Nepal")
_FACTS = ("capital", "largest river", "flag", "national anthem", "highest mountain", "currency", "main language")
_N = 500


def _write_outcomes(folder: Path) -> None:
    """Write recorded outcomes: sums are right after thought alone, facts are known at once."""
    chance = random.Random(0)
    queries, outcomes = [], []
    for i in range(_N):
        hard = i % 2 == 0
        a, b = chance.randint(100, 999), chance.randint(100, 999)
        fact = f"Which is the {chance.choice(_FACTS)} of {chance.choice(_PLACES)}? ({i})"
        question = f"How much is {a} times {b} minus {i}?" if hard else fact
        split = "test" if i >= _N * 0.6 else "train"
        queries.append(
            {"query_id": f"q{i}", "split": split, "question": question, "dataset": "made", "prompt": question}
        )
        for expert, right, tokens in (("quick", 0.1 if hard else 0.9, 10), ("thinking", 0.9, 210)):
            score = float(chance.random() < right)
            outcomes.append(
                {"query_id": f"q{i}", "expert": expert, "score": score, "response": "x", "prompt_tokens": 20}
                | {"completion_tokens": tokens}
            )
    pq.write_table(pa.Table.from_pylist(queries), folder / "queries.parquet")
    pq.write_table(pa.Table.from_pylist(outcomes), folder / "outcomes.parquet")


def test_thought_goes_to_the_questions_that_need_it(tmp_path: Path) -> None:
    """With money to think about half of the rows, nearly all hard ones are thought about, and few easy ones."""
    _write_outcomes(tmp_path)
    experts = "".join(
        f'[[expert]]\nname = "{name}"\nmodel = "{tmp_path}"\nbackend = "replay"\neffort = "{effort}"\n'
        "usd_per_m_input = 1\nusd_per_m_output = 4\n"
        for name, effort in (("quick", "none"), ("thinking", "high"))
    )
    pool = tmp_path / "pool.toml"
    pool.write_text(experts)
    queries = pq.read_table(tmp_path / "queries.parquet").to_pylist()
    table = pa.table({"question": [row["question"] for row in queries if row["split"] == "test"]})
    hard = [text.startswith("How much") for text in table.column("question").to_pylist()]
    with Engine(load_pool(pool), train([tmp_path]), tmp_path / "store") as engine:
        costs = engine.expect(table.to_reader(), Criteria()).costs.sum(axis=0)
        budget = float(costs.mean())
        rows = engine.answer_table(table.to_reader(), Criteria(max_cost_usd=budget)).to_pylist()
    thought = [row["expert"] == "thinking" for row in rows]
    of_hard = sum(t for t, h in zip(thought, hard, strict=True) if h) / sum(hard)
    of_easy = sum(t for t, h in zip(thought, hard, strict=True) if not h) / (len(hard) - sum(hard))
    assert of_hard > 0.9
    assert of_easy < 0.15
    assert sum(row["cost_usd"] for row in rows) <= budget
    # The forecast counts thoughts as the tokens that they are.
    assert costs[1] / costs[0] == pytest.approx((20 + 4 * 210) / (20 + 4 * 10), rel=0.05)
    accuracy = sum(row["recorded_score"] for row in rows) / len(rows)
    mix = sum((0.9 + (0.1 if h else 0.9)) / 2 for h in hard) / len(hard)  # half of the rows at random
    assert accuracy > mix + 0.1
