"""Killed at any moment of a batch, a run goes on where it stopped: every batch is submitted once, every row paid once.

The provider of the last test is `leeroo serve`, killed as well. In the suite it has 300 rows; by hand
`LEEROO_BATCH_ROWS=2000 pytest -s tests/e2e/test_kill_batches.py` prints the figures of 2,000.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import batch_provider
from tests.batch_provider import BatchProvider, entry
from tests.provider import Provider
from tests.serve.talk import Server

ROWS = int(os.environ.get("LEEROO_BATCH_ROWS", "300"))
SERVER_KILLED = (1, 3)
CONCURRENCY = 16
# Of the fake provider: 12 tokens in, 3 out.
TOKENS = 15


@pytest.fixture
def provider() -> Iterator[BatchProvider]:
    """Provide a provider with batches at half of USD 100 a million tokens."""
    with batch_provider.running() as server:
        server.usd_per_m = {"": (50.0, 50.0)}
        yield server


def _command(folder: Path, pool: str, rows: int, out: str = "out.parquet") -> list[str]:
    """Write a table and a pool, and return the run over them."""
    pq.write_table(pa.table({"question": [f"question number {i}" for i in range(rows)]}), folder / "input.parquet")
    (folder / "pool.toml").write_text(pool)
    command = [sys.executable, "-m", "leeroo", "run", "input.parquet", "--pool", "pool.toml", "--out", out]
    return [*command, "--store", "store"]


def _finished(command: list[str], folder: Path) -> pa.Table:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return pq.read_table(folder / command[command.index("--out") + 1])


def _count(folder: Path, rows: str) -> int:
    """Count rows in the store of a folder."""
    file = folder / "store" / "answers.sqlite"
    if not file.exists():
        return 0
    with closing(sqlite3.connect(file)) as db:
        try:
            return int(db.execute(f"SELECT count(*) FROM {rows}").fetchone()[0])
        except sqlite3.OperationalError:  # its tables are being made
            return 0


def _await(condition: Callable[[], bool], run: subprocess.Popen[bytes]) -> None:
    """Wait until something has happened in a run."""
    until = time.monotonic() + 120
    while not condition():
        assert run.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < until
        time.sleep(0.005)


def _kill(run: subprocess.Popen[bytes]) -> None:
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, "the run ended before it could be killed"


def _check_all_once(table: pa.Table, provider: BatchProvider, batches: int) -> None:
    """Check that every row was answered and paid for once, at the price of a batch."""
    assert table.column("answer").to_pylist() == [f"echo: question number {i}" for i in range(table.num_rows)]
    assert sum(table.column("cost_usd").to_pylist()) == pytest.approx(table.num_rows * TOKENS * 50e-6)
    assert len(provider.batches) == batches
    assert set(provider.asked.values()) == {1}


@pytest.mark.parametrize(
    ("when", "step"),
    [("before", "create"), *(("moments", step) for step in ("upload", "create", "look", "content"))],
)
def test_a_kill_at_any_step_submits_nothing_twice(
    when: str, step: str, provider: BatchProvider, tmp_path: Path
) -> None:
    """Killed before or after the provider has done a step, and before it says so, the run finds what it has begun."""
    command = _command(tmp_path, entry(provider, "slow", 100), 50)
    run = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)

    def kill() -> None:
        run.send_signal(signal.SIGKILL)
        run.wait()

    getattr(provider, when)[step] = kill
    assert run.wait(timeout=240) == -signal.SIGKILL
    getattr(provider, when).clear()
    _check_all_once(_finished(command, tmp_path), provider, 1)
    assert _count(tmp_path, "batch_lines") == 0


def test_a_kill_among_the_answers_keeps_those_that_are_stored(provider: BatchProvider, tmp_path: Path) -> None:
    """Half of a batch is stored when the run is killed; the next one stores the other half."""
    command = _command(tmp_path, entry(provider, "slow", 100), 6000)
    run = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    _await(lambda: _count(tmp_path, "answers") > 0, run)
    _kill(run)
    assert _count(tmp_path, "answers") < 6000
    _check_all_once(_finished(command, tmp_path), provider, 1)


def test_another_run_collects_what_a_killed_one_submitted(provider: BatchProvider, tmp_path: Path) -> None:
    """A second command over the same questions asks for none of them anew while the first one's batch is open."""
    provider.open.clear()
    command = _command(tmp_path, entry(provider, "slow", 100), 50)
    run = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    _await(lambda: bool(provider.batches), run)
    _kill(run)
    provider.open.set()
    another = [*_command(tmp_path, entry(provider, "slow", 100), 50, "another.parquet"), "--cost-weight", "0.1"]
    _check_all_once(_finished(another, tmp_path), provider, 1)
    first = _finished(command, tmp_path)
    assert sum(first.column("cost_usd").to_pylist()) == 0
    assert len(provider.batches) == 1


def test_two_runs_at_once_share_a_batch(provider: BatchProvider, tmp_path: Path) -> None:
    """The second run waits for the answers of the first one's batch."""
    provider.open.clear()
    commands = [_command(tmp_path, entry(provider, "slow", 100), 50, f"{i}.parquet") for i in range(2)]
    first = subprocess.Popen(commands[0], cwd=tmp_path, stderr=subprocess.DEVNULL)
    _await(lambda: bool(provider.batches), first)
    second = subprocess.Popen(commands[1], cwd=tmp_path, stderr=subprocess.DEVNULL)
    _await(lambda: _count(tmp_path, "runs") == 2, second)
    provider.open.set()
    assert [run.wait(timeout=240) for run in (first, second)] == [0, 0]
    _check_all_once(pq.read_table(tmp_path / "0.parquet"), provider, 1)
    assert pq.read_table(tmp_path / "1.parquet").column("answer").null_count == 0


def test_the_client_and_the_server_are_killed(tmp_path: Path, api: Provider, api_entry: Callable[..., str]) -> None:
    """Over `leeroo serve` as the provider, kills on both sides lose nothing, and submit and bill nothing twice."""
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    (theirs / "pool.toml").write_text(api_entry("large", 100, 256, f"[expert.engine]\nconcurrency = {CONCURRENCY}"))
    server = Server(theirs)
    server.start()
    pool = f"""
[[expert]]
name = "slow"
model = "large"
backend = "openai"
base_url = "{server.url}/v1"
usd_per_m_input = 100
usd_per_m_output = 100
batch = true
batch_discount = 0.5
max_tokens = 16
[expert.engine]
poll_interval = 0.5
"""
    command = _command(ours, pool, ROWS)
    moments = random.Random(5)
    api.delay_s = 600 / ROWS
    # What has happened when the client is killed; the server is killed a moment before, the second and the fourth time.
    reached: list[Callable[[], bool]] = [
        lambda: _count(ours, "batches") > 0,
        lambda: _count(ours, "batches WHERE sent IS NOT NULL") > 0,
        lambda: _count(ours, "batches WHERE remote IS NOT NULL") > 0,
        lambda: len(api.asked) > ROWS / 4,
        lambda: len(api.asked) > ROWS / 2,
    ]
    for number, condition in enumerate(reached):
        run = subprocess.Popen(command, cwd=ours, stderr=subprocess.DEVNULL)
        _await(condition, run)
        time.sleep(moments.uniform(0, 0.1))
        if number in SERVER_KILLED:
            server.stop(signal.SIGKILL)
            server.start()
            time.sleep(moments.random())
        _kill(run)
        print(f"kill {number + 1}: {len(api.asked)} of {ROWS} rows were asked")
    api.delay_s = 0.0
    table = _finished(command, ours)
    assert table.column("answer").to_pylist() == [f"echo: question number {i}" for i in range(ROWS)]
    assert sum(table.column("cost_usd").to_pylist()) == pytest.approx(ROWS * TOKENS * 50e-6)
    batches = server.client().batches.list(limit=100).data
    again = sum(api.asked.values()) - ROWS
    print(f"{ROWS} rows, {len(batches)} batch, {again} calls under way were repeated by the server")
    assert [batch.request_counts.total for batch in batches if batch.request_counts] == [ROWS]
    assert again <= len(SERVER_KILLED) * CONCURRENCY
    server.stop()
