"""Keys go only where they belong, and are never shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from leeroo.engine.backends.api.endpoint import endpoint_of
from leeroo.engine.backends.select import facts, open_backend, unavailable
from leeroo.engine.errors import ExpertUnavailable, PoolError
from leeroo.engine.pool import Expert, Pool
from tests.provider import Provider

if TYPE_CHECKING:
    from tests.backends.conftest import Ask

KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_openais_key_goes_to_openai_alone(
    api: Provider, ask: Ask, expert: Callable[..., Expert], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server gets no key at all; OpenAI's own address gets it, but not in plain text."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ask("hi")
    assert "authorization" not in api.calls[0].headers
    assert KEY not in str(api.calls[0].headers)
    assert endpoint_of(expert("https://api.openai.com/v1/")).key == KEY
    assert endpoint_of(expert("http://api.openai.com/v1")).key is None
    assert endpoint_of(expert("https://api.openai.com.example.com/v1")).key is None


def test_a_server_gets_the_key_that_its_entry_names(api: Provider, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks and line breaks around it, as in key files, are taken off."""
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    (row,) = ask("hi", options={"api_key_env": "MY_KEY"})
    assert row["error"] is None
    assert api.calls[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_key_with_a_line_break_in_it_is_named_not_shown(
    expert: Callable[..., Expert], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the variable, before anything is sent."""
    monkeypatch.setenv("MY_KEY", "sk-secret\n0123456789")
    one = expert(api_key_env="MY_KEY")
    with pytest.raises(PoolError, match="the key in MY_KEY has a line break") as caught:
        open_backend(one)
    assert "secret" not in str(caught.value)
    assert "the key in MY_KEY has a line break" in (unavailable(one) or "")


def test_a_missing_key_is_named(expert: Callable[..., Expert]) -> None:
    """The variable that should hold the key is named; a server without an entry for one needs none."""
    openai = expert("https://api.openai.com/v1")
    assert "OPENAI_API_KEY with its API key is not set" in (unavailable(openai) or "")
    assert "MY_KEY" in (unavailable(expert("https://api.example.com/v1", api_key_env="MY_KEY")) or "")
    assert unavailable(expert("https://api.example.com/v1")) is None
    with pytest.raises(ExpertUnavailable, match="OPENAI_API_KEY"):
        open_backend(openai)


def test_a_base_url_of_the_environment_is_not_followed_in_silence(
    expert: Callable[..., Expert], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows go neither there nor elsewhere until the pool file says where."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    silent = expert().model_copy(update={"base_url": None})
    assert "OPENAI_BASE_URL is set" in (unavailable(silent) or "")
    assert unavailable(expert("https://api.openai.com/v1")) is None


@pytest.mark.parametrize(
    ("url", "env", "options", "sent_to"),
    [
        ("https://api.openai.com/v1", None, {}, "https://api.openai.com/v1 with the key in OPENAI_API_KEY"),
        ("http://user:hunter2@host:8000/v1?key=hunter2", None, {}, "http://host:8000/v1 without a key"),
        ("https://api.example.com/v1", "MY_KEY", {}, "https://api.example.com/v1 with the key in MY_KEY"),
        (None, None, {"provider": "anthropic"}, "anthropic"),
        (None, "MY_KEY", {"provider": "anthropic"}, "anthropic with the key in MY_KEY"),
    ],
)
def test_the_list_of_experts_shows_where_rows_go(
    expert: Callable[..., Expert], url: str | None, env: str | None, options: dict[str, str], sent_to: str
) -> None:
    """The list of experts has the address and the name of the key's variable, and no secret."""
    one = expert(api_key_env=env, **options).model_copy(update={"base_url": url})
    assert facts(one, Pool(default="api", experts=(one,)))["sent_to"] == sent_to


def test_a_key_that_the_server_shows_is_cut_out(api: Provider, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the row's error nor the reason for giving the expert up holds the key."""
    monkeypatch.setenv("MY_KEY", KEY)
    api.does = {"odd": "key_shown"}
    rows = ask("fine", "odd", options={"api_key_env": "MY_KEY"})
    assert "Incorrect API key provided: Bearer [redacted]" in rows[1]["error"]
    with pytest.raises(ExpertUnavailable) as caught:
        ask(*(f"odd {i}" for i in range(9)))
    assert KEY not in str(caught.value)


def test_user_and_password_of_an_address_are_cut_out(api: Provider, ask: Ask) -> None:
    """They are sent as a header, are in no address that is logged, and are never shown."""
    api.does = {"odd": "key_shown"}
    url = api.url.replace("://", "://user:hunter2@")
    rows = ask("fine", "odd", options={"base_url": url})
    assert rows[0]["error"] is None
    assert api.calls[0].headers["authorization"] == "Basic dXNlcjpodW50ZXIy"
    assert "hunter2" not in rows[1]["error"]
    assert "dXNlcjpodW50ZXIy" not in rows[1]["error"]


def test_a_query_of_the_address_is_kept(api: Provider, ask: Ask) -> None:
    """The part behind the question mark is sent with every request."""
    (row,) = ask("hi", options={"base_url": f"{api.url}/?api-version=2024-06-01"})
    assert row["error"] is None
    assert api.calls[0].path == "/v1/chat/completions?api-version=2024-06-01"


def test_a_wrong_address_is_named(api: Provider, ask: Ask) -> None:
    """Without /v1 the server knows nothing; the error names the address."""
    with pytest.raises(ExpertUnavailable) as caught:
        ask("hi", options={"base_url": api.url.removesuffix("/v1")})
    assert f"the API at {api.url.removesuffix('/v1')} does not know 'm': 404 Not Found" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:9/v1/chat/completions", "base_url ends with '/v1/chat/completions'"),
        ("http://", "base_url is no address"),
        ("http://host:99999/v1", "base_url is no address"),
    ],
)
def test_an_address_that_is_none_is_refused(expert: Callable[..., Expert], url: str, says: str) -> None:
    """The error says how to write it."""
    with pytest.raises(PoolError) as caught:
        open_backend(expert(url))
    assert says in str(caught.value)
