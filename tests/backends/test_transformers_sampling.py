"""Each row has its own sampling parameters, which change no other row."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
import torch

from leeroo.engine.backends.completions import Request
from leeroo.engine.backends.local.sampling import Sampler

Requests = Callable[..., pa.RecordBatch]


def _rows(backend: Any, batch: pa.RecordBatch, *wants: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the completions of the first request, once for each of the wants."""
    rows = [{**batch.to_pylist()[0], "id": i, **want} for i, want in enumerate(wants)]
    stream = backend.generate(iter([pa.RecordBatch.from_pylist(rows, schema=batch.schema)]))
    done = {row["id"]: row for each in stream for row in each.to_pylist()}
    return [done[i] for i in range(len(wants))]


def test_a_seed_gives_the_same_answer_again(transformers: Any, requests: Requests) -> None:
    """A row gives the same answer alone or with others, and another one with another seed."""
    batch = requests("Tell me any random word.", temperature=1.5)
    first = _rows(transformers, batch, *({"seed": seed} for seed in (7, 8, 9, 7)))
    again = _rows(transformers, batch, {"seed": 7}, {})
    assert first[0]["answer"] == first[3]["answer"] == again[0]["answer"]
    assert len({row["answer"] for row in first}) > 1


def test_a_narrow_top_p_leaves_the_likeliest(transformers: Any, requests: Requests) -> None:
    """With next to no room for chance an answer is the one at temperature 0."""
    batch = requests("Name a colour.")
    cold, *narrow = _rows(transformers, batch, {}, *[{"temperature": 2.0, "top_p": 1e-6}] * 3)
    assert {row["answer"] for row in narrow} == {cold["answer"]}


def test_top_p_takes_the_likeliest_tokens_that_reach_it() -> None:
    """Of tokens of 0.5, 0.3 and 0.2 a top_p of 0.6 takes the first two, and 0.5 the first alone."""
    rows = [Request(i, "q", "q", None, 5, 1.0, top_p=0.6 if i < 500 else 0.5) for i in range(1000)]
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log().repeat(1000, 1)
    picked = Sampler(rows, "cpu").pick(logits, range(1000), [[]] * 1000).tolist()
    assert set(picked[:500]) == {0, 1}
    assert set(picked[500:]) == {0}
    assert Counter(picked[:500])[0] == pytest.approx(500 * 5 / 8, abs=60)


def test_penalties_are_counted_as_openai_does() -> None:
    """The frequency penalty for each time a token was written, the presence penalty once; other rows as they were."""
    rows = [
        Request(0, "q", "q", None, 5, 0.0, frequency_penalty=0.4),
        Request(1, "q", "q", None, 5, 0.0, presence_penalty=0.9),
        Request(2, "q", "q", None, 5, 0.0, presence_penalty=1.1),
        Request(3, "q", "q", None, 5, 0.0),
    ]
    logits = torch.tensor([[2.0, 1.0, 0.0]]).repeat(4, 1)
    assert Sampler(rows, "cpu").pick(logits, range(4), [[0, 0, 0], [0, 0, 0], [0], [0]]).tolist() == [1, 0, 1, 0]


def test_an_answer_ends_before_a_stop_text(transformers: Any, requests: Requests) -> None:
    """That holds across tokens too; the finish reason is 'stop', and all generated tokens count."""
    batch = requests("Count from one to nine, in digits.", max_tokens=30)
    [whole] = _rows(transformers, batch, {})
    text = whole["answer"]
    at = len(text) // 2
    stop = text[at : at + 3]
    [row, other] = _rows(transformers, batch, {"stop": [stop, "never said"]}, {})
    assert row["answer"] == text[: text.find(stop)].strip()
    assert row["finish_reason"] == "stop"
    assert row["completion_tokens"] < whole["completion_tokens"]
    assert other["answer"] == text


def test_log_probabilities_come_in_openais_form(transformers: Any, requests: Requests) -> None:
    """A token object for each token of the answer, with its alternatives, the likeliest first; NULL where none are requested."""
    two, none, without = _rows(
        transformers, requests("What is the capital of France?"), {"top_logprobs": 2}, {"top_logprobs": 0}, {}
    )
    objects = json.loads(two["logprobs"])
    assert "".join(token["token"] for token in objects).strip() == two["answer"]
    for token in objects:
        assert bytes(token["bytes"]).decode() == token["token"]
        assert [token["token"], token["logprob"]] == [token["top_logprobs"][0][name] for name in ("token", "logprob")]
        assert len(token["top_logprobs"]) == 2
        assert sum(math.exp(each["logprob"]) for each in token["top_logprobs"]) <= 1 + 1e-6
    assert all(token["top_logprobs"] == [] for token in json.loads(none["logprobs"]))
    assert without["logprobs"] is None


def test_an_answer_continues_its_beginning(transformers: Any, requests: Requests) -> None:
    """A last turn of the assistant is not answered but continued, and is not part of what comes back."""
    begun = json.dumps([{"role": "assistant", "content": "The capital of France is the city of"}])
    [row] = _rows(transformers, requests("What is the capital of France?", after=begun), {})
    assert row["answer"].startswith("Paris")


def test_no_text_is_an_error_with_its_tokens(transformers: Any, requests: Requests) -> None:
    """An answer that is stopped before its first word has none; another expert may have one where the limit ended it."""
    batch = requests("What is the capital of France?")
    [whole] = _rows(transformers, batch, {})
    [empty] = _rows(transformers, batch, {"stop": [whole["answer"][0]]})
    assert (empty["answer"], empty["error"], empty["finish_reason"]) == (None, "empty answer", "error")
    assert empty["completion_tokens"] > 0
    assert not empty["bounced"]
    [short] = _rows(transformers, requests("Blank", raw=True, prompt="def f():\n   ", max_tokens=1), {})
    assert short["completion_tokens"] == 1
    assert short["answer"] or (short["bounced"] and "raise max_tokens" in short["error"])
