"""Parameters that a server refuses by name are left out or renamed, found out once and remembered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.provider import Provider

if TYPE_CHECKING:
    from tests.backends.conftest import Ask

SCHEMA = json.dumps({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})


@pytest.mark.parametrize(
    ("behaviour", "more", "extra"),
    [
        ("wants_max_completion_tokens", {}, 1),
        ("only_temperature_1", {}, 1),
        ("wants_both", {}, 2),
        ("no_system", {"system": "Be short."}, 1),
        ("no_system_vllm", {"system": "Be short."}, 1),
        ("no_response_format", {"json_schema": SCHEMA}, 1),
        ("no_logprobs", {"choices": ["Paris", "Rome"]}, 1),
    ],
)
def test_a_refused_parameter_is_found_once(
    api: Provider, ask: Ask, behaviour: str, more: dict[str, Any], extra: int
) -> None:
    """Every row is answered, and only the first costs more than one call, though all leave together."""
    api.does = {"": behaviour}
    api.says = lambda model, prompt: '{"city": "Paris"}' if "json_schema" in more else "Paris"
    rows = ask(*(f"q{i}" for i in range(12)), **more)
    assert all(row["error"] is None and "Paris" in row["answer"] for row in rows)
    assert sum(api.asked.values()) == 12 + extra
    ask("later", **more)
    assert sum(api.asked.values()) == 13 + extra


def test_a_limit_that_is_renamed_is_still_sent(api: Provider, ask: Ask) -> None:
    """The limit on tokens is sent under the new name."""
    api.does = {"": "wants_max_completion_tokens"}
    ask("hi")
    assert api.bodies[-1]["max_completion_tokens"] == 12


def test_a_system_text_without_its_role_begins_the_question(api: Provider, ask: Ask) -> None:
    """Where the role is refused, the user's first turn begins with the text."""
    api.does = {"": "no_system"}
    turns = json.dumps([{"role": "user", "content": "A?"}, {"role": "assistant", "content": "B."}])
    ask("hi", system="Be short.", turns=turns)
    assert api.bodies[-1]["messages"] == [
        {"role": "user", "content": "Be short.\n\nA?"},
        {"role": "assistant", "content": "B."},
        {"role": "user", "content": "hi"},
    ]


def test_a_refusal_that_does_not_help_is_forgotten(api: Provider, ask: Ask) -> None:
    """A prompt that is refused with a parameter's name in the text changes nothing for the other rows."""
    api.faults, api.repeat = {"temperature": ["bad_heat"]}, True
    rows = ask("the temperature", "fine")
    assert [row["error"] is None for row in rows] == [False, True]
    assert api.bodies[-1]["temperature"] == 0.0


@pytest.mark.parametrize("more", [{"temperature": 5.0}, {"max_tokens": 10_000}])
def test_a_value_out_of_range_is_the_rows_error(api: Provider, ask: Ask, more: dict[str, Any]) -> None:
    """A parameter that the server knows is neither left out nor renamed because of one value."""
    api.does = {"": "out_of_range"}
    ask("first")
    (row,) = ask("hi", **more)
    assert "400 Bad Request: Invalid" in row["error"]
    assert api.asked["hi"] == 1


def test_too_many_tokens_are_no_unknown_parameter(api: Provider, ask: Ask) -> None:
    """A prompt that does not fit together with its answer goes to another expert, though the text names max_tokens."""
    api.does = {"long": "context_max_tokens"}
    (row,) = ask("long")
    assert (row["bounced"], api.asked["long"]) == (True, 1)


def test_what_a_row_sets_is_sent(api: Provider, ask: Ask) -> None:
    """Sampling arguments and messages after the question reach the server; what the row leaves open does not."""
    after = json.dumps([{"role": "assistant", "content": "It is"}])
    more = {
        "top_p": 0.5,
        "seed": 7,
        "stop": ["\n"],
        "frequency_penalty": 0.1,
        "presence_penalty": -0.1,
        "reasoning_effort": "low",
    }
    ask("hi", after=after, **more)
    ask("plain")
    assert {name: api.bodies[0][name] for name in more} == more
    assert api.bodies[0]["messages"][-1] == {"role": "assistant", "content": "It is"}
    assert set(api.bodies[1]) == {"model", "messages", "max_tokens", "temperature"}


def test_what_a_row_sets_is_never_left_out(api: Provider, ask: Ask) -> None:
    """A server that refuses a row's own argument leaves the row to another expert, with the reason."""
    api.does = {"": "no_seed"}
    (row,) = ask("hi", seed=7)
    assert row["bounced"]
    assert "the API does not take 'seed'" in row["error"]


def test_extra_body_is_sent_with_every_request(api: Provider, ask: Ask) -> None:
    """The pool file's additions are in the body unchanged."""
    ask("hi", options={"extra_body": {"top_k": 5, "chat_template_kwargs": {"enable_thinking": False}}})
    assert api.bodies[0]["top_k"] == 5
    assert api.bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}
