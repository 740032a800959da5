"""Compare a new expert that is added with few outcomes to a router of the others, or learned from them alone.

    python bench/learning/new_expert.py [--expert llama-3-8b]

On mmlu9 in LEEROO_DATA, or ../shared/data, with MiniLM alone: log loss of the new expert on the test questions.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import duckdb
import numpy as np

from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER
from leeroo.engine.orchestrator.outcomes.read import read_outcomes
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.statistics import log_loss
from leeroo.engine.orchestrator.training.learn import extend, train

_OUTCOMES = (30, 100, 300, 1000)


def main() -> None:
    """Learn, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expert", default="llama-3-8b")
    new = parser.parse_args().expert
    data = Path(os.environ.get("LEEROO_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data") / "mmlu9"
    test = read_outcomes([data], "test")
    scores = test.scores[:, test.experts.index(new)]

    def loss(router: Router) -> float:
        predicted = router.predict(test.prompts, test.contexts).scores[:, router.experts.index(new)]
        return log_loss(predicted, scores, np.ones(len(scores)))

    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        others = train([part(data, home / "others", f"expert != '{new}'")], [DEFAULT_ENCODER])
        together = loss(train([data], [DEFAULT_ENCODER]))
        print(f"{len(scores):,} test questions; learned with the others from all outcomes: {together:.4f}\n")
        print("| outcomes | added to the others | alone |\n|---|---|---|")
        for n in _OUTCOMES:
            few = part(data, home / str(n), f"expert = '{new}'", n)
            added, alone = loss(extend(others, [few])), loss(train([few], [DEFAULT_ENCODER]))
            print(f"| {n:,} | {added:.4f} | {alone:.4f} |", flush=True)


def part(data: Path, folder: Path, outcomes: str, questions: int | None = None) -> Path:
    """Write a data folder with some of the outcomes, on at most `questions` of the training questions."""
    folder.mkdir()
    queries = folder / "queries.parquet"
    con = duckdb.connect()
    limit = f"LIMIT {questions}" if questions else ""
    con.sql(f"FROM '{data}/queries.parquet' WHERE split = 'train' ORDER BY hash(query_id) {limit}").write_parquet(
        str(queries)
    )
    con.sql(f"FROM '{data}/outcomes.parquet' SEMI JOIN '{queries}' USING (query_id) WHERE {outcomes}").write_parquet(
        str(folder / "outcomes.parquet")
    )
    return folder


if __name__ == "__main__":
    main()
