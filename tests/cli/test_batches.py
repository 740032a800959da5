"""Batches from the command line: hand them in, look at them, collect or cancel them."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.store.batches import BatchLine
from leeroo.engine.store.store import Store
from tests import batch_provider
from tests.batch_provider import BatchProvider, entry
from tests.command import leeroo

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def provider() -> Iterator[BatchProvider]:
    """Provide a provider whose batches stay open."""
    with batch_provider.running() as server:
        server.open.clear()
        yield server


@pytest.fixture
def run(tmp_path: Path, provider: BatchProvider) -> Run:
    """Run `leeroo run` over 20 questions, with a batch expert 'slow' and 'fast', which answers at once."""
    pq.write_table(pa.table({"question": [f"question {i}" for i in range(20)]}), tmp_path / "input.parquet")
    pool = entry(provider, "slow", 100) + provider.entry("fast", 100, 16)
    (tmp_path / "pool.toml").write_text(f'default = "slow"\n{pool}')

    def go(*more: str) -> subprocess.CompletedProcess[str]:
        command = ("run", "input.parquet", "--pool", "pool.toml", "--store", "store", "--out", "out.parquet")
        return leeroo(*command, *more, cwd=tmp_path)

    return go


def _status(folder: Path) -> list[dict[str, Any]]:
    done = leeroo("status", "--store", "store", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    batches: list[dict[str, Any]] = json.loads(done.stdout)["batches"]
    return batches


def test_a_run_hands_its_batches_in_and_the_same_command_collects(
    run: Run, provider: BatchProvider, tmp_path: Path
) -> None:
    """--detach returns with a line; the status shows the batch; the same command writes the table."""
    handed = run("--detach")
    assert (handed.returncode, handed.stdout) == (0, "")
    assert "20 rows are in 1 open batch: the same command collects them" in handed.stderr
    assert not (tmp_path / "out.parquet").exists()
    [batch] = _status(tmp_path)
    assert (batch["expert"], batch["batch"], batch["lines"], batch["left"]) == ("slow", "batch_0", 20, 20)
    assert run("--detach").stderr == handed.stderr  # still under way
    provider.open.set()
    assert run().returncode == 0
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column("answer").to_pylist() == [f"echo: question {i}" for i in range(20)]
    assert _status(tmp_path) == []
    assert len(provider.batches) == 1


def test_detached_runs_collect_too(run: Run, provider: BatchProvider, tmp_path: Path) -> None:
    """A later --detach that finds the batch ended writes the table."""
    run("--detach")
    provider.open.set()
    assert run("--detach").returncode == 0
    assert pq.read_table(tmp_path / "out.parquet").column("answer").null_count == 0


def test_rows_of_online_experts_are_answered_before_it_returns(
    run: Run, provider: BatchProvider, tmp_path: Path
) -> None:
    """Where the router sends rows to both kinds, those of online experts do not wait."""
    # With a budget and no router, the expensive default gets what the budget lets it.
    cheap = provider.entry("cheap", 1, 16)
    (tmp_path / "pool.toml").write_text(f'default = "slow"\n{entry(provider, "slow", 100)}{cheap}')
    handed = run("--detach", "--max-cost-usd", "0.011")
    assert handed.returncode == 0, handed.stderr
    [batch] = _status(tmp_path)
    assert 0 < batch["lines"] < 20
    # Others that would go into a batch wait until the first one says what is left of the budget.
    waiting = int(re.findall(r"and (\d+) more wait", handed.stderr)[0])
    assert len(provider.bills) == 20 - batch["lines"] - waiting > 0
    provider.open.set()
    assert run("--max-cost-usd", "0.011").returncode == 0
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column("answer").null_count == 0
    assert set(provider.asked.values()) == {1}
    assert provider.account_usd <= 0.011


def test_a_cancelled_batch_brings_what_it_had(run: Run, provider: BatchProvider, tmp_path: Path) -> None:
    """--cancel ends a batch; what it had answered is collected, and the rest is asked again."""
    run("--detach")
    refused = leeroo("status", "--store", "store", "--cancel", "batch_9", cwd=tmp_path)
    assert (refused.returncode, "there are: batch_0" in refused.stderr) == (2, True)
    without = leeroo("status", "--store", "store", "--cancel", "all", cwd=tmp_path)
    assert (without.returncode, "--pool" in without.stderr) == (2, True)
    done = leeroo("status", "--store", "store", "--pool", "pool.toml", "--cancel", "all", cwd=tmp_path)
    assert "cancelled: batch_0" in done.stderr
    provider.open.set()
    assert run().returncode == 0
    assert set(provider.asked.values()) == {1}
    assert [len(provider.lines(batch)) for batch in provider.batches.values()] == [20, 10]


def test_after_the_deadline_rows_go_to_online_experts(run: Run, provider: BatchProvider, tmp_path: Path) -> None:
    """The batch is cancelled; what it has answered is kept, and the others answer the rest."""
    run("--detach")
    assert run("--deadline", "1s").returncode == 0
    table = pq.read_table(tmp_path / "out.parquet")
    assert Counter(table.column("expert").to_pylist()) == {"slow": 10, "fast": 10}
    assert provider.cancelled == ["batch_0"]
    assert set(provider.asked.values()) == {1}


def test_a_deadline_before_the_batch_excludes_its_expert(run: Run, provider: BatchProvider, tmp_path: Path) -> None:
    """A batch is expected to take an hour, so that half of one is too short."""
    assert run("--deadline", "30m").returncode == 0
    assert set(pq.read_table(tmp_path / "out.parquet").column("expert").to_pylist()) == {"fast"}
    assert not provider.batches
    alone = run("--deadline", "30m", "--expert", "slow")
    assert alone.returncode == 1
    assert "no batch of slow is expected to end by the deadline" in alone.stderr


@pytest.mark.parametrize("given", ["soon", "-1", "2 weeks"])
def test_a_deadline_is_a_time(run: Run, given: str) -> None:
    """Anything else is one clear line."""
    done = run("--deadline", given)
    assert (done.returncode, "--deadline takes seconds, or a number with s, m, h or d" in done.stderr) == (2, True)


def test_waiting_costs_what_it_is_worth(run: Run, provider: BatchProvider, tmp_path: Path) -> None:
    """With a weight on seconds, rows do not wait an hour for a batch."""
    provider.open.set()
    assert run("--latency-weight", "0.001").returncode == 0
    assert set(pq.read_table(tmp_path / "out.parquet").column("expert").to_pylist()) == {"fast"}


def test_explain_tells_price_and_time(run: Run, tmp_path: Path) -> None:
    """A plan has the price of a batch, and its hour."""
    done = leeroo("explain", "input.parquet", "--pool", "pool.toml", "--store", "store", "--json", cwd=tmp_path)
    [estimate] = json.loads(done.stdout)["estimates"]
    [part] = estimate["parts"]
    assert (part["expert"], part["backend"], part["seconds"]) == ("slow", "batch", 3600)
    tokens = part["prompt_tokens"] + part["completion_tokens"]
    assert part["cost_usd"] == pytest.approx(tokens * 50e-6, rel=0.01)


def test_ctrl_c_leaves_batches_open_and_says_so(run: Run, provider: BatchProvider, tmp_path: Path) -> None:
    """An interrupt ends the run with 130, and says how to collect and how to cancel."""
    command = ["run", "input.parquet", "--pool", "pool.toml", "--store", "store", "--out", "out.parquet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "leeroo", *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    while not provider.batches or not _status(tmp_path)[0]["batch"]:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-2:] == [
        "leeroo: interrupted; everything answered so far is kept, the same command goes on.",
        "leeroo: 20 rows are in 1 open batch: the same command collects them, leeroo status --cancel all with its --pool cancels them",
    ]
    assert not provider.cancelled
    provider.open.set()
    assert run().returncode == 0
    assert len(provider.batches) == 1


def test_the_time_of_batches_is_measured(run: Run, provider: BatchProvider, tmp_path: Path) -> None:
    """After a batch has ended, a deadline beyond the time that it took includes the expert."""
    provider.open.set()
    run()
    pq.write_table(pa.table({"question": ["another"]}), tmp_path / "input.parquet")
    assert run("--deadline", "10m").returncode == 0
    assert pq.read_table(tmp_path / "out.parquet").column("expert").to_pylist() == ["slow"]


def test_a_batch_that_is_being_submitted_is_listed(tmp_path: Path) -> None:
    """Without its id yet it is no reason for an error, and a list cancels nothing."""
    with contextlib.closing(Store(tmp_path / "store")) as store:
        store.keep_batch("t", "r", "engine", "slow", [BatchLine(b"k", "t", "a", "slow", "f", 1)])
    (batch,) = _status(tmp_path)
    assert (batch["batch"], batch["lines"]) == (None, 1)
