"""Providers behind any-llm-sdk: their replies are read as any other, and their exceptions are row errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.provider import Provider

if TYPE_CHECKING:
    from tests.backends.conftest import Ask

OPTIONS = {"provider": "openai", "max_retries": 0, "api_key_env": "MY_KEY"}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret-0123456789")


@pytest.mark.parametrize(
    ("behaviour", "answer", "says"),
    [
        ("ok", "echo: odd", None),
        ("think_tags", "echo: odd", None),
        ("parts", None, "the API's reply cannot be read"),
        ("finish_eos_token", "echo: odd", None),
        ("surrogate", "echo: odd\ufffd", None),
        ("refusal", None, "the model refused"),
        ("content_number", None, "the API's reply cannot be read"),
        ("choices_text", None, ""),
        ("html_503", None, "503"),
        ("context_openai", None, "maximum context length"),
        ("invalid_json", None, ""),
        ("key_shown", None, "refuses the key"),
    ],
)
def test_replies_are_read_as_any_other(
    api: Provider, ask: Ask, behaviour: str, answer: str | None, says: str | None
) -> None:
    """An odd reply is the answer in it or one line for its row; the other rows are answered."""
    api.does = {"odd": behaviour}
    rows = ask("good", "odd", "fine", options=OPTIONS)
    assert [row["answer"] for row in rows] == ["echo: good", answer, "echo: fine"]
    assert (says is None) == (rows[1]["error"] is None)
    assert (says or "") in (rows[1]["error"] or "")
    assert "secret" not in (rows[1]["error"] or "")


def test_arguments_are_passed_on(api: Provider, ask: Ask) -> None:
    """Sampling arguments reach the provider, and what it refuses by name is learned."""
    api.does = {"": "wants_both"}
    (row,) = ask("hi", options=OPTIONS, top_p=0.5, seed=7, stop=["\n"])
    assert row["answer"] == "echo: hi"
    assert (api.bodies[-1]["top_p"], api.bodies[-1]["seed"], api.bodies[-1]["stop"]) == (0.5, 7, ["\n"])


def test_a_server_of_the_user_gets_no_other_key(api: Provider, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the pool file names no key, the one in OPENAI_API_KEY does not go to another address."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other-0123456789")
    ask("hi", options={"provider": "openai"})
    assert "sk-other" not in str(api.calls[0].headers)


def test_refusals_for_too_many_requests_are_waited_out(api: Provider, ask: Ask) -> None:
    """As over OpenAI's client, a 429 costs no retry; what the refusal says is waited for."""
    api.faults = {"odd": ["429_seconds", 429, 429]}
    rows = ask("good", "odd", "fine", options=OPTIONS)
    assert [row["answer"] for row in rows] == ["echo: good", "echo: odd", "echo: fine"]
    assert api.asked["odd"] == 4
    first, second, *_ = (call.at for call in api.calls if call.prompt == "odd")
    assert second - first >= 1
