"""Results: the lines of an output file or an error file, as OpenAI writes them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from leeroo.serve.work.bodies import CHAT
from leeroo.serve.work.lines import FAILED, NO_MODEL, OK

_SUMS = ("prompt_tokens", "completion_tokens", "cost_usd", "list_cost_usd")
_CHOICE = ("answer", "finish_reason", "logprobs")


def joined(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join the answers of one line: it fails if none came, and is billed for all of them."""
    came = [(index, answer) for index, answer in enumerate(answers) if answer["error"] is None]
    first = came[0][1] if came else answers[0]
    sums = {name: sum(answer[name] or 0 for answer in answers) for name in _SUMS}
    more = [{"index": index, **{name: answer.get(name) for name in _CHOICE}} for index, answer in came]
    return {**first, **sums, "choices": more} if len(answers) > 1 and came else {**first, **sums}


def result_line(
    batch: str, endpoint: str, created: int, line: int, custom_id: str | None, status: int, told: dict[str, Any]
) -> str:
    """Return a line of an output or error file.

    It is ASCII: readers that split at every Unicode line separator keep it whole.
    """
    name = f"{batch.removeprefix('batch_')}-{line}"
    result = {"id": f"batch_req_{name}", "custom_id": custom_id}
    if status == FAILED:
        return json.dumps({**result, "response": None, "error": {"code": told["code"], "message": told["error"]}})
    if status != OK:
        body = error_body(told["error"], "invalid_request_error", "model_not_found" if status == NO_MODEL else None)
    else:
        body = _body(name, endpoint, created, told)
    response = {"status_code": status, "request_id": f"req_{name}", "body": body}
    return json.dumps({**result, "response": response, "error": None})


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """Return an error as OpenAI's API writes it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _body(name: str, endpoint: str, created: int, told: dict[str, Any]) -> dict[str, Any]:
    chat = endpoint == CHAT
    prompt, completion = told["prompt_tokens"] or 0, told["completion_tokens"] or 0
    choice = _chat_choice if chat else _text_choice
    return {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{name}",
        "object": "chat.completion" if chat else "text_completion",
        "created": created,
        "model": told["expert"],
        "choices": [choice(each) for each in told.get("choices") or [{"index": 0, **told}]],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        "leeroo": {name: told[name] for name in ("expert", "predicted_score", "cost_usd", "list_cost_usd")},
    }


def _chat_choice(told: dict[str, Any]) -> dict[str, Any]:
    tokens = _tokens(told)
    return {
        "index": told["index"],
        "message": {"role": "assistant", "content": told["answer"], "refusal": None},
        "logprobs": None if tokens is None else {"content": tokens, "refusal": None},
        "finish_reason": told["finish_reason"],
    }


def _text_choice(told: dict[str, Any]) -> dict[str, Any]:
    tokens = _tokens(told)
    return {
        "index": told["index"],
        "text": told["answer"],
        "logprobs": None if tokens is None else _text_logprobs(tokens),
        "finish_reason": told["finish_reason"],
    }


def _text_logprobs(tokens: list[dict[str, Any]]) -> dict[str, Any]:
    """Return log probabilities in the older form, that of /v1/completions."""
    texts = [each["token"] for each in tokens]
    return {
        "tokens": texts,
        "token_logprobs": [each["logprob"] for each in tokens],
        "top_logprobs": [{other["token"]: other["logprob"] for other in each["top_logprobs"]} for each in tokens],
        "text_offset": list(itertools.accumulate(map(len, texts), initial=0))[: len(texts)],
    }


def _tokens(told: dict[str, Any]) -> list[dict[str, Any]] | None:
    text = told.get("logprobs")
    return None if text is None else json.loads(text)
