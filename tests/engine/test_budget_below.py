"""A budget binds from below too: money that is left buys better answers while there are rows it can buy them for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from leeroo.engine.answer import Criteria
from leeroo.engine.batch.budget import Ledger
from leeroo.engine.batch.forecast import _LENGTHS_KNOWN
from tests.engine.api import expert, opened, questions
from tests.provider import Provider, running

PROMPTS = [f"question {i}" for i in range(300)]


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Provide a provider whose answers have 40 tokens where 64 are allowed, of two experts at 10 and 1 USD."""
    with running() as server:
        server.usage = (12, 40)
        server.usd_per_m |= {"large": (10.0, 10.0), "small": (1.0, 1.0)}
        yield server


def _experts(provider: Provider) -> list[object]:
    return [
        expert(provider, name, usd_per_m_input=usd, usd_per_m_output=usd, max_tokens=64)
        for name, usd in (("large", 10), ("small", 1))
    ]


def test_savings_by_shorter_answers_are_spent(provider: Provider, tmp_path: Path) -> None:
    """Where answers take 40 tokens instead of 64, rows move to the better expert until little is left."""
    budget = 150 * 52 * 10 / 1e6
    with opened(tmp_path, *_experts(provider)) as engine:  # type: ignore[arg-type]
        out = engine.answer_table(questions(*PROMPTS), Criteria(max_cost_usd=budget))
    assert out.column("error").null_count == len(PROMPTS)
    assert 0.9 * budget < provider.account_usd <= budget


def test_choices_are_corrected_by_what_answers_cost_against_the_forecast(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second choice corrects the forecast too, not what the first one had corrected: that ends at the square root."""
    corrections: list[float] = []
    plan = Ledger.plan

    def noted(ledger: Ledger, expected: np.ndarray, *, binding: bool) -> None:
        corrections.append(float(ledger.correction()[0]))
        plan(ledger, expected, binding=binding)

    monkeypatch.setattr(Ledger, "plan", noted)
    provider.usage, provider.delay_s = (12, 8), 0.01
    with opened(tmp_path, _experts(provider)[0]) as engine:  # type: ignore[arg-type]
        routes = engine.route(questions(*PROMPTS), Criteria()).read_all()
        expected = sum(routes.column("expected_cost_usd").to_pylist()) / len(PROMPTS)
        actual = 20 * 10 / 1e6
        engine.answer_table(questions(*PROMPTS), Criteria(max_cost_usd=0.8 * len(PROMPTS) * actual))
    assert len(corrections) > 3
    assert corrections[-1] == pytest.approx(actual / expected, rel=0.05)


def test_a_small_budget_is_spent_to_its_end(provider: Provider, tmp_path: Path) -> None:
    """With a budget of a few worst calls rows are answered until the rest is less than any row can cost."""
    large = _experts(provider)[0]
    budget = 12 * 52 * 10 / 1e6
    with opened(tmp_path, large) as engine:  # type: ignore[arg-type]
        out = engine.answer_table(questions(*PROMPTS[:40]), Criteria(max_cost_usd=budget))
    a_row = (64 + len(PROMPTS[0]) + 64 + 64) * 10 / 1e6
    assert budget - a_row < provider.account_usd <= budget
    errors = set(out.column("error").drop_null().to_pylist())
    assert len(errors) == 1
    assert "less than the row can cost; raise it, or lower max_tokens" in errors.pop()


def test_a_budget_below_the_cheapest_still_buys_answers(provider: Provider, tmp_path: Path) -> None:
    """Too little for all rows by the cheapest expert still buys answers, of that expert too."""
    budget = 100 * 76 * 1 / 1e6
    with opened(tmp_path, *_experts(provider)) as engine:  # type: ignore[arg-type]
        out = engine.answer_table(questions(*PROMPTS), Criteria(max_cost_usd=budget))
    assert out.column("error").null_count >= 100
    assert provider.account_usd <= budget


def test_lengths_are_learned_from_the_store(provider: Provider, tmp_path: Path) -> None:
    """Without a router an expert is expected to write as long as its stored answers are."""
    with opened(tmp_path, *_experts(provider)) as engine:  # type: ignore[arg-type]
        before = engine.explain(questions(*PROMPTS), Criteria())
        engine.answer_table(questions(*PROMPTS[: _LENGTHS_KNOWN + 1]), Criteria())
        after = engine.explain(questions(*PROMPTS[20:]), Criteria())
    assert before.parts[0].completion_tokens == 64 * before.parts[0].prompts
    assert after.parts[0].completion_tokens == 40 * after.parts[0].prompts
