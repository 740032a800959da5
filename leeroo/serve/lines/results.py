"""Answers of lines, and the lines of output and error files that they become, in the form of OpenAI's API.

An answer is a dictionary of the columns of the answers table, with `logprobs`, and with `choices` where a line wants
several. It is JSON in the database.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from leeroo.engine.schema import ANSWERS
from leeroo.serve.lines.bodies import CHAT
from leeroo.serve.lines.read import FAILED, NO_MODEL, OK

_SUMS = ("prompt_tokens", "completion_tokens", "cost_usd", "list_cost_usd")
_THOUGHTS = "reasoning_tokens"  # known of some answers only
_CHOICE = ("answer", "finish_reason", "logprobs")


LineAnswer = dict[str, Any]


class LineResult(NamedTuple):
    """A line of a batch that has ended: its number, its HTTP status and its answer; None where it was not reached."""

    line: int
    custom_id: str | None
    status: int | None
    answer: LineAnswer | None


def no_answer(error: str) -> LineAnswer:
    """Return the answer of a line that has none, with the reason."""
    free = {"cost_usd": 0.0, "list_cost_usd": 0.0}
    return {**dict.fromkeys(ANSWERS.names), **free, "finish_reason": "error", "error": error}


def join_answers(answers: Sequence[LineAnswer]) -> LineAnswer:
    """Join the answers of one line: it fails if none came, and is billed for all of them."""
    came = [(index, answer) for index, answer in enumerate(answers) if answer["error"] is None]
    first = came[0][1] if came else answers[0]
    sums = {name: sum(answer[name] or 0 for answer in answers) for name in _SUMS}
    if any(answer.get(_THOUGHTS) is not None for answer in answers):
        sums[_THOUGHTS] = sum(answer.get(_THOUGHTS) or 0 for answer in answers)
    choices = [{"index": index, **{name: answer.get(name) for name in _CHOICE}} for index, answer in came]
    return {**first, **sums, "choices": choices} if len(answers) > 1 and came else {**first, **sums}


def result_line(batch: str, endpoint: str, created: int, result: LineResult, unreached: tuple[str, str]) -> str:
    """Return a line of an output or error file.

    It is ASCII: readers that split at every Unicode line separator keep it whole.

    Args:
        batch: Id of the batch.
        endpoint: Gives the form of an answer.
        created: Seconds of the epoch, for the answer.
        result: What is written.
        unreached: Code and message of lines that were not reached.

    """
    name = f"{batch.removeprefix('batch_')}-{result.line}"
    ids = {"id": f"batch_req_{name}", "custom_id": result.custom_id}
    if result.answer is None or result.status == FAILED:
        code, message = unreached if result.answer is None else ("request_failed", result.answer["error"])
        return json.dumps({**ids, "response": None, "error": {"code": code, "message": message}})
    if result.status != OK:
        unknown = "model_not_found" if result.status == NO_MODEL else None
        body = error_body(result.answer["error"], "invalid_request_error", unknown)
    else:
        body = _body(name, endpoint, created, result.answer)
    response = {"status_code": result.status, "request_id": f"req_{name}", "body": body}
    return json.dumps({**ids, "response": response, "error": None})


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """Return an error as OpenAI's API writes it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _body(name: str, endpoint: str, created: int, answer: LineAnswer) -> dict[str, Any]:
    chat = endpoint == CHAT
    prompt, completion = answer["prompt_tokens"] or 0, answer["completion_tokens"] or 0
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    if (thoughts := answer.get(_THOUGHTS)) is not None:
        usage["completion_tokens_details"] = {_THOUGHTS: thoughts}
    return {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{name}",
        "object": "chat.completion" if chat else "text_completion",
        "created": created,
        "model": answer["expert"],
        "choices": [_choice(each, chat=chat) for each in answer.get("choices") or [{"index": 0, **answer}]],
        "usage": {**usage, "total_tokens": prompt + completion},
        "leeroo": {name: answer[name] for name in ("expert", "predicted_score", "cost_usd", "list_cost_usd")},
    }


def _choice(choice: dict[str, Any], *, chat: bool) -> dict[str, Any]:
    tokens = None if choice.get("logprobs") is None else json.loads(choice["logprobs"])
    if chat:
        own: dict[str, Any] = {"message": {"role": "assistant", "content": choice["answer"], "refusal": None}}
        logprobs = None if tokens is None else {"content": tokens, "refusal": None}
    else:
        own = {"text": choice["answer"]}
        logprobs = None if tokens is None else _text_logprobs(tokens)
    return {"index": choice["index"], **own, "logprobs": logprobs, "finish_reason": choice["finish_reason"]}


def _text_logprobs(tokens: list[dict[str, Any]]) -> dict[str, Any]:
    """Return log probabilities in the older form, that of /v1/completions."""
    texts = [each["token"] for each in tokens]
    return {
        "tokens": texts,
        "token_logprobs": [each["logprob"] for each in tokens],
        "top_logprobs": [{other["token"]: other["logprob"] for other in each["top_logprobs"]} for each in tokens],
        "text_offset": list(itertools.accumulate(map(len, texts), initial=0))[: len(texts)],
    }
