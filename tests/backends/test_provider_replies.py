"""Whatever a provider replies becomes the answer of its row, or one clear line, with what it was billed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.provider import Provider

if TYPE_CHECKING:
    from tests.backends.conftest import Ask

ANSWER = "echo: hi"

# By behaviour: the answer.
ANSWERED = {
    "ok": ANSWER,
    "think_tags": ANSWER,
    "reasoning_content": ANSWER,
    "parts": ANSWER,
    "finish_missing": ANSWER,
    "finish_null": ANSWER,
    "finish_empty": ANSWER,
    "finish_eos_token": ANSWER,
    "finish_end_turn": ANSWER,
    "finish_STOP": ANSWER,
    "usage_missing": ANSWER,
    "usage_empty": ANSWER,
    "usage_nulls": ANSWER,
    "usage_total_only": ANSWER,
    "usage_strings": ANSWER,
    "usage_floats": ANSWER,
    "usage_huge": ANSWER,
    "usage_negative": ANSWER,
    "usage_text": ANSWER,
    "cached": ANSWER,
    "stream": ANSWER,
    "bom": ANSWER,
    "text_choice": ANSWER,
    "surrogate": ANSWER + "\ufffd",
    "nul": ANSWER + "\ufffd!",
}

# By behaviour: what the error says, whether another expert may take the row, and whether the reply is billed.
FAILED = {
    "length_in_reasoning": ("ended by length before an answer", True, True),
    "null_length": ("ended by length before an answer", True, True),
    "empty_stop": ("empty answer", True, True),
    "blank_stop": ("empty answer", True, True),
    "null_content": ("the API gave no answer", False, True),
    "refusal": ("the model refused: I cannot help with that.", False, True),
    "tool_calls": ("called a tool", False, True),
    "content_filter": ("content filter", False, True),
    "content_filter_partial": ("content filter", False, True),
    "finish_list": ("choices.0.finish_reason: Input should be a valid string", True, True),
    "finish_dict": ("choices.0.finish_reason", True, True),
    "finish_number": ("choices.0.finish_reason", True, True),
    "content_number": ("choices.0.message.content", True, True),
    "content_dict": ("choices.0.message.content", True, True),
    "content_list": ("choices.0.message.content", True, True),
    "content_true": ("choices.0.message.content", True, True),
    "message_text": ("choices.0.message", True, True),
    "choices_text": ("holds no answer", True, True),
    "choices_dict": ("holds no answer", True, True),
    "choices_number": ("holds no answer", True, True),
    "choices_empty": ("holds no answer", True, True),
    "choices_nulls": ("choices.0: Input should be", True, True),
    "429_too_large": ("Request too large", True, False),
    "error_billed": ("400 Bad Request: Provider failed", True, True),
    "error_502_in_200": ("502 Bad Gateway: Provider is down", True, False),
    "html_503": ("503 Service Unavailable", True, False),
    "413": ("413", True, False),
    "context_openai": ("maximum context length", True, False),
    "context_vllm": ("context length 4096", True, False),
    "context_llamacpp": ("available context size", True, False),
    "context_anthropic": ("prompt is too long", True, False),
    "html_200": ("the API answered with a web page (Sign in) instead of JSON", True, False),
}

# Errors that may pass, by behaviour or status: what they say when they stay.
PASSING: dict[str | int, str] = {
    "html_503": "503 Service Unavailable",
    "html_200": "web page",
    "cut_body": "cannot be reached",
    "drop": "cannot be reached",
    "invalid_json": "breaks off or is not JSON",
    "empty_body": "the API's reply is empty",
    408: "408 Request Timeout",
    409: "409 Conflict",
    425: "425 Too Early",
    500: "500 Internal Server Error",
    502: "502 Bad Gateway",
    529: "529: fault 529",
}


@pytest.fixture(autouse=True)
def _usual_usage(api: Provider) -> None:
    api.usage = (100, 50)


@pytest.mark.parametrize("behaviour", ANSWERED)
def test_an_odd_reply_with_an_answer_is_answered(api: Provider, ask: Ask, behaviour: str) -> None:
    """An odd reply with an answer in it is answered, at once and as stopped."""
    api.does = {"hi": behaviour}
    (row,) = ask("hi")
    assert (row["answer"], row["finish_reason"], row["error"]) == (ANSWERED[behaviour], "stop", None)
    assert api.asked["hi"] == 1


@pytest.mark.parametrize("behaviour", FAILED)
def test_a_reply_without_an_answer_is_the_rows_error(api: Provider, ask: Ask, behaviour: str) -> None:
    """A reply without an answer is one line for its row, with what was billed; the other rows are answered."""
    says, bounced, billed = FAILED[behaviour]
    api.does = {"odd": behaviour}
    rows = ask("good", "odd", "fine", options={"max_retries": 0})
    assert [row["answer"] for row in rows] == ["echo: good", None, "echo: fine"]
    assert says in rows[1]["error"]
    assert "\n" not in rows[1]["error"]
    assert (rows[1]["finish_reason"], rows[1]["bounced"]) == ("error", bounced)
    bill = (rows[1]["prompt_tokens"], rows[1]["completion_tokens"], rows[1]["estimated"])
    assert bill == ((100, 50, False) if billed else (None, None, None))


@pytest.mark.parametrize("behaviour", PASSING)
def test_a_passing_fault_is_tried_again(api: Provider, ask: Ask, behaviour: str | int) -> None:
    """A passing fault costs the row nothing but time; one that stays is explained in plain words."""
    api.faults = {"shaky": [behaviour], "bad": [behaviour] * 2}
    rows = ask("shaky", "bad")
    assert rows[0]["answer"] == "echo: shaky"
    assert PASSING[behaviour] in rows[1]["error"]
    assert rows[1]["bounced"]
    assert api.asked == {"shaky": 2, "bad": 2}


def test_an_error_is_safe_to_print(api: Provider, ask: Ask) -> None:
    """Control characters in a provider's text do not reach terminals."""
    api.does = {"": "escapes"}
    (row,) = ask("hi")
    assert row["error"].isprintable()


def test_a_stream_that_breaks_off_is_no_answer(api: Provider, ask: Ask) -> None:
    """Words before an error are not taken for the whole answer, and are billed as far as they can be seen."""
    api.does = {"": "stream_broken"}
    (row,) = ask("a long question", options={"max_retries": 0})
    assert row["answer"] is None
    assert "the provider broke off the answer" in row["error"]
    assert row["estimated"]


@pytest.mark.parametrize("behaviour", ["refusal", "null_content", "tool_calls", "content_filter"])
def test_refusals_of_the_model_never_end_the_expert(api: Provider, ask: Ask, behaviour: str) -> None:
    """However many prompts in a row are refused, the next one is sent."""
    api.does = {"bad": behaviour}
    rows = ask(*(f"bad {i}" for i in range(20)), "good", options={"concurrency": 1})
    assert rows[20]["answer"] == "echo: good"
