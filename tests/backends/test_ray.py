"""The same answers through actors of a Ray cluster, whatever becomes of their processes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.pool import load_pool

ROWS, IN_FLIGHT = 600, 32 * 4


@pytest.fixture
def place(tmp_path: Path, api_entry: Callable[..., str]) -> Path:
    """Write a table and a pool of two experts of a real API, the first with two actors."""
    table = pa.table({"id": list(range(ROWS)), "question": [f"question number {i % 500}" for i in range(ROWS)]})
    pq.write_table(table, tmp_path / "input.parquet")
    cluster = "[expert.ray]\nreplicas = {}\nnum_cpus = 0.5"
    experts = (("large", 20, 2), ("small", 1, 1))
    (tmp_path / "pool.toml").write_text("".join(api_entry(name, usd, 4, cluster.format(n)) for name, usd, n in experts))
    return tmp_path


@pytest.fixture(scope="module")
def running() -> Iterator[str]:
    """Start a cluster for all tests that need not start their own, and return its address."""
    import ray

    ray.init("local", log_to_driver=False, include_dashboard=False, configure_logging=False)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture
def cluster(running: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs connect to the cluster that is there."""
    monkeypatch.setenv("RAY_ADDRESS", running)


def _start(place: Path, out: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "leeroo", "run", "input.parquet", "--pool", "pool.toml", "--out", out]
    return subprocess.Popen(
        [*command, "--store", f"store-{out}", *options], cwd=place, stderr=subprocess.PIPE, text=True
    )


def _finish(run: subprocess.Popen[str]) -> str:
    _, printed = run.communicate(timeout=300)
    assert run.returncode == 0, printed
    return printed


def _workers() -> Iterator[psutil.Process]:
    """Yield the actors' processes, which are of the cluster and no children of the run."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(part.startswith("ray::Worker") for part in process.cmdline()):
                yield process


def test_the_table_is_that_of_a_local_run(place: Path, api: Any) -> None:
    """Row by row, but for the time that answers took."""
    _finish(_start(place, "local.parquet"))
    _finish(_start(place, "ray.parquet", "--engine", "ray"))
    local, ray = (pq.read_table(place / f"{name}.parquet") for name in ("local", "ray"))
    for name in local.column_names:
        if name != "latency_ms":
            assert ray.column(name).equals(local.column(name)), name


@pytest.mark.usefixtures("cluster")
def test_a_budget_holds_there_too(place: Path) -> None:
    """One that lets the large expert answer some of the rows."""
    _finish(_start(place, "out.parquet", "--max-cost-usd", "0.05", "--engine", "ray"))
    table = pq.read_table(place / "out.parquet")
    assert set(table.column("expert").to_pylist()) == {"large", "small"}
    assert sum(table.column("cost_usd").to_pylist()) <= 0.05
    assert table.column("error").null_count == ROWS


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_is_killed_costs_its_calls_in_flight(place: Path, api: Any) -> None:
    """The others and its successor answer the rest."""
    api.delay_s = 0.2
    run = _start(place, "out.parquet", "--engine", "ray")
    until = time.monotonic() + 120
    while sum(api.asked.values()) < 100 and time.monotonic() < until:
        time.sleep(0.05)
    killed = list(_workers())
    assert killed
    killed[0].kill()
    _finish(run)
    table = pq.read_table(place / "out.parquet")
    assert table.column("answer").to_pylist() == [f"echo: question number {i % 500}" for i in range(ROWS)]
    assert table.column("error").null_count == ROWS
    assert len(api.asked) == 500
    assert sum(n - 1 for n in api.asked.values()) <= IN_FLIGHT


def test_the_resources_of_an_expert_are_in_its_entry(place: Path) -> None:
    """Resources are written in the expert's entry, and unknown keys are named."""
    assert load_pool(place / "pool.toml")["large"].ray.replicas == 2
    text = (place / "pool.toml").read_text().replace("num_cpus", "num_cpu")
    (place / "pool.toml").write_text(text)
    run = _start(place, "out.parquet", "--engine", "ray")
    _, printed = run.communicate(timeout=60)
    assert (run.returncode, "unknown key 'ray.num_cpu'" in printed) == (2, True), printed


@pytest.mark.vllm
@pytest.mark.usefixtures("cluster")
def test_vllm_requests_no_gpu_where_the_cluster_has_none(place: Path) -> None:
    """An actor requests no GPU that the cluster does not have, because it would never start."""
    (place / "pool.toml").write_text(
        """[[expert]]
name = "one"
model = "HuggingFaceTB/SmolLM2-135M-Instruct"
backend = "vllm"
usd_per_m_input = 1
usd_per_m_output = 1
max_tokens = 4
[expert.engine]
max_model_len = 512
"""
    )
    _finish(_start(place, "out.parquet", "--engine", "ray", "--limit", "4"))
    assert pq.read_table(place / "out.parquet").column("error").null_count == 4
