"""Replies in the shapes of well-known providers and servers: right answer, tokens, finish reason and error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from leeroo.engine.backends.api.faults import refusal
from leeroo.engine.backends.api.providers import fault_of
from leeroo.engine.backends.select import open_backend
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert
from tests.backends.shapes import ANSWERS, ANTHROPIC_ANSWER, ERRORS, MISTRAL_REFUSES, REFUSED_FOR_NOW, Shape, ids
from tests.provider import Call, Provider, Reply

if TYPE_CHECKING:
    from tests.backends.conftest import Ask, Requests

SCHEMA = json.dumps({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})


def _playing(shape: Shape) -> Callable[[Call], Reply]:
    body = json.dumps(shape.body).encode()
    return lambda _: Reply(body, shape.status, shape.headers)


@pytest.mark.parametrize("shape", ANSWERS, ids=ids(ANSWERS))
def test_an_answer(api: Provider, ask: Ask, shape: Shape) -> None:
    """The text, the tokens that are billed, and how it ended; thoughts are no part of it."""
    api.replies = _playing(shape)
    (row,) = ask("What is the capital of France?")
    assert (row["answer"], row["error"]) == ("Paris", None)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (24, 7)
    assert row["finish_reason"] == shape.finish
    assert not row["estimated"]
    assert row["reasoning"] in (None, "A capital.")
    assert ("A capital." in json.dumps(shape.body)) == (row["reasoning"] is not None)


@pytest.mark.parametrize("shape", ERRORS, ids=ids(ERRORS))
def test_an_error(api: Provider, expert: Callable[..., Expert], requests: Requests, shape: Shape) -> None:
    """The row's error says why in the server's words; who is to blame, and whether it is sent again."""
    backend = open_backend(expert(max_retries=1))
    api.replies = _playing(shape)
    rows: list[dict[str, Any]] = []
    ended = None
    try:
        for batch in backend.generate(iter([requests("What is the capital of France?")])):
            rows += batch.to_pylist()
    except ExpertUnavailable as error:
        ended = str(error)
    finally:
        backend.close()
    [row] = rows
    assert row["answer"] is None
    assert shape.error is not None
    assert shape.error in row["error"]
    assert "\n" not in row["error"]
    assert row["bounced"] == (shape.blames != "row")
    assert len(api.calls) == shape.calls
    assert (row["prompt_tokens"], row["completion_tokens"]) == (shape.tokens or (None, None))
    # A key or model that is refused ends an expert that has never answered.
    refused = "refuses the key" in row["error"] or "does not know" in row["error"]
    assert (ended is not None) == (shape.ends or refused)


@pytest.mark.parametrize("shape", REFUSED_FOR_NOW, ids=ids(REFUSED_FOR_NOW))
def test_a_refusal_that_passes(api: Provider, ask: Ask, shape: Shape) -> None:
    """Nothing is given up for it, though some call the limit of a minute a quota."""
    refused, answer = _playing(shape), _playing(ANSWERS[0])
    api.replies = lambda call: (answer if call.attempt else refused)(call)
    (row,) = ask("What is the capital of France?")
    assert (row["answer"], len(api.calls)) == ("Paris", 2)
    fault = refusal(shape.status, shape.body, {}, "m", api.url)
    assert shape.error is not None
    assert fault.message.startswith(shape.error)
    assert (fault.passes, fault.ends, fault.blames) == (True, False, "nobody")


def test_a_field_that_mistral_refuses_is_left_out(api: Provider, ask: Ask) -> None:
    """The name is found in the complaints within its message, and the row is answered."""
    refuses = json.dumps(MISTRAL_REFUSES).encode()
    answer = json.dumps(ANSWERS[0].body).replace('"Paris"', json.dumps('{"city": "Paris"}')).encode()
    api.replies = lambda call: Reply(refuses, 422) if "response_format" in call.body else Reply(answer)
    (row,) = ask("Which city?", json_schema=SCHEMA)
    assert row["answer"] == '{"city": "Paris"}'
    assert len(api.calls) == 2


class ClientError(Exception):
    """Stands for botocore's, as Bedrock raises it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"An error occurred ({code}) when calling the Converse operation: {message}")
        self.response = {
            "Error": {"Message": message, "Code": code},
            "ResponseMetadata": {"RequestId": "1", "HTTPStatusCode": status, "HTTPHeaders": {"retry-after": "2"}},
        }


class APIError(Exception):
    """Stands for google.genai's, as Gemini and Vertex AI raise it."""

    def __init__(self, code: int, status: str, message: str) -> None:
        self.code, self.status, self.message = code, status, message
        self.details = {"error": {"code": code, "message": message, "status": status}}
        super().__init__(f"{code} {status}. {self.details}")


@pytest.mark.parametrize(
    ("error", "says", "passes", "blames"),
    [
        (ClientError(429, "ThrottlingException", "Too many"), "429 Too Many Requests: Too many", True, "nobody"),
        (ClientError(503, "ServiceUnavailableException", "Busy"), "503 Service Unavailable", True, "expert"),
        (ClientError(403, "AccessDeniedException", "No access to the model"), "refuses the key: 403", False, "expert"),
        (ClientError(404, "ResourceNotFoundException", "Legacy"), "does not know 'm': 404", False, "expert"),
        (
            ClientError(400, "ValidationException", "Input is too long for requested model."),
            "too long",
            False,
            "nobody",
        ),
        (APIError(429, "RESOURCE_EXHAUSTED", "Quota. Retry in 3s"), "429 Too Many Requests", True, "nobody"),
        (
            APIError(400, "INVALID_ARGUMENT", "API key not valid."),
            "key: 400 Bad Request: API key not valid.",
            False,
            "expert",
        ),
        (APIError(503, "UNAVAILABLE", "The model is overloaded"), "503 Service Unavailable", True, "expert"),
    ],
)
def test_exceptions_of_other_packages(error: Exception, says: str, passes: bool, blames: str) -> None:
    """Their statuses are found by the names that these packages have for them."""
    fault = fault_of(error, "m", "somebody")
    assert says in fault.message
    assert (fault.passes, fault.blames) == (passes, blames)


@pytest.fixture
def claude(api: Provider, expert: Callable[..., Expert], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ask Anthropic's own API, played by the provider, through any-llm-sdk and Anthropic's real package."""
    monkeypatch.setenv("MY_KEY", "sk-ant-0123456789")
    api.paths.add("/v1/messages")
    one = expert(api.url.removesuffix("/v1"), "MY_KEY", provider="anthropic", max_retries=0)
    backend = open_backend(one.model_copy(update={"model": "claude-sonnet-4-5"}))
    yield backend
    backend.close()


def _row(backend: Any, batch: Any) -> dict[str, Any]:
    [row] = [row for each in backend.generate(iter([batch])) for row in each.to_pylist()]
    return dict(row)


def test_anthropics_own_api(api: Provider, claude: Any, requests: Requests) -> None:
    """Text, thoughts, cached tokens and the end of an answer come through any-llm-sdk as from OpenAI."""
    api.replies = lambda _: Reply(json.dumps(ANTHROPIC_ANSWER).encode())
    row = _row(claude, requests("What is the capital of France?", system="Be brief."))
    assert (row["answer"], row["finish_reason"], row["reasoning"]) == ("Paris", "stop", "A capital.")
    assert (row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"]) == (24, 7, 16)
    assert api.calls[0].headers["x-api-key"] == "sk-ant-0123456789"
    assert api.bodies[0]["system"] == "Be brief."


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (529, "overloaded_error", "529: Overloaded"),
        (401, "authentication_error", "the API refuses the key: 401 Unauthorized: Overloaded"),
        (404, "not_found_error", "does not know 'claude-sonnet-4-5': 404 Not Found: Overloaded"),
    ],
)
def test_errors_of_anthropics_own_api(
    api: Provider, claude: Any, requests: Requests, status: int, kind: str, says: str
) -> None:
    """They are read as the server wrote them, and its package sends nothing again on its own."""
    body = {"type": "error", "error": {"type": kind, "message": "Overloaded"}, "request_id": "req_1"}
    api.replies = lambda _: Reply(json.dumps(body).encode(), status)
    said = ""
    try:
        said = _row(claude, requests("hi"))["error"]
    except ExpertUnavailable as error:  # a refused key or model ends it
        said = str(error)
    assert says in said
    assert len(api.calls) == 1


def test_a_schema_reaches_anthropic(api: Provider, claude: Any, requests: Requests) -> None:
    """It is sent in Anthropic's form, and the answer is valid under it."""
    content = [{"type": "text", "text": '{"city": "Paris"}'}]
    api.replies = lambda _: Reply(json.dumps({**ANTHROPIC_ANSWER, "content": content}).encode())
    row = _row(claude, requests("Which city?", json_schema=SCHEMA))
    assert row["answer"] == '{"city": "Paris"}'
    assert api.bodies[0]["output_config"]["format"]["type"] == "json_schema"
    assert "city" in api.bodies[0]["output_config"]["format"]["schema"]["properties"]


def test_a_form_that_anthropic_does_not_know_is_left_out(api: Provider, claude: Any, requests: Requests) -> None:
    """Any JSON is no schema for it: any-llm-sdk refuses that, so it is asked without, once and for all."""
    content = [{"type": "text", "text": '{"city": "Paris"}'}]
    api.replies = lambda _: Reply(json.dumps({**ANTHROPIC_ANSWER, "content": content}).encode())
    row = _row(claude, requests("Which city?", json_schema='{"type": "object"}'))
    assert (row["answer"], row["error"]) == ('{"city": "Paris"}', None)
    assert len(api.calls) == 1
    assert "output_config" not in api.bodies[0]


def test_a_schema_reaches_openai_through_any_llm(api: Provider, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the provider refuses it by name, it is left out from then on."""
    monkeypatch.setenv("MY_KEY", "sk-0123456789")
    options = {"provider": "openai", "api_key_env": "MY_KEY"}
    api.says = lambda *_: '{"city": "Paris"}'
    (row,) = ask("Which city?", options=options, json_schema=SCHEMA)
    assert row["answer"] == '{"city": "Paris"}'
    assert api.bodies[0]["response_format"]["json_schema"]["schema"] == json.loads(SCHEMA)
    api.does = {"": "no_response_format"}
    rows = [*ask("one", json_schema=SCHEMA), *ask("two", json_schema=SCHEMA)]
    assert [row["answer"] for row in rows] == ['{"city": "Paris"}'] * 2
    assert sum("response_format" in body for body in api.bodies[1:]) == 1
