"""Killed in the middle of solving, the same command goes on, and no plan and no step is paid for twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROWS = 150
CONCURRENCY = 8
PLAN = {"steps": [{"task": "How old is Ann?", "needs": []}, {"task": "How old is Bob?", "needs": [1]}]}


@pytest.fixture
def command(tmp_path: Path, api: Any) -> list[str]:
    """Solve questions that say their parts and questions that need plans, under a budget for all and for each."""
    chains = [f"What is {i} times 4? Then add 10 to the result. Finally, is that number even?" for i in range(ROWS)]
    prose = [
        f"Ann is {i} years older than Bob, who is twice as old as Eve, who is five, and then she has a birthday."
        for i in range(ROWS // 3)
    ]
    pl.DataFrame({"question": [*chains, *prose]}).write_parquet(tmp_path / "input.parquet")
    expert = """
[[expert]]
name = "{name}"
model = "{name}"
backend = "openai"
base_url = "{url}"
usd_per_m_input = {price}
usd_per_m_output = {price}
max_tokens = 16
[expert.engine]
concurrency = {concurrency}
"""
    pool = "".join(
        expert.format(name=name, price=price, url=api.url, concurrency=CONCURRENCY)
        for name, price in (("large", 20), ("small", 1))
    )
    (tmp_path / "pool.toml").write_text(pool)
    api.says = lambda _, prompt: {json.dumps(PLAN) if "Split the question" in prompt else f"said {len(prompt)}": 0.9}
    start = [sys.executable, "-m", "leeroo", "solve", "input.parquet", "--pool", "pool.toml", "--no-progress"]
    return [*start, "--max-cost-usd", "0.25", "--max-cost-usd-per-row", "0.002", "--planner", "small"]


def _killed(command: list[str], api: Any, cwd: Path) -> int:
    """Run a command and kill it after so many more answers each time; how often it was killed."""
    api.delay_s = 0.03
    kills = 0
    for more in (20, 40, 60, 80, 100):
        run = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        enough = sum(api.asked.values()) + more
        while run.poll() is None and sum(api.asked.values()) < enough:
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        kills += run.wait() == -signal.SIGKILL
    api.delay_s = 0.0
    return kills


def test_kills_change_nothing(command: list[str], api: Any, tmp_path: Path) -> None:
    """The table equals an undisturbed one, and only the calls in flight at a kill were sent again."""
    disturbed = [*command, "--out", "out.parquet", "--store", "store"]
    kills = _killed(disturbed, api, tmp_path)
    assert kills == 5
    subprocess.run(disturbed, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert sum(n - 1 for n in api.asked.values()) <= kills * 2 * CONCURRENCY  # two experts at work at once
    asked = set(api.asked)
    subprocess.run(
        [*command, "--out", "whole.parquet", "--store", "other"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=120,
    )
    assert set(api.asked) == asked
    out, whole = (pl.read_parquet(tmp_path / name) for name in ("out.parquet", "whole.parquet"))
    assert out.equals(whole)
    assert {"large", "small"} == {step["expert"] for steps in out["steps"] for step in steps}
    assert out["error"].null_count() == len(out)


def test_solving_again_is_free(command: list[str], api: Any, tmp_path: Path) -> None:
    """A finished command repeated sends nothing and gives the same answers."""
    for out in ("first.parquet", "second.parquet"):
        done = subprocess.run(
            [*command, "--out", out, "--store", "store", "--json"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            timeout=120,
        )
    assert set(api.asked.values()) == {1}
    assert json.loads(done.stdout)["cost_usd"] == 0
    first, second = (pl.read_parquet(tmp_path / name)["answer"] for name in ("first.parquet", "second.parquet"))
    assert first.equals(second)
