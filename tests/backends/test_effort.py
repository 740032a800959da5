"""An effort reaches each provider in its own parameters; what it refuses is found out once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from leeroo.engine.backends.api.effort import effort_form
from tests.provider import Provider

if TYPE_CHECKING:
    from tests.backends.conftest import Ask


@pytest.mark.parametrize(
    ("host", "effort", "sent"),
    [
        ("api.openai.com", "low", {"reasoning_effort": "low"}),
        ("api.openai.com", "5000", {"reasoning_effort": "medium"}),
        ("me.openai.azure.com", "none", {"reasoning_effort": "none"}),
        ("api.anthropic.com", "2048", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("api.anthropic.com", "none", {"thinking": {"type": "disabled"}}),
        ("generativelanguage.googleapis.com", "high", {"reasoning_effort": "high"}),
        (
            "generativelanguage.googleapis.com",
            "800",
            {"extra_body": {"google": {"thinking_config": {"thinking_budget": 800}}}},
        ),
        ("api.deepseek.com", "none", {"thinking": {"type": "disabled"}}),
        ("api.deepseek.com", "high", {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}),
        ("dashscope-intl.aliyuncs.com", "none", {"enable_thinking": False}),
        ("dashscope-intl.aliyuncs.com", "low", {"enable_thinking": True, "thinking_budget": 1024}),
        ("openrouter.ai", "medium", {"reasoning": {"effort": "medium"}}),
        ("openrouter.ai", "300", {"reasoning": {"max_tokens": 300}}),
        ("api.fireworks.ai", "300", {"reasoning_effort": 300}),
        (
            "127.0.0.1",
            "none",
            {"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
        ),
        # A name that only ends alike is another host.
        (
            "notopenai.com",
            "low",
            {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
        ),
    ],
)
def test_each_provider_has_its_own_parameters(host: str, effort: str, sent: dict[str, Any]) -> None:
    """Levels and tokens are written as the provider documents them."""
    assert effort_form(host, None)(effort, frozenset()) == sent


def test_any_llm_maps_levels_itself() -> None:
    """Providers behind any-llm-sdk get OpenAI's level."""
    assert effort_form(None, "anthropic")("9000", frozenset()) == {"reasoning_effort": "high"}


def test_a_model_that_sets_its_own_tokens_gets_a_level() -> None:
    """Where a number of tokens for thoughts is refused, Anthropic's newer form is used."""
    form = effort_form("api.anthropic.com", None)
    assert form("low", frozenset(["thinking"])) == {
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low"},
    }


def test_switches_of_templates_are_left_out_where_they_are_refused(api: Provider, ask: Ask) -> None:
    """A server that knows no chat template still gets the effort, for one extra call."""
    api.does = {"": "no_switches"}
    rows = ask(*(f"q{i}" for i in range(8)), reasoning_effort="low")
    assert all(row["error"] is None for row in rows)
    assert sum(api.asked.values()) == 8 + 1
    assert api.bodies[-1]["reasoning_effort"] == "low"


def test_an_effort_that_is_refused_costs_one_call(api: Provider, ask: Ask) -> None:
    """No row is answered at another effort; all may go to another expert, and only one call was made."""
    api.does = {"": "no_effort"}
    rows = ask(*(f"q{i}" for i in range(8)), reasoning_effort="none")
    assert all(row["bounced"] for row in rows)
    assert all("does not take the effort 'none'" in row["error"] for row in rows)
    assert sum(api.asked.values()) == 1
    (row,) = ask("without an effort")
    assert row["error"] is None


def test_refused_arguments_of_rows_cost_one_call(api: Provider, ask: Ask) -> None:
    """A row's own argument that the server does not know is not tried again with the same value."""
    api.does = {"": "no_seed"}
    rows = ask(*(f"q{i}" for i in range(8)), seed=7)
    assert all(row["bounced"] for row in rows)
    assert sum(api.asked.values()) == 1
