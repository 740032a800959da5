"""Write the table of `leeroo demo`: what a shipped router predicts on questions it has not learned from, and outcomes.

    python bench/routing/demo_table.py

Reads the data folder redux in LEEROO_DATA, or ../shared/data, and the router mmlu-redux. Writes
leeroo/data/demo/choosing.parquet: one row for each question of the test split and each expert.
Attribution is in ABOUT.md beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.routing.data import DATA
from leeroo.engine.arrays import Float32s, Float64s
from leeroo.engine.orchestrator.outcomes.read import read_outcomes
from leeroo.engine.orchestrator.outcomes.recorded import prices_of, recorded
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.shipped.catalogue import folder_of

OUT = Path(__file__).resolve().parents[2] / "leeroo" / "data" / "demo" / "choosing.parquet"
# Significant digits of predictions and costs; more of them say nothing and take room.
_DIGITS = 4


def main() -> None:
    """Predict, join the recorded outcomes, and write the table."""
    folder = DATA / "redux"
    outcomes = read_outcomes([folder], "test")
    router = Router.load(folder_of("mmlu-redux"))
    prices = prices_of([folder], router.experts)
    test = recorded(outcomes, router.experts, prices)
    predicted = router.predict(test.prompts, list(zip(test.subjects, test.categories, strict=True)))
    expected = (predicted.prompt_tokens * prices[0] + predicted.completion_tokens * prices[1]) / 1e6
    n, e = test.scores.shape
    table = pa.table(
        {
            "question": pa.array(np.repeat(test.prompts, e)),
            "subject": pa.array(np.repeat(np.array(test.subjects), e)),
            "category": pa.array(np.repeat(np.array(test.categories), e)),
            "expert": pa.array(np.tile(np.array(router.experts), n)),
            "predicted_score": _rounded(predicted.scores),
            "predicted_cost_usd": _rounded(expected),
            "score": pa.array(test.scores.ravel().astype(np.float32)),
            "cost_usd": _rounded(test.costs),
        }
    )
    pq.write_table(table, OUT, compression="zstd", compression_level=19)
    print(f"{n} questions, {e} experts, {OUT.stat().st_size / 1e3:.0f} kB: {OUT}")


def _rounded(values: Float32s | Float64s) -> pa.Array:
    flat = values.ravel().astype(np.float64)
    return pa.array(np.array([f"{value:.{_DIGITS - 1}e}" for value in flat], np.float64).astype(np.float32))


if __name__ == "__main__":
    main()
