"""Whatever a provider bills is counted: in the row, in the summary, in the store and against the budget."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Progress
from leeroo.engine.errors import Interrupted
from tests.engine.api import expert, opened, questions
from tests.provider import Provider, running

PROMPTS = [f"question {i}" for i in range(30)]


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Provide a provider of its own for each test."""
    with running() as server:
        yield server


def _cost(rows: list[dict[str, Any]]) -> float:
    return math.fsum(row["cost_usd"] for row in rows)


@pytest.mark.parametrize("name", ["content_filter", "null_length", "refusal", "empty_stop", "length_in_reasoning"])
def test_a_failed_row_costs_its_bill(provider: Provider, tmp_path: Path, name: str) -> None:
    """Replies that hold no answer are billed, and the row, the summary and the store say so."""
    provider.mix = {"ok": 1, name: 2}
    seen: list[Progress] = []
    with opened(tmp_path, expert(provider), seen=seen) as engine:
        rows = engine.answer_table(questions(*PROMPTS), Criteria()).to_pylist()
        assert _cost(rows) == pytest.approx(provider.account_usd, abs=1e-7)
        assert seen[-1].cost_usd == seen[-1].experts["first"].cost_usd == pytest.approx(_cost(rows))
        assert math.fsum(day["cost_usd"] for day in engine.store.spend()) == pytest.approx(_cost(rows))
    assert 0 < sum(row["error"] is not None for row in rows) < len(PROMPTS)


def test_a_budget_counts_rows_that_fail(provider: Provider, tmp_path: Path) -> None:
    """Two of three replies are filtered after they were billed: the account stays within the budget."""
    provider.mix = {"ok": 1, "content_filter_partial": 2}
    budget = 20 * 18e-6
    with opened(tmp_path, expert(provider)) as engine:
        rows = engine.answer_table(questions(*PROMPTS), Criteria(max_cost_usd=budget)).to_pylist()
    assert 0.5 * budget < provider.account_usd <= budget
    assert _cost(rows) == pytest.approx(provider.account_usd, abs=1e-7)


def test_a_row_that_goes_to_another_expert_costs_both(provider: Provider, tmp_path: Path) -> None:
    """A reply without room for an answer is billed; the expert that answers then is billed too."""
    provider.mix = {"length_in_reasoning": 1}
    provider.usd_per_m["second"] = (3.0, 2.0)
    with opened(tmp_path, expert(provider), expert(provider, "second", usd_per_m_input=3)) as engine:
        rows = engine.answer_table(questions("question 2"), Criteria()).to_pylist()
    assert len(provider.bills) == 2
    assert _cost(rows) == pytest.approx(provider.account_usd, abs=1e-9)


def test_a_resumed_run_counts_earlier_failures(provider: Provider, tmp_path: Path) -> None:
    """A run that is stopped and goes on costs what was billed in both parts."""
    provider.mix = {"refusal": 1}
    provider.delay_s = 0.02

    def stop(progress: Progress) -> None:
        if provider.mix and progress.stage == "generate" and len(provider.bills) > 8:
            provider.mix = {}
            raise Interrupted

    with opened(tmp_path, expert(provider)) as engine:
        engine.on_progress = stop
        with pytest.raises(Interrupted):
            engine.answer_table(questions(*PROMPTS), Criteria())
        rows = engine.answer_table(questions(*PROMPTS), Criteria()).to_pylist()
    assert all(row["error"] is None for row in rows)
    assert len(provider.bills) > len(PROMPTS)
    assert _cost(rows) == pytest.approx(provider.account_usd, abs=1e-7)


def test_cached_tokens_cost_the_cached_price(provider: Provider, tmp_path: Path) -> None:
    """Input tokens that the provider had cached are priced as such where the pool knows the price."""
    provider.mix = {"cached": 1}
    with opened(tmp_path, expert(provider, usd_per_m_cached_input=0.1)) as engine:
        rows = engine.answer_table(questions(*PROMPTS[:3]), Criteria()).to_pylist()
    assert _cost(rows) == pytest.approx(provider.account_usd, abs=1e-9)


def test_estimated_costs_are_reported(provider: Provider, tmp_path: Path) -> None:
    """Replies without usage are priced by an estimate, and one warning says how many."""
    provider.mix = {"usage_missing": 1}
    seen: list[Progress] = []
    with opened(tmp_path, expert(provider), seen=seen) as engine:
        rows = engine.answer_table(questions(*PROMPTS[:3]), Criteria()).to_pylist()
    assert all(row["cost_usd"] > 0 for row in rows)
    assert seen[-1].warnings == ("first did not report the tokens of 3 answers: their cost is an estimate",)


def test_hidden_reasoning_overshoots_by_the_calls_in_flight(provider: Provider, tmp_path: Path) -> None:
    """An expert that bills twenty times the limit is found out by its first answers, and held to that from then on."""
    provider.mix = {"hidden_reasoning": 1}
    a_row = (12 + 2 * 160) / 1e6
    budget = 8 * a_row
    with opened(tmp_path, expert(provider)) as engine:
        rows = engine.answer_table(questions(*PROMPTS), Criteria(max_cost_usd=budget)).to_pylist()
    assert budget / 2 < provider.account_usd <= budget + 4 * a_row
    assert _cost(rows) == pytest.approx(provider.account_usd, abs=1e-7)


def test_a_token_of_every_byte_stays_within_the_budget(provider: Provider, tmp_path: Path) -> None:
    """Tokenizers that make a token of each digit cost four times the usual: the budget holds."""
    provider.usage = lambda prompt, _: (len(prompt), 8)
    budget = 5000 / 1e6
    with opened(tmp_path, expert(provider)) as engine:
        engine.answer_table(questions(*(f"{i:0200}" for i in range(60))), Criteria(max_cost_usd=budget))
    assert 0.8 * budget < provider.account_usd <= budget


def test_a_choice_reserves_the_longest_choice(provider: Provider, tmp_path: Path) -> None:
    """A label reserves its few tokens, so a small budget is not blocked by max_tokens."""
    provider.says = lambda *_: "refund"
    provider.usage = (12, 2)
    ask = pa.array([{"choices": ["refund", "bug"]}] * 10, pa.struct([("choices", pa.list_(pa.string()))]))
    table = pa.table({"question": PROMPTS[:10], "ask": ask})
    criteria = Criteria(ask_column="ask", max_cost_usd=10 * 16e-6 + 250e-6)
    with opened(tmp_path, expert(provider, max_tokens=256)) as engine:
        rows = engine.answer_table(table.to_reader(), criteria).to_pylist()
    assert [row["answer"] for row in rows] == ["refund"] * 10
    assert all(body.get("max_tokens", body.get("max_completion_tokens")) == 6 + 16 for body in provider.bodies)
