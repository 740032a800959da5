"""Limits of requests and tokens a minute cost a run time, and nothing else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from leeroo.engine.answer import Criteria, Progress
from leeroo.engine.backends.api.limits import pace
from tests.engine.api import expert, opened, questions
from tests.provider import Provider, running
from tests.rate_limits import RateLimit, Says

ROWS = 100


@pytest.fixture
def provider() -> Any:
    """Provide a provider of its own for each test."""
    with running() as server:
        yield server


@pytest.fixture
def short_minute(monkeypatch: pytest.MonkeyPatch) -> float:
    """Let a minute, and pauses, last a sixtieth."""
    for name in ("_MINUTE_S", "_FIRST_PAUSE_S", "_LONGEST_PAUSE_S"):
        monkeypatch.setattr(pace, name, getattr(pace, name) / 60)
    return 1.0


@pytest.mark.parametrize(
    ("in_pool", "sliding", "says"),
    [
        (True, False, "openai"),
        (True, True, "nothing"),
        (False, False, "openai"),
        (False, True, "openai"),
        (False, False, "retry-after"),
        (False, True, "nothing"),
    ],
)
def test_no_row_is_lost_at_a_limited_provider(
    provider: Provider, tmp_path: Path, short_minute: float, in_pool: bool, sliding: bool, says: Says
) -> None:
    """Every row is answered and paid for once, and no expert is given up, whoever knows of the limits."""
    provider.limit = limit = RateLimit(40, 1000, short_minute, sliding=sliding, says=says)
    known = {"requests_per_minute": 40, "tokens_per_minute": 1000} if in_pool else {}
    seen: list[Progress] = []
    with opened(tmp_path, expert(provider, engine={"concurrency": 64, **known}), seen=seen) as engine:
        out = engine.answer_table(questions(*(f"q{i}" for i in range(ROWS))), Criteria())
    assert out.column("answer").to_pylist() == [f"echo: q{i}" for i in range(ROWS)]
    assert len(provider.bills) == ROWS
    assert sum(provider.asked.values()) == ROWS + limit.refused
    assert math.fsum(out.column("cost_usd").to_pylist()) == pytest.approx(provider.account_usd)
    assert seen[-1].warnings == ()


def test_explain_tells_the_time_under_limits(provider: Provider, tmp_path: Path) -> None:
    """An expert takes its rows over its requests a minute, or its tokens over its tokens a minute, the larger."""
    slow = expert(provider, "slow", engine={"requests_per_minute": 10})
    large = expert(provider, "large", engine={"requests_per_minute": 600, "tokens_per_minute": 60})
    table = ([f"q{i}" for i in range(20)], ["slow"] * 10 + ["large"] * 10)
    with opened(tmp_path, slow, large) as engine:
        plan = engine.explain(questions(*table[0], experts=table[1]), Criteria(ask_column="ask"))
    by_name = {part.expert: part for part in plan.parts}
    assert by_name["slow"].seconds == pytest.approx(60)
    tokens = by_name["large"].prompt_tokens + by_name["large"].completion_tokens
    assert by_name["large"].seconds == pytest.approx(tokens, abs=1)
    assert plan.seconds == max(part.seconds or 0 for part in plan.parts)  # both are at work at the same time
    assert "Limits of requests and tokens a minute: slow at least 60 s" in str(plan)


def test_experts_of_one_account_share_the_time(provider: Provider, tmp_path: Path) -> None:
    """Two experts that ask one model take as long as their rows together, under the least of their limits."""
    plain = expert(provider, "m", engine={"requests_per_minute": 10})
    brief = plain.model_copy(update={"name": "brief", "engine": {**plain.engine, "timeout": 10.0}})
    table = ([f"q{i}" for i in range(20)], ["m"] * 10 + ["brief"] * 10)
    with opened(tmp_path, plain, brief) as engine:
        plan = engine.explain(questions(*table[0], experts=table[1]), Criteria(ask_column="ask"))
    assert plan.seconds == pytest.approx(120)


def test_the_time_that_is_left_is_no_less_than_the_limits_need(provider: Provider, tmp_path: Path) -> None:
    """However fast the first answers come, progress does not promise what the limits do not allow."""
    seen: list[Progress] = []
    limited = expert(provider, engine={"requests_per_minute": 120})
    with opened(tmp_path, limited, seen=seen) as engine:
        engine.answer_table(questions(*(f"q{i}" for i in range(6))), Criteria())
    first = next(each for each in seen if each.stage == "generate" and each.seconds_left is not None)
    assert first.seconds_left is not None
    assert 2 < first.seconds_left <= 3
