"""Engines of real models in a run: each is loaded once, and one that breaks costs its wave."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Engine, Progress
from leeroo.engine.backends.identity import engine_key
from leeroo.engine.pool import load_pool
from leeroo.engine.schema import ASK

_EXPERT = """
[[expert]]
name = "{name}"
model = "HuggingFaceTB/SmolLM2-135M-Instruct"
backend = "transformers"
usd_per_m_input = {price}
usd_per_m_output = {price}
max_tokens = {tokens}
[expert.engine]
max_model_len = {context}
batch_size = 16
"""


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Two experts with an engine each."""
    (tmp_path / "pool.toml").write_text(
        _EXPERT.format(name="one", price=1, tokens=40, context=512)
        + _EXPERT.format(name="two", price=2, tokens=4, context=600)
    )
    return Engine(load_pool(tmp_path / "pool.toml"), store=tmp_path / "store")


def _asked_of(experts: list[str]) -> pa.RecordBatchReader:
    """Return a question for each of these experts; '' leaves the choice to the engine."""
    n = len(experts)
    asked = {"expert": [name or None for name in experts], "max_tokens": [3 if name else None for name in experts]}
    columns = [pa.array(asked[f.name], f.type) if f.name in asked else pa.nulls(n, f.type) for f in ASK]
    ask = pa.StructArray.from_arrays(columns, fields=list(ASK))
    return pa.table({"question": [f"What is {i} plus 1?" for i in range(n)], "ask": ask}).to_reader()


def _children() -> list[psutil.Process]:
    alive = [p for p in psutil.Process(os.getpid()).children() if p.status() != psutil.STATUS_ZOMBIE]
    return [p for p in alive if "leeroo.engine.backends.workers.launch" in p.cmdline()]


def test_two_alternating_experts_are_loaded_once(engine: Engine) -> None:
    """Each engine is loaded once, for rows that alternate and for a second table of the same kind."""
    with engine:
        for _ in range(2):
            rows = engine.answer_table(_asked_of(["one", "two"] * 5), Criteria(ask_column="ask")).to_pylist()
            assert [row["expert"] for row in rows] == ["one", "two"] * 5
        assert len(_children()) == 2
        for expert in engine.pool.experts:
            measured = engine.store.engine(engine_key(expert))
            assert measured.load_s is not None
            assert measured.memory_bytes is not None
            assert measured.memory_bytes > 400e6
    assert _children() == []


def test_an_engine_out_of_memory_costs_its_wave(engine: Engine) -> None:
    """When the kernel kills an engine, its answers stay, and the next best expert answers the rest."""
    snapshots: list[Progress] = []

    def kill(progress: Progress) -> None:
        if progress.rows_done and not snapshots:
            _children()[0].kill()
            snapshots.append(progress)

    engine.on_progress = kill
    with engine:
        rows = engine.answer_table(_asked_of([""] * 60), Criteria(ask_column="ask")).to_pylist()
    assert 0 < snapshots[0].rows_done < 60
    assert [row["error"] for row in rows] == [None] * 60
    assert {row["expert"] for row in rows} == {"one", "two"}
