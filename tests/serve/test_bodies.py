"""Bodies as clients write them: defaults, keys that are passed on, and keys that are refused by name."""

from __future__ import annotations

import contextlib
import json
import re
import time
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.images.marks import place_of
from leeroo.engine.schema import ASK
from leeroo.serve.lines.bodies import CHAT, COMPLETIONS, read_body
from leeroo.serve.lines.requests import LineRequest, line_request, to_table

USER = {"role": "user", "content": "q"}
PLAIN = {"model": "leeroo", "messages": [USER]}
ADDRESS = {"url": "data:image/png;base64,AAAA"}


def _read(**more: Any) -> LineRequest:
    return read_body(CHAT, {**PLAIN, **more})


@pytest.mark.parametrize(
    "more",
    [
        *({name: None} for name in ("stop", "top_logprobs", "tools", "stream_options", "seed", "n", "whatever")),
        {"tools": []}, {"functions": []}, {"tool_choice": "none"}, {"tool_choice": "auto"}, {"logit_bias": {}},
        {"store": False}, {"stream": False}, {"logprobs": False}, {"service_tier": "auto"},
        {"parallel_tool_calls": True}, {"parallel_tool_calls": False}, {"modalities": ["text"]}, {"metadata": None},
        {"metadata": {"run": 7}}, {"n": 1}, {"top_p": 1}, {"top_p": 1.0}, {"presence_penalty": 0},
        {"frequency_penalty": 0.0}, {"stop": []}, {"stop": ""}, {"user": "u"}, {"response_format": {"type": "text"}},
        {"safety_identifier": "s"}, {"prompt_cache_key": "k"}, {"verbosity": "medium"}, {"audio": None},
    ],
)  # fmt: skip
def test_defaults_and_nulls_change_nothing(more: dict[str, Any]) -> None:
    """The line is the same as without the key, so that it shares its stored answer."""
    assert _read(**more) == read_body(CHAT, PLAIN)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"stop": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"seed": 7}, {"seed": 7}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"frequency_penalty": 1, "presence_penalty": -0.5}, {"frequency_penalty": 1.0, "presence_penalty": -0.5}),
        ({"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        ({"logprobs": True}, {"top_logprobs": 0}),
        ({"logprobs": True, "top_logprobs": 3}, {"top_logprobs": 3}),
        ({"n": 3}, {"n": 3, "temperature": 1.0}),
        ({"n": 2, "temperature": 0.0}, {"n": 2, "temperature": 0.0}),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"max_tokens": 6}),
        ({"model": "large"}, {"expert": "large"}),
        ({"response_format": {"type": "json_object"}}, {"json_schema": '{"type": "object"}'}),
    ],
)
def test_given_parameters_are_passed_on(more: dict[str, Any], expected: dict[str, Any]) -> None:
    """Parameters have the names of the engine's columns, in the database too."""
    assert json.loads(json.dumps(_read(**more))) == {"question": "q", "n": 1, **expected}


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("messages", "system", "turns", "after"),
    [
        ([{"role": "system", "content": "s"}, {"role": "developer", "content": "d"}, USER], "s\n\nd", None, None),
        ([USER, {"role": "assistant", "content": "It"}], None, None, [{"role": "assistant", "content": "It"}]),
        (
            [{"role": "user", "content": "a"}, {"role": "system", "content": "s"}, USER],
            None,
            [{"role": "user", "content": "a"}, {"role": "system", "content": "s"}],
            None,
        ),
        (
            [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]},
             {"role": "tool", "tool_call_id": "c1", "content": "7"}],
            None,
            None,
            [{"role": "assistant", "content": "", "tool_calls": [CALL]},
             {"role": "tool", "content": "7", "tool_call_id": "c1"}],
        ),
        ([{"role": "user", "content": [{"type": "text", "text": "q"}]}], None, None, None),
    ],
)  # fmt: skip
def test_conversations_may_have_any_order(messages: Any, system: Any, turns: Any, after: Any) -> None:
    """The user's last message is the question, and the messages before and after it keep their order."""
    request = _read(messages=messages)
    texts = (request.get("turns"), request.get("after"))
    around = [None if text is None else json.loads(text) for text in texts]
    assert (request["question"], request.get("system"), *around) == ("q", system, turns, after)


def test_images_of_a_message_have_places_in_its_text() -> None:
    """Parts of text and images keep their order."""
    image = {"type": "image_url", "image_url": ADDRESS}
    other = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,BBBB", "detail": "auto"}}
    parts = [{"type": "text", "text": "Is "}, image, {"type": "text", "text": " like "}, other]
    request = _read(messages=[{"role": "user", "content": parts}])
    assert request["question"] == f"Is {place_of(0)} like {place_of(1)}"
    assert request["images"] == [ADDRESS["url"], "data:image/jpeg;base64,BBBB"]
    assert to_table([(request, False)]).column("ask")[0].as_py()["images"] == request["images"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"tools": [CALL]}, "tools: is not supported here: leave it out"),
        ({"stream": True}, "stream: is not supported here"),
        ({"logit_bias": {"5": 1}}, "logit_bias: is not supported here"),
        ({"colour": "red"}, "colour: is not supported here"),
        ({"n": 17}, "n: Input should be less than or equal to 16"),
        ({"n": "2"}, "n: Input should be a valid integer"),
        ({"seed": 2**63}, "seed:"),
        ({"stop": [""]}, "stop.0:"),
        ({"top_p": 1.5}, "top_p:"),
        ({"top_logprobs": 2}, "top_logprobs: set logprobs"),
        ({"reasoning_effort": "huge"}, "reasoning_effort:"),
        ({"messages": []}, "messages: is missing"),
        ({"messages": [{"role": "system", "content": "s"}]}, "messages: there is no message of the user"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
         "messages.0.content.image_url.url: images are read from data: URLs here, and none is fetched"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///x.png"}}]}]},
         "messages.0.content.image_url.url: images are read from data: URLs here, and none is fetched"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {**ADDRESS, "detail": "low"}}]}]},
         "messages.0.content.image_url.detail: Input should be 'auto'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": ADDRESS}]}, USER]},
         "messages: images are supported in the last message of the user only"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
         "messages.0.content: parts of type 'input_audio' are not supported here: send text or image_url"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages.0.role:"),
        ({"response_format": {"type": "json_schema"}}, "response_format: json_schema is missing"),
    ],
)  # fmt: skip
def test_unsupported_keys_are_refused_by_name(more: dict[str, Any], message: str) -> None:
    """A key with a value that is not supported is named."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        _read(**more)


def test_the_older_endpoint_continues_texts() -> None:
    """The older endpoint takes log probabilities as a number, and texts instead of messages."""
    request = read_body(COMPLETIONS, {"model": "one", "prompt": "Once", "logprobs": 0, "best_of": 1, "echo": False})
    columns = ("question", "raw", "top_logprobs", "max_tokens")
    assert tuple(request[name] for name in columns) == ("Once", True, 0, 16)
    for more in ({"logprobs": 6}, {"echo": True}, {"suffix": "end"}, {"prompt": ["a", "b"]}):
        with pytest.raises(ValueError, match=next(iter(more))):
            read_body(COMPLETIONS, {"model": "one", "prompt": "Once", **more})


def _schema(schema: Any) -> str | None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    return _read(response_format=form).get("json_schema")


def _nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (_nested(150), "the schema is nested more than 64 deep"),
        ({"$schema": [1]}, "$schema should be text"),
        ({"$schema": 0}, "$schema should be text"),
        ({"$ref": "http://127.0.0.1:9/secret"}, "$ref should begin with '#'"),
        ({"properties": {"a": {"$ref": 7}}}, "$ref should begin with '#'"),
        ({"type": 1}, "not a JSON schema: 1 is not valid"),
        ({"required": ["a", "a"]}, "not a JSON schema: ['a', 'a'] has non-unique elements"),
        ({"enum": ["x" * 70_000]}, "the schema has more than 65,536 bytes"),
    ],
)
def test_schemas_are_checked(schema: Any, message: str) -> None:
    """A mistake in a schema is the error of its line."""
    with pytest.raises(ValueError, match=f"^{re.escape('response_format: ' + message)}"):
        _schema(schema)


@pytest.mark.parametrize(
    "dialect", ["http://json-schema.org/draft-04/schema#", "https://json-schema.org/draft/2020-12/schema"]
)
@pytest.mark.parametrize(
    "schema",
    [
        {"enum": [n if n % 2 else str(n) for n in range(8000)]},
        {"required": [n if n % 2 else str(n) for n in range(7000)]},
        {"properties": {f"p{n}": {} for n in range(4000)}},
        {"allOf": [{"not": {"const": n}} for n in range(2500)]},
    ],
)
def test_no_schema_takes_long(dialect: str, schema: Any) -> None:
    """The largest schemas of any dialect take a few seconds of the processor, and the same one again none."""
    assert len(json.dumps(schema)) > 40_000
    began = time.thread_time()
    with contextlib.suppress(ValueError):
        _schema({"$schema": dialect, **schema})
    assert time.thread_time() - began < 5
    began = time.thread_time()
    with contextlib.suppress(ValueError):
        _schema({"$schema": dialect, **schema})
    assert time.thread_time() - began < 0.5


def test_a_request_is_a_row_of_the_engine() -> None:
    """Every column of `ASK` has its name, type and value; each wanted answer is a row."""
    whole = _read(
        messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, USER, {"role": "assistant", "content": "b"}],
        model="large", n=2, seed=5, stop="END", top_p=0.5, presence_penalty=1, frequency_penalty=-1, max_tokens=9,
        reasoning_effort="low", logprobs=True, top_logprobs=2, response_format={"type": "json_object"},
    )  # fmt: skip
    table = to_table([(whole, True), (line_request(question="q", subject="algebra"), False)])
    assert table.schema.field("ask").type == pa.struct(list(ASK))
    first, second, third = table.to_pylist()
    assert {name for name, value in first["ask"].items() if value is not None} == whole.keys() - {"question", "n"}
    assert {name: first["ask"][name] for name in whole if name in ASK.names} == {
        k: v for k, v in whole.items() if k in ASK.names
    }
    assert [row["ask"]["seed"] for row in (first, second, third)] == [5, 6, None]
    assert [row["private"] for row in (first, second, third)] == [True, True, False]
    assert (third["question"], third["subject"], third["category"]) == ("q", "algebra", None)


def test_a_column_that_the_engine_does_not_have_is_a_mistake() -> None:
    """The engine would drop such a column without a word."""
    with pytest.raises(TypeError, match="no column max_token$"):
        line_request(question="q", max_token=5)
