"""Replies of providers, mutated: never an exception, never a wrong row, and never a negative bill."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from leeroo.engine.backends.api import sender
from leeroo.engine.backends.api.limits import pace
from leeroo.engine.backends.select import open_backend
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert
from leeroo.engine.schema import COMPLETIONS, REQUESTS
from tests.provider import BEHAVIOURS, Call, Provider, Reply

if TYPE_CHECKING:
    from tests.fuzz.conftest import Cases

CHOICES = ["Paris", "Rome"]
SCHEMA = '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}'
# What a row may ask for.
KINDS: list[dict[str, Any]] = [{}, {}, {"choices": CHOICES}, {"json_schema": SCHEMA}, {"top_logprobs": 2}]
SEEDS = [name for name in BEHAVIOURS if name not in ("hang", "trickle", "429_minute", "429_seconds", "429_date")]


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up soon on a server that lets nothing through."""
    monkeypatch.setattr(sender, "_REFUSED_S", 0.1)
    monkeypatch.setattr(pace, "_FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(pace, "LONGEST_WAIT_S", 0.1)


def _deep(rng: random.Random) -> Any:
    value: Any = rng.choice([1, "x", None])
    for _ in range(rng.choice([3, 200, 900])):
        value = [value] if rng.random() < 0.5 else {"content": value}
    return value


def _odd(rng: random.Random) -> Any:
    """Return a value that a reply should not have."""
    numbers = [0, -1, 1.5, 2**31, 2**63, 2**70, -(10**30), math.nan, math.inf, 1e308]
    texts = [
        "",
        " ",
        "\0",
        "\ud83d",
        "é\u2028\U0001f600",
        "NaN",
        "12",
        "-3",
        "stop",
        "length",
        "x" * 100_000,
        "<think>",
    ]
    texts += ["</think>Paris", "```json\n{}\n```", '{"city": "Rome"}', "[" * 2000, "The answer is Rome", "\r\n\x1b[31m"]
    whole = [None, True, [], {}, [[]], [None], {"text": "Paris"}, [{"type": "text", "text": 7}], ["Rome"], _deep(rng)]
    return rng.choice([rng.choice(numbers), rng.choice(texts), rng.choice(whole)])


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a reply with a key of it."""
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, inner in pairs:
        yield value, key
        yield from _places(inner)


def _mutated(reply: Any, rng: random.Random) -> Any:
    """Return a reply with some of it replaced, taken out, or doubled."""
    whole = {"reply": json.loads(json.dumps(reply))}
    for _ in range(rng.choice([1, 1, 2, 5])):
        container, key = rng.choice(list(_places(whole)))
        done = rng.random()
        if done < 0.7 or (container is whole and done < 0.95):
            container[key] = _odd(rng)
        elif done < 0.85:
            del container[key]
        elif isinstance(container, list):
            container.append(container[key])
        else:
            container[rng.choice(["error", "usage", "content", "choices", "text"])] = container[key]
        if not whole:
            break
    return whole.get("reply")


def _broken(body: bytes, rng: random.Random) -> bytes:
    """Return a body with bytes cut off, flipped or put in."""
    at = rng.randrange(len(body) + 1)
    if rng.random() < 0.4:
        return body[:at]
    return (
        body[:at]
        + rng.choice([b"\xff\xfe", b"\0", b"}", b"data: ", b"NaN", b"<html>", b""])
        + body[at + rng.randrange(3) :]
    )


def _replies(rng: random.Random) -> Callable[[Call], Reply]:
    """Return a behaviour that mutates the replies of another."""
    seed = BEHAVIOURS[rng.choice(["ok", "ok", "stream", rng.choice(SEEDS)])]
    status = rng.choice([0, 0, 0, 0, 0, 200, 204, 302, 304, 400, 401, 402, 413, 422, 429, 500, 529, 599])
    dice = random.Random(rng.random())

    def behave(call: Call) -> Reply:
        reply = seed(call)
        body = reply.body
        if not isinstance(body, bytes):
            body = json.dumps(_mutated(body, dice)).encode()
        if dice.random() < 0.2:
            body = _broken(body, dice)
        headers = dict(reply.headers)
        if dice.random() < 0.1:
            headers |= dice.choice(
                [
                    {"Content-Encoding": "gzip"},
                    {"Content-Type": "text/event-stream"},
                    {"Content-Type": "text/html; charset=utf-99"},
                    {"Retry-After": "soon"},
                    {"Retry-After": "-1e999"},
                    {"Location": "/v1/chat/completions"},
                ]
            )
        return Reply(body, status or reply.status, headers, cut=reply.cut, drop=reply.drop)

    return behave


def _expert(api: Provider) -> Expert:
    prices: dict[str, Any] = {"usd_per_m_input": 1.0, "usd_per_m_output": 2.0}
    engine = {"max_retries": 0, "timeout": 60.0}
    return Expert(name="api", model="m", backend="openai", base_url=api.url, engine=engine, **prices)


def _batch(rng: random.Random) -> pa.RecordBatch:
    """Return two requests of any kind, and one that is answered as usual."""
    rows = [{"id": i, "question": f"odd {i}", "prompt": f"odd {i}", **rng.choice(KINDS)} for i in range(2)]
    rows.append({"id": 2, "question": "good", "prompt": "good"})
    return pa.RecordBatch.from_pylist(
        [{"max_tokens": 16, "temperature": 0.0, "raw": False, **r} for r in rows], REQUESTS
    )


def _check(row: dict[str, Any], asked: dict[str, Any]) -> None:
    """Check that a completion is an answer in the form asked for, or an error."""
    for name in ("prompt_tokens", "completion_tokens", "cached_tokens"):
        assert row[name] is None or row[name] >= 0
    for name in ("answer", "error", "logprobs"):
        assert "\0" not in (row[name] or "")
    if row["error"] is not None:
        assert row["answer"] is None
        assert row["finish_reason"] == "error"
        assert row["error"].strip()
        assert len(row["error"].splitlines()) == 1
        return
    assert row["answer"]
    assert row["finish_reason"] in ("stop", "length")
    assert row["prompt_tokens"] > 0
    if asked["choices"]:
        assert row["answer"] in asked["choices"]
    if asked["json_schema"]:
        assert isinstance(json.loads(row["answer"])["city"], str)
    if row["choice_logprobs"] is not None:
        assert math.fsum(map(math.exp, row["choice_logprobs"])) == 1 or all(map(math.isfinite, row["choice_logprobs"]))
    if row["logprobs"] is not None:
        assert all(math.isfinite(token["logprob"]) for token in json.loads(row["logprobs"]))


def test_no_reply_breaks_a_run(api: Provider, cases: Cases) -> None:
    """Every request comes back once, as an answer or one line; good replies in the batch are answered."""
    backend = open_backend(_expert(api))
    for name, rng in cases(100):
        mutate = _replies(rng)
        api.replies = lambda call, mutate=mutate: BEHAVIOURS["ok"](call) if call.prompt == "good" else mutate(call)  # type: ignore[misc]
        batch, rows, ended = _batch(rng), [], False
        try:
            for done in backend.generate(iter([batch])):
                assert done.schema.equals(COMPLETIONS), name
                rows += done.to_pylist()
        except ExpertUnavailable:
            ended = True
            backend.close()
            backend = open_backend(_expert(api))
        except Exception as error:
            raise AssertionError(f"case {name}") from error
        by_id = {row["id"]: row for row in rows}
        assert len(by_id) == len(rows) == 3 or ended, name
        asked = batch.to_pylist()
        for row in rows:
            try:
                _check(row, asked[row["id"]])
            except (AssertionError, TypeError, ValueError) as error:
                raise AssertionError(f"case {name}: {row}") from error
        assert ended or by_id[2]["answer"] == "echo: good", f"case {name}: {by_id[2]}"
    backend.close()
