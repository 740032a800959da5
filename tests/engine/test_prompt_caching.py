"""Beginnings that rows share are marked for Anthropic's cache where that pays, and written once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.batch.prompts import build_asks
from leeroo.engine.pool import Expert, Pool
from leeroo.engine.prices import CallTokens, ListPrice
from tests.anthropic_api import AnthropicAPI, running
from tests.provider import Provider

# 2,000 tokens of the fake API.
GUIDE = "A line of the guide has forty characters.\n" * 191
CLAUDE = ListPrice(provider="anthropic", model="claude-sonnet-4-5")


@pytest.fixture
def claude() -> Iterator[AnthropicAPI]:
    """Provide a server with Anthropic's API."""
    with running() as server:
        yield server


def _expert(api: AnthropicAPI, **more: Any) -> Expert:
    given: dict[str, Any] = {"usd_per_m_input": 3, "usd_per_m_output": 15, "model": "claude-sonnet-4-5", **more}
    options = {"provider": "anthropic", "concurrency": 8, "max_retries": 0}
    return Expert(name="claude", backend="openai", base_url=api.url, engine=options, list_price=CLAUDE, **given)


def _answer(store: Path, expert: Expert, texts: list[str], **asks: list[Any]) -> list[dict[str, Any]]:
    table = pa.table({"question": texts, "ask": build_asks(len(texts), asks)})
    with Engine(Pool(default=expert.name, experts=(expert,)), store=store) as engine:
        rows: list[dict[str, Any]] = engine.answer_table(table.to_reader(), Criteria(ask_column="ask")).to_pylist()
    assert [row["error"] for row in rows] == [None] * len(rows)
    return rows


def test_a_shared_beginning_is_written_once_and_read_by_all_others(claude: AnthropicAPI, tmp_path: Path) -> None:
    """Twenty questions about one text pay for it once, a quarter more, and nineteen times a tenth."""
    texts = [f"{GUIDE}Question {i:02}: is line {i} like the others?" for i in range(20)]
    rows = _answer(tmp_path, _expert(claude), texts)
    assert claude.marks() == len(claude.bodies) == 20
    assert {json.dumps(body["messages"][0]["content"][0]) for body in claude.bodies} == {
        json.dumps({"type": "text", "text": GUIDE, "cache_control": {"type": "ephemeral"}})
    }
    assert {body["messages"][0]["content"][1]["text"] for body in claude.bodies} == {t[len(GUIDE) :] for t in texts}
    part = len(GUIDE) // 4
    assert sum(usage["cache_creation_input_tokens"] for usage in claude.usages) == part
    assert sum(usage["cache_read_input_tokens"] for usage in claude.usages) == 19 * part
    plain = sum(usage["input_tokens"] for usage in claude.usages)
    bill = (plain * 3 + part * 3.75 + 19 * part * 0.3 + 200 * 15) / 1e6
    assert sum(row["cost_usd"] for row in rows) == pytest.approx(bill)
    whole = CLAUDE.usd(CallTokens(plain + 20 * part, 0)) + 200 * 15e-6
    assert bill < 0.25 * whole


@pytest.mark.parametrize(
    ("texts", "more"),
    [
        ([f"{GUIDE}Only one row has it."], {}),
        (["Short.\n" * 20 + f"Question {i}" for i in range(8)], {}),
        ([f"{i} begins otherwise.\n{GUIDE}" for i in range(8)], {}),
        # The smaller models keep 2,048 tokens or more.
        ([f"{GUIDE[:7000]}Question {i}" for i in range(8)], {"model": "claude-haiku-4-5"}),
    ],
)
def test_nothing_is_marked_where_that_would_not_pay(
    claude: AnthropicAPI, tmp_path: Path, texts: list[str], more: dict[str, Any]
) -> None:
    """A beginning of one row, a short one, or none: requests go out as they are."""
    _answer(tmp_path, _expert(claude, **more), texts)
    assert (claude.marks(), len(claude.bodies)) == (0, len(texts))
    assert all(isinstance(body["messages"][0]["content"], str) for body in claude.bodies)


def test_two_rows_are_enough(claude: AnthropicAPI, tmp_path: Path) -> None:
    """A quarter more once, and nine tenths less once: a beginning of two rows pays."""
    _answer(tmp_path, _expert(claude), [f"{GUIDE}One?", f"{GUIDE}Two?", "Another one."])
    assert (claude.marks(), len(claude.bodies)) == (2, 3)


def test_each_text_is_a_beginning_of_its_own(claude: AnthropicAPI, tmp_path: Path) -> None:
    """Rows about three texts write three beginnings, though the texts begin alike."""
    texts = [f"{GUIDE}Chapter {c}.\n{GUIDE}{q}?" for c in range(3) for q in ("Who", "What", "When", "Where")]
    _answer(tmp_path, _expert(claude), texts)
    assert sum(usage["cache_creation_input_tokens"] > 0 for usage in claude.usages) == 3
    assert claude.marks() == 12


def test_a_shared_system_text_is_marked(claude: AnthropicAPI, tmp_path: Path) -> None:
    """Where only what stands before the prompt is shared, its last message has the mark."""
    _answer(tmp_path, _expert(claude, system=GUIDE), ["One?", "Two?", "Three?"])
    assert [body["system"][0]["cache_control"] for body in claude.bodies] == [{"type": "ephemeral"}] * 3
    assert sum(usage["cache_creation_input_tokens"] > 0 for usage in claude.usages) == 1
    assert {body["messages"][0]["content"] for body in claude.bodies} == {"One?", "Two?", "Three?"}


def test_shared_turns_are_marked_at_their_end(claude: AnthropicAPI, tmp_path: Path) -> None:
    """Examples before the question are kept with the system text; a row that marks turns itself is left as it is."""
    turns = [{"role": "user", "content": GUIDE}, {"role": "assistant", "content": "Yes."}]
    _answer(tmp_path / "a", _expert(claude, system="Say yes."), ["One?", "Two?"], turns=[json.dumps(turns)] * 2)
    for body in claude.bodies:
        assert body["messages"][1]["content"][0]["cache_control"] == {"type": "ephemeral"}
        assert body["messages"][0]["content"] == GUIDE
    claude.bodies.clear()
    own = {"type": "text", "text": GUIDE, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    turns[0] = {"role": "user", "content": [own]}  # type: ignore[dict-item]
    _answer(tmp_path / "b", _expert(claude), ["One?", "Two?"], turns=[json.dumps(turns)] * 2)
    assert [body["messages"][0]["content"] for body in claude.bodies] == [[own]] * 2
    assert json.dumps(claude.bodies).count("cache_control") == 2


@pytest.mark.parametrize(
    ("provider", "model", "marks"),
    [
        ("openrouter", "anthropic/claude-sonnet-4.5", 3),
        ("openrouter", "openai/gpt-5", 0),
        (None, "claude-sonnet-4-5", 0),
    ],
)
def test_only_providers_that_take_marks_get_them(
    api: Provider, tmp_path: Path, provider: str | None, model: str, marks: int
) -> None:
    """OpenRouter passes marks on to Anthropic; OpenAI's form of other servers has none."""
    options = {"max_retries": 0} | ({} if provider is None else {"provider": provider})
    given: dict[str, Any] = {"usd_per_m_input": 3, "usd_per_m_output": 15}
    expert = Expert(name="e", model=model, backend="openai", base_url=api.url, engine=options, **given)
    _answer(tmp_path, expert, [f"{GUIDE}Question {i}" for i in range(3)])
    assert sum("cache_control" in json.dumps(body) for body in api.bodies) == marks


def test_the_forecast_counts_what_came_from_the_cache_lately(claude: AnthropicAPI, tmp_path: Path) -> None:
    """After a run that read most of its prompts from the cache, the next one is expected to cost as little; its bound stays."""
    claude_expert = _expert(claude)
    texts = [f"{GUIDE}Question {i:02}?" for i in range(20)]

    def expected() -> tuple[float, float]:
        with Engine(Pool(default="claude", experts=(claude_expert,)), store=tmp_path) as engine:
            found = engine.expect(
                pa.table({"question": [f"{GUIDE}Another one?"]}).to_reader(), Criteria(expert="claude")
            )
        return float(found.costs[0, 0]), float(found.at_most[0, 0])

    before, bound = expected()
    rows = _answer(tmp_path, claude_expert, texts)
    usage = claude.usages
    share = sum(u["cache_read_input_tokens"] for u in usage) / (20 * (len(texts[0]) // 4))
    after, bound_after = expected()
    prompt = len(f"{GUIDE}Another one?") / 4
    assert before == pytest.approx((prompt * 3 + 256 * 15) / 1e6, rel=1e-5)
    assert after == pytest.approx((prompt * (3 * (1 - share) + 0.3 * share) + 10 * 15) / 1e6, rel=1e-3)
    assert after == pytest.approx(sum(row["cost_usd"] for row in rows) / 20, rel=0.15)
    assert bound_after == bound
