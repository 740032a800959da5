"""Killed at any stage of labelling with a proxy, the same command goes on, and no label is paid for twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

ROWS = 1300
CONCURRENCY = 8
WORDS = {"fruit": ["apple", "banana", "cherry", "melon"], "tool": ["hammer", "saw", "drill", "wrench"]}


@pytest.fixture
def command(tmp_path: Path, api: Any) -> list[str]:
    """Label a table with an expert who takes some texts for others, under a budget that reaches all of them."""
    chance = random.Random(0)
    topics = [chance.choice(list(WORDS)) for _ in range(ROWS)]
    texts = [f"{' and '.join(chance.choices(WORDS[topic], k=2))} {i}" for i, topic in enumerate(topics)]
    known = dict(zip(texts, topics, strict=True))
    api.says = lambda _, prompt: {known[prompt.rsplit("Text: ", 1)[1].splitlines()[0]]: 0.9}
    pl.DataFrame({"text": texts}).write_parquet(tmp_path / "input.parquet")
    (tmp_path / "pool.toml").write_text(api.entry("only", 10, 3, f"[expert.engine]\nconcurrency = {CONCURRENCY}"))
    start = [sys.executable, "-m", "leeroo", "label", "input.parquet", "--pool", "pool.toml", "--no-progress"]
    return [*start, "--labels", "fruit,tool", "--max-cost-usd", "3", "--json"]


def _run(command: list[str], cwd: Path) -> Any:
    done = subprocess.run(command, cwd=cwd, check=True, capture_output=True, timeout=300)
    return json.loads(done.stdout)


@pytest.mark.usefixtures("kept_vectors")
def test_kills_change_nothing(command: list[str], api: Any, tmp_path: Path) -> None:
    """Killed in the sample, while texts are encoded, in a round and in the check, it gives an undisturbed table."""
    whole = _run([*command, "--out", "whole.parquet", "--store", "other"], tmp_path)
    assert whole["proxy"]["off"] is None
    asked = dict(api.asked)
    assert set(asked.values()) == {1}
    api.asked.clear()
    disturbed = [*command, "--out", "out.parquet", "--store", "store"]
    sample, total = whole["proxy"]["sample"], whole["proxy"]["asked"]
    api.delay_s, kills = 0.02, 0
    # In the first sample, after it while texts are encoded, in what follows, and in the check.
    for reached, wait in ((sample // 2, 0.0), (200, 0.5), (total - 120, 0.0), (total - 40, 0.0)):
        run = subprocess.Popen(disturbed, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while run.poll() is None and len(api.asked) < reached:
            time.sleep(0.01)
        time.sleep(wait)
        run.send_signal(signal.SIGKILL)
        kills += run.wait() == -signal.SIGKILL
    assert kills == 4
    api.delay_s = 0.0
    _run(disturbed, tmp_path)
    assert dict.fromkeys(api.asked, 1) == asked
    assert sum(n - 1 for n in api.asked.values()) <= kills * CONCURRENCY
    out, table = (pl.read_parquet(tmp_path / name) for name in ("out.parquet", "whole.parquet"))
    same = ["text", "label", "expert", "list_cost_usd", "error"]
    assert out[same].equals(table[same])
    assert np.abs(out["confidence"].to_numpy() - table["confidence"].to_numpy()).max() < 1e-4
    before = sum(api.asked.values())
    again = _run([*command, "--out", "again.parquet", "--store", "store"], tmp_path)
    assert sum(api.asked.values()) == before
    assert again["cost_usd"] == 0
    assert pl.read_parquet(tmp_path / "again.parquet")[same].equals(out[same])
