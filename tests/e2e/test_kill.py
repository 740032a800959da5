"""Killed at any moment, a run goes on where it stopped, and nothing is paid for twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = 1200
KILLS = 20
CONCURRENCY = 16

Job = Callable[..., list[str]]


@pytest.fixture
def job(tmp_path: Path, api: Any) -> Job:
    """Make the command of a run of 1,200 questions over two experts of a real API, under a budget."""
    table = pa.table({"id": list(range(ROWS)), "question": [f"question number {i}" for i in range(ROWS)]})
    pq.write_table(table, tmp_path / "input.parquet")
    # A row costs 15 tokens, and is expected to cost 5 and max_tokens; the budget lets the large expert answer half.
    expert = f"""
[[expert]]
name = "{{name}}"
model = "{{name}}"
backend = "openai"
base_url = "{api.url}"
usd_per_m_input = {{price}}
usd_per_m_output = {{price}}
max_tokens = {{limit}}
[expert.engine]
concurrency = {CONCURRENCY}
"""

    def make(out: str, store: str = "store", limit: int = 16, budget: str = "0.24") -> list[str]:
        pool = "".join(expert.format(name=n, price=p, limit=limit) for n, p in (("large", 20), ("small", 1)))
        (tmp_path / "pool.toml").write_text(pool)
        command = [sys.executable, "-m", "leeroo", "run", "input.parquet", "--pool", "pool.toml", "--out", out]
        return [*command, "--store", store, "--max-cost-usd", budget]

    return make


def _killed(command: list[str], api: Any, cwd: Path, kills: int = KILLS) -> None:
    """Run a command and kill it again and again, each time after a random number of answers."""
    moments = random.Random(7)
    api.delay_s = 0.05
    for _ in range(kills):
        run = subprocess.Popen(command, cwd=cwd, stderr=subprocess.DEVNULL)
        enough = sum(api.asked.values()) + moments.randint(0, 60)
        while run.poll() is None and sum(api.asked.values()) < enough:
            time.sleep(0.01)
        time.sleep(moments.random() * 0.05)
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    api.delay_s = 0.0


def _finished(command: list[str], cwd: Path) -> pa.Table:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, timeout=120)
    return pq.read_table(cwd / command[command.index("--out") + 1])


def test_twenty_kills_change_nothing(job: Job, api: Any, tmp_path: Path) -> None:
    """The table equals an undisturbed one, and only the calls in flight at a kill were sent again."""
    pinned = ["--expert", "large"]  # of two experts who answers what under a budget depends on who answers first
    _killed([*job("out.parquet", budget="40"), *pinned], api, tmp_path)
    table = _finished([*job("out.parquet", budget="40"), *pinned], tmp_path)
    assert len(api.asked) == ROWS
    assert sum(n - 1 for n in api.asked.values()) <= KILLS * CONCURRENCY
    whole = _finished([*job("whole.parquet", store="other", budget="40"), *pinned], tmp_path)
    assert table.drop_columns(["latency_ms"]).equals(whole.drop_columns(["latency_ms"]))
    assert list(tmp_path.glob(".*")) == []


def test_a_run_that_chose_anew_pays_for_nothing_twice(job: Job, api: Any, tmp_path: Path) -> None:
    """When answers cost more than was expected and rows move to cheaper experts, kills cost nothing either."""
    _killed(job("out.parquet", limit=4), api, tmp_path, kills=6)
    table = _finished(job("out.parquet", limit=4), tmp_path)
    assert sum(n - 1 for n in api.asked.values()) <= 6 * 2 * CONCURRENCY  # two experts at work at once
    assert table.column("error").null_count == ROWS
    assert sum(table.column("cost_usd").to_pylist()) <= 0.24


def test_the_second_run_is_free(job: Job, api: Any, tmp_path: Path) -> None:
    """A finished run repeated sends nothing, costs nothing and gives the same answers."""
    first = _finished(job("first.parquet"), tmp_path)
    second = _finished(job("second.parquet"), tmp_path)
    assert set(api.asked.values()) == {1}
    assert sum(second.column("cost_usd").to_pylist()) == 0
    same = ["answer", "expert", "list_cost_usd"]
    assert second.select(same).equals(first.select(same))


def test_ctrl_c_keeps_all_answers(job: Job, api: Any, tmp_path: Path) -> None:
    """An interrupt ends the run with 130 and a line that says how to go on; the next run sends nothing again."""
    api.delay_s = 0.05
    run = subprocess.Popen(job("out.parquet"), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while sum(api.asked.values()) < 100:
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=10)
    assert run.returncode == 130
    assert said.strip().splitlines() == [
        "leeroo: interrupted; everything answered so far is kept, the same command goes on."
    ]
    assert not (tmp_path / "out.parquet").exists()
    api.delay_s = 0.0
    _finished(job("out.parquet"), tmp_path)
    assert sum(n - 1 for n in api.asked.values()) <= 2 * CONCURRENCY


def test_two_processes_share_a_store(job: Job, api: Any, tmp_path: Path) -> None:
    """Two runs at once over one store both finish, right, and what the one has answered the other does not ask."""
    api.delay_s = 0.01
    runs = [subprocess.Popen(job(out), cwd=tmp_path, stderr=subprocess.DEVNULL) for out in ("a.parquet", "b.parquet")]
    assert [run.wait(timeout=120) for run in runs] == [0, 0]
    a, b = (pq.read_table(tmp_path / out).select(["id", "answer"]) for out in ("a.parquet", "b.parquet"))
    assert a.equals(b)
    assert len(api.asked) == ROWS
