"""Data folders for commands: recorded outcomes of real models."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

# How many questions of each split.
QUESTIONS = 60


@pytest.fixture(scope="module")
def real_place(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `data`, outcomes of nine models on 60 training and 60 test questions."""
    place, source = tmp_path_factory.mktemp("real"), shared_data / "mmlu9"
    (place / "data").mkdir()
    taken = (
        f"(FROM '{source}/queries.parquet' "
        f"QUALIFY row_number() OVER (PARTITION BY split ORDER BY hash(query_id)) <= {QUESTIONS})"
    )
    for name, rows in {
        "queries": f"FROM {taken}",
        "outcomes": f"FROM '{source}/outcomes.parquet' SEMI JOIN {taken} USING (query_id)",
        "experts": f"FROM '{source}/experts.parquet'",
    }.items():
        duckdb.sql(f"COPY ({rows}) TO '{place}/data/{name}.parquet'")
    return place
