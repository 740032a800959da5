"""Answers of a provider, recorded for an expert that replays them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.schema import OUTCOMES, QUERIES


def write_recorded(folder: Path, said: Mapping[str, str]) -> None:
    """Write a data folder in which the expert `recorded` has given these answers, by prompt."""
    folder.mkdir()
    queries = [
        {"query_id": str(i), "dataset": "said", "split": "test", "question": prompt, "prompt": prompt}
        for i, prompt in enumerate(said)
    ]
    outcomes = [
        {"query_id": str(i), "expert": "recorded", "score": 1.0, "response": answer}
        for i, answer in enumerate(said.values())
    ]
    pq.write_table(pa.Table.from_pylist(queries, schema=QUERIES), folder / "queries.parquet")
    pq.write_table(pa.Table.from_pylist(outcomes, schema=OUTCOMES), folder / "outcomes.parquet")


def recorded_pool(folder: Path, engine: str = "") -> str:
    """Return a pool whose only expert replays the answers of a data folder, with options of its engine."""
    return (
        f'[[expert]]\nname = "recorded"\nmodel = "{folder}"\nbackend = "replay"\n'
        f"usd_per_m_input = 1\nusd_per_m_output = 1\n[expert.engine]\n{engine}\n"
    )
