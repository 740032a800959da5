"""One model at two efforts is two experts: asked, answered, priced and stored apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria
from leeroo.engine.schema import ASK
from tests.engine.api import expert, opened, questions
from tests.provider import Provider, running


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Provide a provider whose model thinks as hard as it is asked to."""
    with running() as server:
        server.does = {"": "thinks_by_effort"}
        yield server


def test_two_efforts_of_a_model_are_two_experts(provider: Provider, tmp_path: Path) -> None:
    """Each is asked with its own effort and limit, and neither reads the other's stored answers."""
    quick = expert(provider, "quick", effort="none")
    slow = expert(provider, "slow", effort="high").model_copy(update={"model": "quick"})
    with opened(tmp_path, quick, slow) as engine:
        rows = [
            engine.answer_table(questions("hi"), Criteria(expert=name)).to_pylist()[0] for name in ("quick", "slow")
        ]
        again = engine.answer_table(questions("hi"), Criteria(expert="slow")).to_pylist()[0]
    assert [row["reasoning_tokens"] for row in rows] == [0, 400]
    assert [body["reasoning_effort"] for body in provider.bodies] == ["none", "high"]
    assert [body["max_tokens"] for body in provider.bodies] == [8, 8 + 24_576]
    assert rows[1]["cost_usd"] == pytest.approx(rows[0]["cost_usd"] + 400 * 2e-6)
    assert (again["reasoning_tokens"], again["cost_usd"]) == (400, 0)


def test_a_row_limits_the_answer_and_an_expert_its_thoughts(provider: Provider, tmp_path: Path) -> None:
    """Thoughts come on top of a row's `max_tokens`; a row that sets both limits is taken at its word."""
    ask = [
        dict.fromkeys(ASK.names) | {"max_tokens": 5},
        dict.fromkeys(ASK.names) | {"max_tokens": 5, "reasoning_effort": "low"},
    ]
    table = pa.table({"question": ["a", "b"], "ask": pa.array(ask, pa.struct(list(ASK)))})
    with opened(tmp_path, expert(provider, effort="2000")) as engine:
        engine.answer_table(table.to_reader(), Criteria(ask_column="ask"))
    limits = {body["messages"][-1]["content"]: body["max_tokens"] for body in provider.bodies}
    assert limits == {"a": 2005, "b": 5}


def test_thoughts_are_forecast_and_held_in_the_budget(provider: Provider, tmp_path: Path) -> None:
    """A thinking expert can cost all that it may think, and is expected to cost a part of that."""
    quick, slow = expert(provider, "quick", effort="none"), expert(provider, "slow", effort="low")
    with opened(tmp_path, quick, slow) as engine:
        expected = engine.expect(questions("hi"), Criteria())
    assert expected.at_most[0, 1] - expected.at_most[0, 0] == pytest.approx(1024 * 2e-6)
    assert expected.costs[0, 1] - expected.costs[0, 0] == pytest.approx(256 * 2e-6)


def test_the_text_of_thoughts_is_kept_only_where_it_is_wanted(provider: Provider, tmp_path: Path) -> None:
    """The column `reasoning` comes with `keep_reasoning`, also for stored answers that have kept it."""
    with opened(tmp_path, expert(provider, effort="low")) as engine:
        plain = engine.answer_table(questions("one"), Criteria())
        kept = engine.answer_table(questions("one", "two"), Criteria(keep_reasoning=True)).to_pylist()
        again = engine.answer_table(questions("two"), Criteria(keep_reasoning=True)).to_pylist()
    assert "reasoning" not in plain.column_names
    assert [row["reasoning"] for row in kept] == [None, "Let me see."]
    assert [row["reasoning"] for row in again] == ["Let me see."]


def test_a_row_that_is_thought_about_to_the_end_goes_to_another_expert(provider: Provider, tmp_path: Path) -> None:
    """A reply that ends by its limit before an answer is paid for, and the next expert answers."""
    provider.does = {"": "length_in_reasoning"}
    provider.says = lambda model, prompt: "Paris"
    slow, quick = expert(provider, "slow", effort="low"), expert(provider, "quick", usd_per_m_output=3)
    with running() as other, opened(tmp_path, slow, quick.model_copy(update={"base_url": other.url})) as engine:
        (row,) = engine.answer_table(questions("hi"), Criteria()).to_pylist()
    assert (row["expert"], row["error"]) == ("quick", None)
    assert row["cost_usd"] > row["list_cost_usd"]
