"""Prices in a run: free experts, bounds at the highest price, and whose prices they were."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.answer import Criteria, Progress
from leeroo.engine.pool import Expert
from leeroo.engine.pool_prices import with_prices
from tests.engine.api import expert, opened, questions
from tests.provider import Provider, running


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Provide a provider of its own for each test."""
    with running() as server:
        yield server


def _listed(provider: Provider, model: str, at: str, **more: Any) -> Expert:
    """Return an expert of the fake provider that has the list price of a real one."""
    entry = {"name": "listed", "model": model, "backend": "openai", "max_tokens": 100, **more}
    filled = with_prices({**entry, "base_url": at})
    return Expert.model_validate({**filled, "base_url": provider.url})


GEMINI = ("gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1beta/openai")
CLAUDE = ("claude-haiku-4-5", "https://api.anthropic.com/v1")
DEEPSEEK = ("deepseek-v4-pro", "https://api.deepseek.com")


@pytest.mark.parametrize(
    ("which", "bytes_of_prompt", "usd"),
    [
        # A byte may be a token: with the chat template that is a long prompt, though it will hardly be one.
        (GEMINI, 200_000 - 64, (200_000 * 1.25 + 100 * 10) / 1e6),
        (GEMINI, 200_001 - 64, (200_001 * 2.5 + 100 * 15) / 1e6),
        (CLAUDE, 10_000 - 64, (10_000 * 1.25 + 100 * 5) / 1e6),  # all of the prompt may be written to the cache
        (DEEPSEEK, 10_000 - 64, (10_000 * 1.32 + 100 * 3.96) / 1e6),  # at the peak of the day
    ],
)
def test_bounds_are_at_the_highest_price(
    provider: Provider, tmp_path: Path, which: tuple[str, str], bytes_of_prompt: int, usd: float
) -> None:
    """The most that a row can cost is at the price of long prompts, of cache writes, and of the worst hour."""
    with opened(tmp_path, _listed(provider, *which)) as engine:
        expected = engine.expect(questions("x" * bytes_of_prompt), Criteria())
    assert expected.at_most[0, 0] == pytest.approx(usd, rel=1e-6)
    assert expected.costs[0, 0] < expected.at_most[0, 0]


def test_an_answer_costs_the_list_price_of_its_call(provider: Provider, tmp_path: Path) -> None:
    """Row, run and spend hold what genai-prices computes of the usage of the reply, and the run whose price it was."""
    provider.reports = {
        "prompt_tokens": 5000,
        "completion_tokens": 100,
        "prompt_tokens_details": {"cached_tokens": 3000, "cache_write_tokens": 1500},
    }
    provider.does = {"": "usage_given"}
    seen: list[Progress] = []
    claude = _listed(provider, *CLAUDE)
    with opened(tmp_path, claude, expert(provider, "other"), seen=seen) as engine:
        (row,) = engine.answer_table(questions("hi"), Criteria()).to_pylist()
        (run,) = engine.store.runs()
        assert engine.store.spend()[0]["cost_usd"] == pytest.approx(3175e-6)
    assert (row["cost_usd"], row["list_cost_usd"]) == (pytest.approx(3175e-6), pytest.approx(3175e-6))
    assert run["prices"] == f"listed: {claude.price_source}; other: pool file"
    assert "genai-prices" in run["prices"]
    assert seen[-1].price_sources == {"listed": claude.price_source, "other": "pool file"}


def test_a_job_is_the_same_on_a_day_with_other_list_prices(provider: Provider, tmp_path: Path) -> None:
    """A list price that changed makes no other job of a run that was killed; a price in the pool file does."""
    experts = (_listed(provider, *CLAUDE), expert(provider, "own"))
    for each in experts:
        for now in (each, each.model_copy(update={"usd_per_m_input": 99.0})):
            with opened(tmp_path / each.name, now) as engine:
                engine.answer_table(questions("hi"), Criteria())
    assert [_jobs(tmp_path / each.name) for each in experts] == [1, 2]


def _jobs(store: Path) -> int:
    with contextlib.closing(sqlite3.connect(store / "answers.sqlite")) as db:
        return int(db.execute("SELECT count(DISTINCT job) FROM runs").fetchone()[0])


def test_a_free_expert_answers_under_any_budget(provider: Provider, tmp_path: Path) -> None:
    """What costs nothing fits every budget, is not held against it, and its answers are stored like others."""
    free = expert(provider, "free", usd_per_m_input=0, usd_per_m_output=0)
    with opened(tmp_path, expert(provider, "paid"), free) as engine:
        prompts = [f"question {i}" for i in range(20)]
        bound = float(engine.expect(questions(prompts[0]), Criteria()).at_most[0, 0])
        rows = engine.answer_table(questions(*prompts), Criteria(max_cost_usd=3.5 * bound)).to_pylist()
    by = {name: [row for row in rows if row["expert"] == name] for name in ("paid", "free")}
    assert all(row["error"] is None for row in rows)
    assert len(by["free"]) > 0
    assert len(by["paid"]) > 0
    assert {row["cost_usd"] for row in by["free"]} == {0.0}
    assert sum(row["cost_usd"] for row in by["paid"]) <= 3.5 * bound


def test_a_pool_of_free_experts_needs_no_money(provider: Provider, tmp_path: Path) -> None:
    """A budget of next to nothing is enough for experts that cost nothing, and the plan says that they are free."""
    free = [expert(provider, name, usd_per_m_input=0, usd_per_m_output=0) for name in ("first", "second")]
    with opened(tmp_path, *free) as engine:
        criteria = Criteria(max_cost_usd=1e-9)
        plan = engine.explain(questions("one", "two"), criteria)
        rows = engine.answer_table(questions("one", "two"), criteria).to_pylist()
    assert "Prices: first: price 0 in the pool file" in str(plan)
    assert plan.over_budget == 0
    assert [row["error"] for row in rows] == [None, None]


def test_recorded_costs_of_a_batch_expert_are_discounted(data_folder: Path, tmp_path: Path) -> None:
    """An expert that replays what was recorded at full price costs its part of that, where it answers in batches."""
    outcomes = pq.read_table(data_folder / "outcomes.parquet").drop_columns(["cost_usd"])
    pq.write_table(
        outcomes.append_column("cost_usd", pa.array([0.02] * len(outcomes))), data_folder / "outcomes.parquet"
    )
    given: dict[str, Any] = {"usd_per_m_input": 100, "usd_per_m_output": 100, "batch": True, "batch_discount": 0.4}
    slow = Expert(name="large", model=str(data_folder), backend="replay", **given)
    with opened(tmp_path / "store", slow) as engine:
        (row,) = engine.answer_table(questions("What is 4 plus 4?"), Criteria()).to_pylist()
    assert (row["error"], row["cost_usd"]) == (None, pytest.approx(0.008))
