"""A fingerprint covers everything that changes answers, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from leeroo.engine.backends.identity import engine_key, fingerprint
from leeroo.engine.pool import Expert


def _expert(**more: Any) -> Expert:
    fields = {"name": "far", "model": "m", "backend": "openai", "usd_per_m_input": 1, "usd_per_m_output": 1, **more}
    return Expert.model_validate(fields)


@pytest.mark.parametrize(
    "more",
    [
        {"engine": {"extra_body": {"enable_thinking": True}}},
        {"engine": {"extra_body": {"enable_thinking": False}}},
        {"engine": {"provider": "anthropic"}},
        {"engine": {"revision": "main"}},
        {"engine": {"an_option_of_tomorrow": 1}},
        {"base_url": "http://localhost:1234/v1"},
        {"system": "Be brief."},
        {"template": "Q: {question}"},
        {"model": "n"},
    ],
)
def test_what_changes_answers_is_in_the_fingerprint(more: dict[str, Any]) -> None:
    """An option that nobody has thought of counts as one that changes them."""
    assert fingerprint(_expert(**more)) != fingerprint(_expert())


@pytest.mark.parametrize(
    "more",
    [
        {"engine": {"concurrency": 64, "max_retries": 1, "timeout": 5}},
        {"engine": {"headers": {"api-key": "env:KEY"}, "organization": "org", "project": "p"}},
        {"engine": {"proxy": "http://proxy:3128", "ca_file": "ca.pem"}},
        {"engine": {"requests_per_minute": 300, "tokens_per_minute": 60_000}},
        {"engine": {"context_tokens": 8192}},
        {"api_key_env": "ANOTHER_KEY"},
        {"name": "alias"},
        {"usd_per_m_input": 5},
        {"max_tokens": 9},  # part of each request
    ],
)
def test_what_changes_only_speed_and_price_is_not(more: dict[str, Any]) -> None:
    """Answers are not paid for again because of a limit on speed, a price, a name or a key."""
    assert fingerprint(_expert(**more)) == fingerprint(_expert())


def test_the_server_counts() -> None:
    """OpenAI's where the pool names none; a password in the address does not make another server."""
    openai = fingerprint(_expert())
    assert fingerprint(_expert(base_url="https://api.openai.com/v1/")) == openai
    one = fingerprint(_expert(base_url="http://one.example/v1"))
    assert one != openai
    assert fingerprint(_expert(base_url="http://me:secret@one.example/v1")) == one


def test_the_name_of_an_engine_holds_no_secret() -> None:
    """It is kept on disk; experts with other addresses, options or keys do not share a connection."""
    secret = _expert(base_url="http://me:secret@host/v1", engine={"extra_body": {"token": "secret"}})
    assert "secret" not in engine_key(secret)
    assert engine_key(secret) != engine_key(_expert(base_url="http://me:other@host/v1", engine=secret.engine))
    assert engine_key(_expert()) != engine_key(_expert(api_key_env="ANOTHER_KEY"))
