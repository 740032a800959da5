"""Spending caps hold over runs: rows go where there is room, and say when a cap opens again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Engine, Progress
from leeroo.engine.batch import run as running_run
from leeroo.engine.pool import Expert
from leeroo.engine.store.runs import release
from leeroo.engine.store.store import Store
from tests.engine.api import expert, opened, questions
from tests.provider import Provider, running
from tests.store.conftest import claimed, keys

PROMPTS = [f"question {i}" for i in range(60)]
# USD of an answer of the expert `large`: 12 tokens in, and 40 out of 64 that it may have.
LARGE = 52 * 10 / 1e6


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Provide a provider of two experts at 10 and 1 USD a million tokens."""
    with running() as server:
        server.usage = (12, 40)
        server.usd_per_m |= {"large": (10.0, 10.0), "small": (1.0, 1.0), "free": (0.0, 0.0)}
        yield server


def _expert(provider: Provider, name: str, usd: float) -> Expert:
    return expert(provider, name, usd_per_m_input=usd, usd_per_m_output=usd, max_tokens=64)


def _answer(store: Path, *experts: Expert, seen: list[Progress] | None = None, budget: float | None = None) -> pa.Table:
    with opened(store, *experts, seen=seen) as engine:
        return engine.answer_table(questions(*PROMPTS), Criteria(max_cost_usd=budget))


def _set(store: Path, usd: float, expert: str = "") -> None:
    opened_store = Store(store)
    opened_store.set_caps({"day": usd}, expert)
    opened_store.close()


def test_rows_beyond_a_cap_say_when_it_opens(tmp_path: Path, provider: Provider) -> None:
    """Answers come until less is left than a row can cost; nothing more is sent then, by any run."""
    _set(tmp_path, 20.5 * LARGE)
    out = _answer(tmp_path, _expert(provider, "large", 10))
    assert provider.account_usd <= 20.5 * LARGE
    assert 15 <= 60 - out.column("answer").null_count <= 20
    [error] = set(out.column("error").drop_null().to_pylist())
    assert error.startswith("the daily cap of $0.01066 for all experts is used up but for $0.00")
    assert " less than the row can cost; it opens again at 20" in error
    assert error.endswith("00:00 UTC")
    sent = len(provider.calls)
    with opened(tmp_path, _expert(provider, "large", 10)) as engine:
        [row] = engine.answer_table(questions("another question"), Criteria()).to_pylist()
    assert "the daily cap of $0.01066 for all experts is used up" in row["error"]
    assert len(provider.calls) == sent


def test_a_repeated_run_costs_nothing_under_a_cap(tmp_path: Path, provider: Provider) -> None:
    """Stored answers are read though the cap is used up, and those that are missing say so."""
    _set(tmp_path, 20.5 * LARGE)
    first = _answer(tmp_path, _expert(provider, "large", 10))
    sent = len(provider.calls)
    again = _answer(tmp_path, _expert(provider, "large", 10))
    assert again.column("answer").equals(first.column("answer"))
    assert sum(again.column("cost_usd").to_pylist()) == 0
    assert len(provider.calls) == sent


def test_rows_beyond_the_cap_of_an_expert_go_to_others(tmp_path: Path, provider: Provider) -> None:
    """The expert gets what its cap pays for, the next best the rest."""
    _set(tmp_path, 30.5 * LARGE, "large")
    seen: list[Progress] = []
    out = _answer(tmp_path, _expert(provider, "large", 10), _expert(provider, "small", 1), seen=seen)
    assert out.column("error").null_count == 60
    by_large = out.column("expert").to_pylist().count("large")
    assert 20 <= by_large <= 30
    assert any("the daily cap of $0.01586 for the expert 'large' leaves $0.01586 until" in w for w in seen[-1].warnings)


def test_a_cap_is_a_budget_for_the_choice(tmp_path: Path, provider: Provider) -> None:
    """All rows get an answer where cheaper experts fit, not the first of them the best one."""
    _set(tmp_path, 30 * LARGE)
    out = _answer(tmp_path, _expert(provider, "large", 10), _expert(provider, "small", 1))
    assert out.column("error").null_count == 60
    assert {"large", "small"} == set(out.column("expert").to_pylist())
    assert provider.account_usd <= 30 * LARGE


def test_a_free_expert_answers_beyond_a_cap(tmp_path: Path, provider: Provider) -> None:
    """A cap of nothing leaves what costs nothing."""
    _set(tmp_path, 0)
    out = _answer(tmp_path, _expert(provider, "large", 10), _expert(provider, "free", 0))
    assert set(out.column("expert").to_pylist()) == {"free"}
    assert provider.account_usd == 0


def test_an_expert_that_a_row_names_is_beyond_its_cap(tmp_path: Path, provider: Provider) -> None:
    """The row goes to nobody else."""
    _set(tmp_path, 0, "large")
    with opened(tmp_path, _expert(provider, "small", 1), _expert(provider, "large", 10)) as engine:
        out = engine.answer_table(questions("q"), Criteria(expert="large")).to_pylist()
    assert out[0]["error"].startswith("the daily cap of $0.00 for the expert 'large' is used up; it opens again at ")


def test_a_budget_below_a_cap_is_named(tmp_path: Path, provider: Provider) -> None:
    """The error names what stopped the row, the budget of the run or the cap."""
    _set(tmp_path, 1.0)
    out = _answer(tmp_path, _expert(provider, "large", 10), budget=2 * LARGE)
    errors = set(out.column("error").drop_null().to_pylist())
    assert {error.partition(" of $")[0] for error in errors} == {"the budget"}


def test_money_that_others_hold_is_awaited(tmp_path: Path, provider: Provider) -> None:
    """A run waits for what requests of another hold, and goes on when they cost less."""
    _set(tmp_path, 1.0)
    other = Store(tmp_path)
    run = other.begin("other", 1)
    claimed(other, run, keys("x"), [1.0])
    seen: list[Progress] = []
    threading.Timer(1.5, lambda: other.finish(run, 0, 0)).start()
    out = _answer(tmp_path, _expert(provider, "large", 10), seen=seen)
    assert out.column("error").null_count == 60
    assert "other runs hold what a spending cap leaves: their answers are awaited" in seen[-1].warnings


def test_money_that_others_hold_for_long_is_not(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows fail then, and say why."""
    monkeypatch.setattr(running_run, "_OTHERS_S", 0.01)
    _set(tmp_path, 1.0)
    other = Store(tmp_path)
    run = other.begin("other", 1)
    claimed(other, run, keys("x"), [1.0])
    out = _answer(tmp_path, _expert(provider, "large", 10))
    [error] = set(out.column("error").to_pylist())
    assert error.startswith(
        "the daily cap of $1.00 for all experts is held by requests under way ($0.00 used, $1.00 held); it opens again"
    )
    assert not provider.calls
    release(run)


def test_explain_says_what_a_cap_leaves(tmp_path: Path, provider: Provider) -> None:
    """Where the plan is expected to cost more."""
    with opened(tmp_path, _expert(provider, "large", 10)) as engine:
        assert "cap" not in str(engine.explain(questions(*PROMPTS), Criteria()))
        engine.store.set_caps({"month": LARGE})
        said = str(engine.explain(questions(*PROMPTS), Criteria()))
    assert "Note: the monthly cap of $0.00052 for all experts leaves $0.00052 until 20" in said
    assert "and these rows are expected to cost $0.0" in said


def test_recorded_answers_count(engine: Engine) -> None:
    """A replayed expert has a cost in the world that is replayed, and keeps to caps there."""
    engine.store.set_caps({"day": 10.5 * 15 * 100 / 1e6})
    out = engine.answer_table(questions(*(f"What is {i} plus {i}?" for i in range(40))), Criteria(expert="large"))
    assert out.column("answer").null_count > 25
    assert sum(out.column("cost_usd").to_pylist()) <= 10.5 * 15 * 100 / 1e6
    assert "the daily cap of" in out.column("error").to_pylist()[-1]
