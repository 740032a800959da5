"""The embedded backend: a batch gives each row what it would get alone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.backends.local.causal import CausalModel
from leeroo.engine.backends.select import load_backend
from leeroo.engine.errors import ExpertUnavailable, PoolError
from leeroo.engine.pool import Expert
from leeroo.engine.schema import COMPLETIONS

Requests = Callable[..., pa.RecordBatch]
PROMPTS = (
    "What is the capital of France?",
    "Hi",
    "Name a colour. " * 20 + "Only one.",
    "Count from one to three.",
    "What is 2 plus 2? Answer with the number.",
)


def _rows(backend: Any, *batches: pa.RecordBatch) -> dict[int, dict[str, Any]]:
    done = list(backend.generate(iter(batches)))
    assert all(batch.schema.equals(COMPLETIONS) for batch in done)
    return {row["id"]: row for batch in done for row in batch.to_pylist()}


def test_it_answers_sensibly(transformers: Any, requests: Requests) -> None:
    """The weights that the package ships, converted, are the model: it knows the capital of France."""
    row = _rows(transformers, requests(PROMPTS[0]))[0]
    assert "Paris" in row["answer"]
    assert row["error"] is None
    assert 0 < row["completion_tokens"] <= 12
    assert row["prompt_tokens"] > 10


def test_a_batch_of_different_lengths_changes_no_answer(transformers: Any, requests: Requests) -> None:
    """Padding, sorting and leaving the batch when done are not seen in any row's text or tokens."""
    together = _rows(transformers, requests(*PROMPTS))
    for i, prompt in enumerate(PROMPTS):
        alone = _rows(transformers, requests(prompt))[0]
        for name in ("answer", "prompt_tokens", "completion_tokens", "finish_reason"):
            assert alone[name] == together[i][name], (prompt, name)


def test_what_prompts_begin_with_is_computed_once(
    transformers: Any, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system text that all rows of a batch share is read once, and no answer is another for it."""
    alone = {i: _rows(transformers, requests(prompt, max_tokens=3))[0]["answer"] for i, prompt in enumerate(PROMPTS)}
    read: list[int] = []
    compute = CausalModel.__call__

    def count(model: CausalModel, tokens: Any, *rest: Any) -> Any:
        read.append(tokens.numel())
        return compute(model, tokens, *rest)

    monkeypatch.setattr(CausalModel, "__call__", count)
    together = _rows(transformers, requests(*PROMPTS, max_tokens=3))
    assert {i: row["answer"] for i, row in together.items()} == alone
    shared, rows = read[:2]
    longest = max(row["prompt_tokens"] for row in together.values())
    assert shared > 10
    assert rows == len(PROMPTS) * (longest - shared)


def test_limits_hold_row_by_row(transformers: Any, requests: Requests) -> None:
    """A row's own limit ends its answer with 'length', also in a later batch with another limit."""
    first = requests("Tell me a long story about a dragon.", max_tokens=5)
    second = pa.RecordBatch.from_pylist([{**first.to_pylist()[0], "id": 7, "max_tokens": 9}], schema=first.schema)
    rows = _rows(transformers, first, second)
    assert [(rows[i]["completion_tokens"], rows[i]["finish_reason"]) for i in (0, 7)] == [(5, "length"), (9, "length")]
    assert rows[7]["answer"].startswith(rows[0]["answer"])


def test_a_prompt_over_the_context_bounces_alone(smollm2: Expert, requests: Requests) -> None:
    """It has its error and may go elsewhere; its neighbour is answered."""
    short = smollm2.model_copy(update={"backend": "transformers", "engine": {"max_model_len": 64}})
    backend = load_backend(short)
    rows = _rows(backend, requests("word " * 200, "Hi"))
    backend.close()
    assert rows[0]["bounced"]
    assert "the context of this expert holds 64" in rows[0]["error"]
    assert rows[1]["answer"]


def test_a_choice_is_one_of_the_choices(transformers: Any, requests: Requests) -> None:
    """The likeliest choice is the answer, with a log probability for each, however many tokens they have."""
    row = _rows(
        transformers, requests("What is the capital of France?", choices=["Rome", "Paris", "the city of Oslo"])
    )[0]
    assert row["answer"] == "Paris"
    assert max(range(3), key=row["choice_logprobs"].__getitem__) == 1
    assert sum(map(math.exp, row["choice_logprobs"])) == pytest.approx(1)


def test_choices_alone_and_in_a_batch_are_alike(transformers: Any, requests: Requests) -> None:
    """Padding and neighbours change no probability; a choice that begins another is distinct from it."""
    places = ["New York", "New York City", "Paris"]
    prompts = ("Where is the Louvre?", "Where is the Statue of Liberty? Name the city. " * 5)
    together = _rows(transformers, requests(*prompts, choices=places))
    for i, prompt in enumerate(prompts):
        alone = _rows(transformers, requests(prompt, choices=places))[0]
        assert alone["choice_logprobs"] == pytest.approx(together[i]["choice_logprobs"], abs=1e-3)
    assert together[0]["answer"] == "Paris"
    assert together[1]["answer"].startswith("New York")


def test_a_beginning_that_rows_share_is_computed_once(transformers: Any, requests: Requests) -> None:
    """It changes no probability, and rows report how much of them was computed before."""
    subjects = [
        f"Here is what one should know of {name}. " + f"All of {name} is hard. " * 12 for name in ("art", "law")
    ]
    prompts = [f"{subject}Question {i}: which is it?" for i in range(4) for subject in subjects]
    together = _rows(transformers, requests(*prompts, choices=["A", "B", "C"]))
    for i, prompt in enumerate(prompts):
        alone = _rows(transformers, requests(prompt, choices=["A", "B", "C"]))[0]
        assert alone["choice_logprobs"] == pytest.approx(together[i]["choice_logprobs"], abs=1e-3)
        assert alone["cached_tokens"] == 0
        assert together[i]["prompt_tokens"] > together[i]["cached_tokens"] > 50


def test_a_raw_prompt_is_text_to_go_on_with(transformers: Any, requests: Requests) -> None:
    """No chat template and no system text around it, and a choice comes after a space, as the next word."""
    prompt = "Q: What is the capital of France?\nA:"
    cities = ["Rome", "Paris", "Oslo"]
    row = _rows(transformers, requests(prompt, choices=cities, raw=True))[0]
    tokenizer, model = transformers._tokenizer, transformers._model.model
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    first = [tokenizer(f" {choice}")["input_ids"][0] for choice in cities]
    expected = model(ids).logits[0, -1].detach().float()[first].log_softmax(-1).tolist()
    assert row["answer"] == "Paris"
    assert row["prompt_tokens"] == ids.shape[1]
    assert row["choice_logprobs"] == pytest.approx(expected, abs=1e-3)


def test_json_keeps_to_its_schema(transformers: Any, requests: Requests) -> None:
    """The answer is valid under the schema; a schema that cannot be kept to is that row's error alone."""
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    good = requests("John Smith is 42 years old.", json_schema=json.dumps(schema), max_tokens=40)
    rows = [*good.to_pylist(), {**good.to_pylist()[0], "id": 1, "json_schema": '{"type": "wrong"}'}]
    done = _rows(
        transformers, pa.RecordBatch.from_pylist([*rows, {**rows[0], "id": 2, "json_schema": None}], good.schema)
    )
    read = json.loads(done[0]["answer"])
    assert set(read) == {"name", "age"}
    assert isinstance(read["age"], int)
    assert "cannot keep to the JSON schema" in done[1]["error"]
    assert done[2]["error"] is None


def test_rows_come_back_as_they_end(transformers: Any, requests: Requests) -> None:
    """Rows of a batch that end early are handed on early, to be stored."""
    first = requests("Tell me a long story about a dragon.", max_tokens=120)
    rows = [{**first.to_pylist()[0], "id": i, "max_tokens": 1 + 119 * i} for i in range(2)]
    batches = list(transformers.generate(iter([pa.RecordBatch.from_pylist(rows, schema=first.schema)])))
    assert [batch.column("id").to_pylist() for batch in batches if batch.num_rows] == [[0], [1]]


def test_a_temperature_samples(transformers: Any, requests: Requests) -> None:
    """At a high temperature eight answers to one question do not all agree; at 0 they do."""
    prompts = ["Tell me any random word."] * 8
    hot = _rows(transformers, requests(*prompts, temperature=1.5))
    cold = _rows(transformers, requests(*prompts))
    assert len({row["answer"] for row in hot.values()}) > 1
    assert len({row["answer"] for row in cold.values()}) == 1


def test_a_folder_that_is_no_model_does_not_start(tmp_path: Path, smollm2: Expert) -> None:
    """One line with the cause, as an expert that is unavailable."""
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ExpertUnavailable, match="does not load") as raised:
        load_backend(smollm2.model_copy(update={"backend": "transformers", "model": str(tmp_path)}))
    assert "\n" not in str(raised.value)


def test_unknown_options_are_refused_by_name(smollm2: Expert) -> None:
    """A misspelt engine option is a configuration error."""
    wrong = smollm2.model_copy(update={"backend": "transformers", "engine": {"dtyp": "float32"}})
    with pytest.raises(PoolError, match="no engine option 'dtyp'"):
        load_backend(wrong)
