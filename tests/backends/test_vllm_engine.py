"""A real vLLM engine, on whatever this machine has."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from leeroo.engine.backends import device
from leeroo.engine.backends.select import open_backend, unavailable
from leeroo.engine.errors import PoolError
from leeroo.engine.pool import Expert
from leeroo.engine.schema import COMPLETIONS
from tests.backends.tiny import save_model

pytestmark = pytest.mark.vllm

Requests = Callable[..., pa.RecordBatch]


@pytest.fixture(scope="module")
def backend(smollm2: Expert) -> Iterator[Any]:
    """One engine for all tests here: it takes most of a minute to start on a CPU."""
    expert = smollm2.model_copy(update={"backend": "vllm", "engine": {"max_model_len": 512, "max_num_seqs": 16}})
    assert unavailable(expert) is None
    backend = open_backend(expert)
    yield backend
    backend.close()


def _rows(backend: Any, *batches: pa.RecordBatch) -> dict[int, dict[str, Any]]:
    done = list(backend.generate(iter(batches)))
    assert all(batch.schema.equals(COMPLETIONS) for batch in done)
    return {row["id"]: row for batch in done for row in batch.to_pylist()}


def test_a_stream_longer_than_the_engine_is_answered_whole(backend: Any, requests: Requests) -> None:
    """More requests than run at once all come back, each once, with tokens and time."""
    rows = _rows(backend, requests(*(f"What is {i} plus 1?" for i in range(60)), max_tokens=4))
    assert sorted(rows) == list(range(60))
    assert all(row["answer"] and row["completion_tokens"] <= 4 and row["latency_ms"] > 0 for row in rows.values())


def test_a_stream_goes_first_while_another_rests(backend: Any, requests: Requests) -> None:
    """It passes requests that wait in the engine; those come back once each and are the same as alone."""
    many = requests(*(f"What is {i} plus 1?" for i in range(60)), max_tokens=8)
    few = requests("What is the capital of France?")
    alone = _rows(backend, few), _rows(backend, many)
    large = backend.generate(iter([many]))
    rows = next(batch for batch in large if batch.num_rows).to_pylist()
    first = _rows(backend, few)
    rows += [row for batch in large for row in batch.to_pylist()]
    assert first[0]["answer"] == alone[0][0]["answer"]
    assert sorted(row["id"] for row in rows) == list(range(60))
    assert {row["id"]: row["answer"] for row in rows} == {i: row["answer"] for i, row in alone[1].items()}


def test_all_cores_compute_where_there_is_no_gpu(backend: Any, requests: Requests) -> None:
    """The backend's own process computes, because one of vLLM's would leave a core to it."""
    if device.on_host():
        _rows(backend, requests("What is 1 plus 1?", max_tokens=4))
        children = [child.cmdline() for child in psutil.Process(backend._process.pid).children(recursive=True)]
        assert not [command for command in children if "resource_tracker" not in " ".join(command)]


def test_vllm_answers_as_transformers_does(backend: Any, transformers: Any, requests: Requests) -> None:
    """Both backends give the same text, tokens and finish reason at temperature 0."""
    batch = requests("What is the capital of France?", "Count from one to three.", system="Answer briefly.")
    theirs = _rows(transformers, batch)
    for i, row in _rows(backend, batch).items():
        for name in ("answer", "prompt_tokens", "completion_tokens", "finish_reason"):
            assert row[name] == theirs[i][name]


def test_rows_have_their_own_limits(backend: Any, requests: Requests) -> None:
    """Sampling parameters hold for one row each."""
    first = requests("Tell me a long story about a dragon.", max_tokens=5)
    second = pa.RecordBatch.from_pylist([{**first.to_pylist()[0], "id": 7, "max_tokens": 9}], schema=first.schema)
    rows = _rows(backend, first, second)
    assert [(rows[i]["completion_tokens"], rows[i]["finish_reason"]) for i in (0, 7)] == [(5, "length"), (9, "length")]


def test_vllm_decides_as_transformers_does(backend: Any, transformers: Any, requests: Requests) -> None:
    """Several decisions of one request have the same probabilities in both, and the prompt counts once."""
    decisions = json.dumps({"urgent": ["yes", "no"], "team": ["billing", "bug", "big bug"], "stars": [1, 2, 10]})
    batch = requests("I was charged twice for May.", "The page is blank.", decisions=decisions, system="Decide.")
    theirs = _rows(transformers, batch)
    for i, row in _rows(backend, batch).items():
        assert row["choice_logprobs"] == pytest.approx(theirs[i]["choice_logprobs"], abs=0.05)
        for name in ("answer", "prompt_tokens", "completion_tokens"):
            assert row[name] == theirs[i][name]


def test_a_choice_is_one_of_the_choices(backend: Any, requests: Requests) -> None:
    """Choices of one token take one step, and longer ones are scored; both have log probabilities."""
    question = "Which letter comes first in the alphabet? Answer with the letter."
    letters = _rows(backend, requests(question, choices=["B", "A", "Z"]))[0]
    words = _rows(backend, requests("What is the capital of France?", choices=["Rome", "Paris", "the city of Oslo"]))[0]
    assert letters["answer"] in ("A", "B", "Z")
    assert words["answer"] == "Paris"
    for row in (letters, words):
        assert sum(map(math.exp, row["choice_logprobs"])) == pytest.approx(1, abs=1e-3)


def test_choices_are_as_likely_as_for_transformers(backend: Any, transformers: Any, requests: Requests) -> None:
    """Both backends give choices the same probabilities, also where a choice begins another."""
    batch = requests("Where is the Louvre?", "Name a big city.", choices=["New York", "New York City", "Paris"])
    theirs = _rows(transformers, batch)
    for i, row in _rows(backend, batch).items():
        assert row["choice_logprobs"] == pytest.approx(theirs[i]["choice_logprobs"], abs=0.02)
        assert row["answer"] == theirs[i]["answer"]


def test_json_keeps_to_its_schema(backend: Any, requests: Requests) -> None:
    """The engine's structured output is valid under the schema."""
    schema = '{"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}'
    row = _rows(backend, requests("John Smith is 42 years old.", json_schema=schema, max_tokens=30))[0]
    assert isinstance(json.loads(row["answer"])["age"], int)


def test_shared_beginnings_are_computed_once(backend: Any, requests: Requests) -> None:
    """Tokens of a prefix that another request had are reported as cached."""
    shared = "Here is a list of words: " + ", ".join(f"word{i}" for i in range(60)) + ". "
    _rows(backend, requests(shared + "Which is first?"))
    assert _rows(backend, requests(shared + "Which is last?"))[0]["cached_tokens"] > 100


def test_a_prompt_over_the_context_bounces_alone(backend: Any, requests: Requests) -> None:
    """It has its error and may go elsewhere; its neighbour is answered."""
    rows = _rows(backend, requests("word " * 900, "Hi"))
    assert rows[0]["bounced"]
    assert "holds 512" in rows[0]["error"]
    assert rows[1]["answer"]


def test_a_row_has_its_own_sampling(backend: Any, transformers: Any, requests: Requests) -> None:
    """A seed, a stop text and the beginning of an answer have the same effect as with transformers."""
    base = requests("What is the capital of France?").to_pylist()[0]
    begun = json.dumps([{"role": "assistant", "content": "The capital of France is the city of"}])
    wants: list[dict[str, Any]] = [
        {"temperature": 1.5, "seed": 7},
        {"temperature": 1.5, "seed": 7},
        {"stop": ["Paris", ""]},
        {"after": begun},
        {"top_logprobs": 2},
        {"temperature": 1.5, "top_p": 1e-6},
        {"frequency_penalty": 2.0, "presence_penalty": 1.0},
        {},
    ]
    batch = pa.RecordBatch.from_pylist([{**base, "id": i, **want} for i, want in enumerate(wants)], requests("").schema)
    rows = _rows(backend, batch)
    theirs = _rows(transformers, batch)
    assert rows[0]["answer"] == rows[1]["answer"]
    assert rows[5]["answer"] == rows[7]["answer"]
    for i in (2, 3, 4, 6, 7):
        assert (rows[i]["answer"], rows[i]["error"]) == (theirs[i]["answer"], theirs[i]["error"]), wants[i]
    ours, others = (json.loads(table[4]["logprobs"]) for table in (rows, theirs))
    for one, another in zip(ours, others, strict=True):
        assert one["token"] == another["token"]
        assert one["logprob"] == pytest.approx(another["logprob"], abs=0.02)
        assert [each["token"] for each in one["top_logprobs"]] == [each["token"] for each in another["top_logprobs"]]


@pytest.mark.parametrize(
    "want",
    [
        {"top_p": 7.0},
        {"frequency_penalty": 99.0},
        {"top_logprobs": 5000},
        {"temperature": -1.0},
        {"json_schema": "{"},
        {"json_schema": '{"type": "wrong"}'},
        {"json_schema": '{"$ref": "#/nowhere"}'},
        {"json_schema": '{"type": "string", "pattern": "(?<=a)b("}'},
        {"prompt": "", "raw": True},
        {"turns": "[7]"},
        {"reasoning_effort": "low"},
        {"turns": '[{"role": "user", "content": "cut \\ud83d"}]'},
    ],
)
def test_a_request_that_cannot_be_done_fails_alone(backend: Any, requests: Requests, want: dict[str, Any]) -> None:
    """Whatever it wants, its neighbours are answered and the engine continues."""
    base = requests("What is the capital of France?").to_pylist()[0]
    asked = [{**base, "id": i, **(want if i == 1 else {})} for i in range(3)]
    rows = _rows(backend, pa.RecordBatch.from_pylist(asked, requests("").schema))
    assert "Paris" in rows[0]["answer"]
    assert rows[0]["answer"] == rows[2]["answer"]
    assert "ud83d" in str(want) or rows[1]["error"]
    assert "\n" not in (rows[1]["error"] or "")


def test_stopping_early_leaves_the_engine_usable(backend: Any, requests: Requests) -> None:
    """A caller that leaves in the middle ends its requests, and the next caller is served."""
    stream = backend.generate(iter([requests(*(f"Story number {i}" for i in range(40)), max_tokens=30)]))
    next(stream)
    stream.close()
    assert "Paris" in _rows(backend, requests("What is the capital of France?"))[0]["answer"]


def test_unknown_options_are_refused_by_name(smollm2: Expert) -> None:
    """A misspelt engine option is a configuration error, raised before anything is loaded."""
    wrong = smollm2.model_copy(update={"backend": "vllm", "engine": {"max_model_length": 5}})
    with pytest.raises(PoolError, match="no engine option 'max_model_length'"):
        open_backend(wrong)


def test_values_of_options_are_checked(smollm2: Expert) -> None:
    """One line names the option and the fault in its value, before anything is loaded."""
    for option, value in {"max_model_len": "long", "gpu_memory_utilization": 7.0, "max_num_seqs": 0}.items():
        wrong = smollm2.model_copy(update={"backend": "vllm", "engine": {option: value}})
        with pytest.raises(PoolError, match=f"engine option {option} = {value!r}"):
            unavailable(wrong)


def test_thoughts_end_at_their_budget(tmp_path: Path, requests: Requests) -> None:
    """With a parser of vLLM, an effort in tokens ends the thoughts, and an answer follows; "none" thinks not at all."""
    template = (
        "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}\n{% endfor %}[a]"
        "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% else %}<think>{% endif %}"
    )
    model = save_model(tmp_path, template=template, marks=("<think>", "</think>"), hidden_size=128)
    prices: dict[str, Any] = {"usd_per_m_input": 1.0, "usd_per_m_output": 1.0}
    options = {"reasoning_parser": "deepseek_r1", "max_model_len": 256}
    thinker = open_backend(Expert(name="tiny", model=str(model), backend="vllm", engine=options, **prices))
    try:
        (thought,) = _rows(thinker, requests("Why?", reasoning_effort="10", max_tokens=40)).values()
        (quick,) = _rows(thinker, requests("Why?", reasoning_effort="none", max_tokens=40)).values()
    finally:
        thinker.close()
    assert thought["answer"]
    assert 0 < thought["reasoning_tokens"] < thought["completion_tokens"] - 20
    assert quick["answer"]
    assert quick["reasoning_tokens"] is None
