"""Sampling parameters of lines reach the API, and its replies reach the output file."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.serve.talk import Tenant, chat, content, jsonl, submit, wait

PARAMETERS: dict[str, Any] = {
    "stop": ["END"], "seed": 7, "top_p": 0.5, "frequency_penalty": 0.5, "presence_penalty": -0.5,
    "reasoning_effort": "low",
}  # fmt: skip


def _completions(client: openai.OpenAI, file: str) -> list[openai.types.chat.ChatCompletion]:
    bodies = [line["response"]["body"] for line in content(client, file)]
    return [openai.types.chat.ChatCompletion.model_validate(body) for body in bodies]


def test_parameters_are_sent_as_they_are(tenant: Tenant) -> None:
    """Each parameter has OpenAI's name, and conversations keep their order."""
    messages = [
        {"role": "user", "content": "One?"},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": "It is"},
    ]
    line = chat("a", "", **PARAMETERS)
    line["body"]["messages"] = messages
    batch = wait(tenant.client, submit(tenant.client, jsonl([line])).id)
    assert batch.request_counts.completed == 1, content(tenant.client, batch.error_file_id)
    sent = tenant.api.bodies[-1]
    assert {name: sent[name] for name in PARAMETERS} == PARAMETERS
    assert sent["messages"] == messages


def test_several_choices_are_one_reply(tenant: Tenant) -> None:
    """The choices are samples with seeds of their own; usage and cost are those of all of them."""
    lines = [chat("a", "sampled", n=3, seed=5), chat("b", "plain")]
    batch = wait(tenant.client, submit(tenant.client, jsonl(lines)).id)
    assert batch.request_counts.model_dump() == {"total": 2, "completed": 2, "failed": 0}
    completions = _completions(tenant.client, batch.output_file_id)
    assert [choice.index for choice in completions[0].choices] == [0, 1, 2]
    assert [len(each.choices) for each in completions] == [3, 1]
    assert completions[0].usage
    assert completions[0].usage.total_tokens == 45
    assert batch.leeroo["cost_usd"] == pytest.approx(4 * 150e-6)
    sampled = [body for body in tenant.api.bodies if body["messages"][-1]["content"] == "sampled"]
    assert {(body["seed"], body["temperature"]) for body in sampled} == {(5, 1.0), (6, 1.0), (7, 1.0)}


def test_a_choice_that_fails_costs_no_other(tenant: Tenant) -> None:
    """The reply has those that came, under their index."""
    tenant.api.faults = {"shaky": [400]}
    batch = wait(tenant.client, submit(tenant.client, jsonl([chat("a", "shaky", "large", n=3)])).id)
    [completions] = _completions(tenant.client, batch.output_file_id)
    assert len(completions.choices) == 2
    assert {choice.index for choice in completions.choices} < {0, 1, 2}


@pytest.mark.parametrize("again", [False, True])
def test_log_probabilities_come_back(tenant: Tenant, again: bool) -> None:
    """In OpenAI's form, also when the answer comes out of the store."""
    lines = jsonl([chat("a", "q", logprobs=True, top_logprobs=2)])
    for _ in range(1 + again):
        batch = wait(tenant.client, submit(tenant.client, lines).id)
        [completions] = _completions(tenant.client, batch.output_file_id)
        assert completions.choices[0].logprobs
        assert completions.choices[0].logprobs.content
        assert completions.choices[0].logprobs.content[0].logprob < 0


def test_a_schema_is_held(tenant: Tenant) -> None:
    """An answer that is not valid under it is its line's error, and so is one that is no JSON object."""
    tenant.api.says = lambda model, prompt: {"good": '{"a": 1}', "list": "[1, 2"}.get(prompt, "no JSON at all")
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    forms: list[dict[str, Any]] = [
        {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
        {"type": "json_object"},
    ]
    lines = [
        chat(f"{n}-{word}", word, response_format=form)
        for n, form in enumerate(forms)
        for word in ("good", "list", "text")
    ]
    batch = wait(tenant.client, submit(tenant.client, jsonl(lines)).id)
    assert [line["custom_id"] for line in content(tenant.client, batch.output_file_id)] == ["0-good", "1-good"]
    assert batch.request_counts.failed == 4
