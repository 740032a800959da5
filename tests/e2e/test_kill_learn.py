"""Killed in any stage of learning, the same command gives the same table, and nothing is paid for twice."""

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

from tests.jobs.learn.test_learn import PRICES, SKILLS, School, questions

ROWS, KILLS, CONCURRENCY = 240, 7, 8


def _command(out: str, store: str) -> list[str]:
    command = [sys.executable, "-m", "leeroo", "run", "input.parquet", "--pool", "pool.toml", "--out", out]
    return [*command, "--store", store, "--max-cost-usd", "0.08", "--learn", "--save-router", f"{out}-router"]


def _finished(command: list[str], cwd: Path) -> pa.Table:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, timeout=300)
    return pq.read_table(cwd / command[command.index("--out") + 1])


def test_kills_change_nothing(api: Any, api_entry: Callable[..., str], tmp_path: Path) -> None:
    """After kills in the pilot, in the purchases and while training, table and router equal undisturbed ones."""
    known = questions(ROWS)
    api.says, api.usage = School(known).says, (20, 10)
    engine = f"[expert.engine]\nconcurrency = {CONCURRENCY}"
    (tmp_path / "pool.toml").write_text("".join(api_entry(name, PRICES[name], 16, engine) for name in SKILLS))
    pq.write_table(pa.table({"question": list(known)}), tmp_path / "input.parquet")
    whole = _finished(_command("whole.parquet", "other"), tmp_path)
    needed = sum(api.asked.values())
    api.asked.clear()

    moments, sent = random.Random(5), 0
    for kill in range(KILLS):
        api.delay_s = 0.03
        run = subprocess.Popen(_command("out.parquet", "store"), cwd=tmp_path, stderr=subprocess.DEVNULL)
        # The last ones come when all is answered: while the router is trained and kept.
        enough = needed if kill >= KILLS - 2 else sum(api.asked.values()) + moments.randint(1, needed // (KILLS - 3))
        while run.poll() is None and sum(api.asked.values()) < enough:
            time.sleep(0.01)
        time.sleep(moments.random() * (1.0 if kill >= KILLS - 2 else 0.1))
        run.send_signal(signal.SIGKILL)
        assert run.wait() in (-signal.SIGKILL, 0)
        sent = sum(api.asked.values())
    assert sent <= needed + KILLS * len(SKILLS) * CONCURRENCY
    table = _finished(_command("out.parquet", "store"), tmp_path)
    own = ["cost_usd", "latency_ms"]  # what this process paid, and how long the provider took
    assert table.drop_columns(own).equals(whole.drop_columns(own))
    assert {q: sum(v for (p, v) in api.asked.items() if p == q) for q in known}.keys() == known.keys()
    assert sum(api.asked.values()) <= needed + KILLS * len(SKILLS) * CONCURRENCY
    for name in ("router.json", "numbers.npz"):
        assert (tmp_path / "out.parquet-router" / name).is_file()
