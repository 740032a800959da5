"""An API answers, stumbles, lies or falls silent: each row gets its answer or one clear line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.backends.api.openai import OpenAIBackend
from leeroo.engine.backends.protocol import Backend
from leeroo.engine.backends.select import open_backend
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert
from leeroo.engine.schema import COMPLETIONS, REQUESTS


def _expert(url: str, **options: Any) -> Expert:
    engine = {"max_retries": 2, "timeout": 1.0, **options}
    prices: dict[str, Any] = {"usd_per_m_input": 1.0, "usd_per_m_output": 2.0}
    return Expert(name="api", model="m", backend="openai", base_url=url, engine=engine, **prices)


def _batch(*prompts: str, **more: Any) -> pa.RecordBatch:
    rows = [
        {"id": i, "question": p, "prompt": p, "max_tokens": 16, "temperature": 0.0, **more}
        for i, p in enumerate(prompts)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=REQUESTS)


@pytest.fixture
def backend(api: Any) -> Iterator[OpenAIBackend]:
    """Open a backend on the server, with two retries and a second of patience."""
    backend = open_backend(_expert(api.url))
    assert isinstance(backend, OpenAIBackend)
    yield backend
    backend.close()


def _answers(backend: Backend, *prompts: str) -> list[dict[str, Any]]:
    rows = [row for batch in backend.generate(iter([_batch(*prompts)])) for row in batch.to_pylist()]
    return sorted(rows, key=lambda row: row["id"])


def test_answers_carry_what_they_used(backend: OpenAIBackend) -> None:
    """Answer, tokens, time and finish reason come back in the schema of completions."""
    (batch,) = list(backend.generate(iter([_batch("hello")])))
    assert batch.schema.equals(COMPLETIONS)
    row = batch.to_pylist()[0]
    assert (row["answer"], row["prompt_tokens"], row["completion_tokens"]) == ("echo: hello", 12, 3)
    assert row["latency_ms"] > 0
    assert (row["finish_reason"], row["error"], row["bounced"]) == ("stop", None, False)


def test_many_are_sent_at_once_but_no_more_than_allowed(api: Any) -> None:
    """Requests overlap up to the concurrency, and each is sent once."""
    api.delay_s = 0.1
    backend = open_backend(_expert(api.url, concurrency=4))
    rows = _answers(backend, *(f"q{i}" for i in range(40)))
    backend.close()
    assert len(rows) == 40
    assert api.most_at_once == 4
    assert set(api.asked.values()) == {1}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_faults_are_retried(api: Any, backend: OpenAIBackend, status: int) -> None:
    """Too many requests and server errors are tried again and cost the row nothing."""
    api.faults = {"shaky": [status, status]}
    rows = _answers(backend, "steady", "shaky")
    assert [row["answer"] for row in rows] == ["echo: steady", "echo: shaky"]
    assert api.asked["shaky"] == 3


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (500, "500 Internal Server Error: fault 500"),
        ("hang", "the API did not answer in time"),
        ("drop", "the API cannot be reached"),
        ("garbage", "the API answered with a web page instead of JSON"),
        ("empty", "the API's reply holds no answer"),
        (422, "422 Unprocessable Entity: fault 422"),
    ],
)
def test_a_lasting_fault_is_that_rows_error(api: Any, backend: OpenAIBackend, fault: int | str, says: str) -> None:
    """A fault that stays fails its row with one line, and another expert may take it; the other rows are answered."""
    api.faults, api.repeat = {"bad": [fault]}, True
    rows = _answers(backend, "good", "bad", "fine")
    assert [row["answer"] for row in rows] == ["echo: good", None, "echo: fine"]
    assert says in rows[1]["error"]
    assert "\n" not in rows[1]["error"]
    assert (rows[1]["finish_reason"], rows[1]["bounced"]) == ("error", True)


def test_a_prompt_over_the_context_bounces(api: Any, backend: OpenAIBackend) -> None:
    """The API says that a prompt is too long: another expert may take it."""
    api.faults, api.repeat = {"long": [400]}, True
    assert [row["bounced"] for row in _answers(backend, "long", "short")] == [True, False]


@pytest.mark.parametrize(
    ("status", "says"), [(401, "refuses the key"), (403, "refuses the key"), (404, "does not know 'm'")]
)
def test_a_refused_key_ends_the_expert(api: Any, backend: OpenAIBackend, status: int, says: str) -> None:
    """Without a valid key, or without the model, no row can be answered: said once, not per row."""
    api.faults, api.repeat = {"q": [status]}, True
    with pytest.raises(ExpertUnavailable, match=says):
        _answers(backend, *(f"q{i}" for i in range(40)))
    assert sum(api.asked.values()) < 40


def test_an_api_that_only_fails_is_given_up(api: Any) -> None:
    """When row after row fails after its retries, the rest is not tried."""
    api.faults, api.repeat = {"q": [500]}, True
    backend = open_backend(_expert(api.url, max_retries=0))
    with pytest.raises(ExpertUnavailable, match="8 requests in a row failed, the last one so: 500"):
        _answers(backend, *(f"q{i}" for i in range(200)))
    backend.close()
    assert sum(api.asked.values()) < 60


def test_an_absent_server_ends_the_expert() -> None:
    """A server that is not there ends the expert with a line that says so."""
    backend = open_backend(_expert("http://127.0.0.1:9/v1", max_retries=0))
    with pytest.raises(ExpertUnavailable, match="cannot be reached"):
        _answers(backend, *(f"q{i}" for i in range(20)))
    backend.close()


def test_stopping_early_leaves_nothing_running(api: Any, backend: OpenAIBackend) -> None:
    """A caller that goes away cancels what is in flight, at once."""
    api.delay_s = 0.5
    completions = backend.generate(iter([_batch(*(f"q{i}" for i in range(100)))]))
    next(completions)
    started = time.monotonic()
    completions.close()
    backend.close()
    assert time.monotonic() - started < 1
    assert sum(api.asked.values()) < 40


def test_an_empty_batch_means_wait(backend: OpenAIBackend) -> None:
    """When nothing can be handed out until something is back, it yields before it pulls again."""
    seen: list[int] = []

    def requests() -> Iterator[pa.RecordBatch]:
        yield _batch("one")
        yield _batch()
        assert seen == [1]
        yield _batch("two")

    for batch in backend.generate(requests()):
        seen += [batch.num_rows]
    assert seen == [1, 1]


def test_choices_are_kept_to(api: Any, backend: OpenAIBackend) -> None:
    """An answer that names a choice is that choice; any other is the row's error."""
    batch = _batch("yes it is", "hm", choices=["echo: yes", "echo: no"])
    rows = sorted(
        (row for done in backend.generate(iter([batch])) for row in done.to_pylist()), key=lambda row: row["id"]
    )
    assert rows[0]["answer"] == "echo: yes"
    assert rows[1]["error"] == "the answer 'echo: hm' is none of the choices"
