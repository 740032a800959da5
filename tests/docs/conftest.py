"""The folder in which the examples of pages run."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.pool import DEFAULT_POOL
from tests.docs.site import ROOT, TICKETS


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide a folder with what the pages mention, where the examples run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEEROO_STORE", str(tmp_path / "store"))
    for folder in (ROOT / "examples" / "local", DEFAULT_POOL.parent):
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "mmlu").mkdir()
    for split, n in (("test", 2), ("dev", 5)):
        rows = [
            {
                "subject": subject,
                "question": f"{subject} {split} {i}: which number is the greatest?",
                "choices": ["1", "2", "3", str(4 + i)],
                "answer": "D",
            }
            for subject in ("astronomy", "virology")
            for i in range(n)
        ]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mmlu" / f"{split}.parquet")
    questions = ["What is 2 plus 2? Double the result.", None, "What is the capital of France?"]
    pl.DataFrame({"question": questions}).write_csv(tmp_path / "questions.csv")
    tickets = pl.DataFrame({"id": range(len(TICKETS)), "text": TICKETS})
    tickets.write_csv(tmp_path / "tickets.csv")
    tickets.with_columns(stars=pl.Series(["bad", "bad", "bad", "good"])).write_parquet(tmp_path / "reviews.parquet")
    return tmp_path
