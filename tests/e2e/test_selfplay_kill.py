"""Killed in any stage, a loop of self-play goes on where it stopped: no outcome is lost, doubled or paid for twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.jobs.selfplay.state import spent_usd
from tests.provider import Provider
from tests.school import FAMILIES, School

pytestmark = pytest.mark.usefixtures("kept_vectors")

CONCURRENCY = 4
# Each is killed when this is there, while the stage after it is at work.
STAGES = (
    "held-out/queries.parquet",
    "rounds/0000/asked.parquet",
    "rounds/0000/outcomes.parquet",
    "rounds/0000/round.parquet",
    "rounds/0001/asked.parquet",
    "rounds/0001/answers.parquet",
)
FILES = ("queries", "asked", "answers", "judged", "outcomes")


def test_killed_in_every_stage_the_loop_ends_as_if_undisturbed(
    api: Provider, api_entry: Callable[..., str], tmp_path: Path
) -> None:
    """All tables equal those of an undisturbed loop, and only calls in flight at a kill were repeated."""
    more = f"[expert.engine]\nconcurrency = {CONCURRENCY}"
    entries = [api_entry(name, price, 20, more) for name, price in (("strong", 10), ("weak", 1), ("judge", 10))]
    (tmp_path / "pool.toml").write_text('default = "strong"\n' + "".join(entries))
    api.says = School(tmp_path).says
    command = [sys.executable, "-m", "leeroo", "selfplay", "--pool", "pool.toml", "--rounds", "1", "--judge", "judge"]
    command += ["--outcomes", "20", "--held-out", "20", "--families", ",".join(FAMILIES), "--written", "0.3", "--out"]
    api.delay_s = 0.05
    for stage in STAGES:
        _kill([*command, "killed"], tmp_path, tmp_path / "killed" / stage)
    _run([*command, "killed"], tmp_path)
    calls = dict(api.asked)
    api.asked.clear()
    api.delay_s = 0.0
    _run([*command, "whole"], tmp_path)
    for number in (0, 1):
        for name in FILES:
            killed, whole = (_table(tmp_path / loop, number, name) for loop in ("killed", "whole"))
            assert killed.equals(whole), f"{name} of round {number}"
    outcomes = pa.concat_tables(_table(tmp_path / "killed", number, "outcomes") for number in (0, 1))
    pairs = outcomes.group_by(["query_id", "expert"]).aggregate([([], "count_all")])
    assert len(pairs) == len(outcomes) > 20
    assert calls.keys() == api.asked.keys()
    assert sum(calls.values()) - sum(api.asked.values()) <= CONCURRENCY * len(STAGES)
    assert spent_usd(tmp_path / "killed") == spent_usd(tmp_path / "whole")


def _kill(command: list[str], cwd: Path, at: Path) -> None:
    run = subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, text=True)
    while run.poll() is None and not at.exists():
        time.sleep(0.01)
    time.sleep(0.1)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, f"the loop ended before {at}: {run.communicate()[1]}"


def _run(command: list[str], cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def _table(out: Path, number: int, name: str) -> pa.Table:
    return pq.read_table(out / "rounds" / f"{number:04}" / f"{name}.parquet")
