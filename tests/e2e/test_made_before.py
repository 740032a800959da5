"""Stores and databases that an earlier version left are taken up.

In `made_before` are, packed, the answer store of a run over 20 questions that was killed after seven of its answers, with
two more under way, and a database with a view that calls `leeroo_answer`, whose two answers are in that store.
"""

from __future__ import annotations

import contextlib
import gzip
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.provider import Provider, running

MADE = Path(__file__).with_name("made_before")
# The address is a part of what answers are stored under.
PORT = 47613
POOL = f"""
[[expert]]
name = "far"
model = "far"
backend = "openai"
base_url = "http://127.0.0.1:{PORT}/v1"
usd_per_m_input = 1
usd_per_m_output = 2
max_tokens = 64
[expert.engine]
concurrency = 2
"""


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Provide the API that the earlier version asked."""
    with running(PORT) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Provide a folder with the store, the database, and the pool and table of the killed run."""
    (tmp_path / "store").mkdir()
    for name, place in (("answers.sqlite", tmp_path / "store"), ("session.duckdb", tmp_path)):
        (place / name).write_bytes(gzip.decompress((MADE / f"{name}.gz").read_bytes()))
    (tmp_path / "pool.toml").write_text(POOL)
    pq.write_table(pa.table({"question": [f"question {i}" for i in range(20)]}), tmp_path / "questions.parquet")
    return tmp_path


def _leeroo(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "leeroo", *arguments, "--pool", "pool.toml", "--store", "store"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_killed_run_is_resumed(folder: Path, provider: Provider) -> None:
    """Stored answers are not sent for again and count as the run's own; the run is finished."""
    with contextlib.closing(sqlite3.connect(folder / "store" / "answers.sqlite")) as db:
        [(stored, cost)] = db.execute(
            "SELECT count(*), sum(list_cost_usd) FROM answers WHERE run = (SELECT run FROM runs WHERE rows = 20)"
        ).fetchall()
    assert stored == 7
    _leeroo(folder, "run", "questions.parquet", "--out", "out.csv", "--max-cost-usd", "1")
    assert len(provider.asked) == 20 - stored
    table = pyarrow.csv.read_csv(folder / "out.csv")
    assert table.column("answer").to_pylist() == [f"echo: question {i}" for i in range(20)]
    assert sum(table.column("cost_usd").to_pylist()) == pytest.approx(cost + provider.account_usd)
    with contextlib.closing(sqlite3.connect(folder / "store" / "answers.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM runs WHERE finished IS NULL").fetchall() == [(0,)]


def test_a_view_of_a_database_is_answered(folder: Path, provider: Provider) -> None:
    """A view is answered from the store, at no cost."""
    _leeroo(folder, "sql", "FROM v ORDER BY q", "--db", "session.duckdb", "--out", "out.csv")
    assert (folder / "out.csv").read_text().splitlines() == ["q,answer", "seen 1,echo: seen 1", "seen 2,echo: seen 2"]
    assert not provider.asked
