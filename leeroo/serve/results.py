"""Results: what the lines of an output file or an error file say, as OpenAI writes them."""

from __future__ import annotations

import json
from typing import Any

from leeroo.serve.bodies import CHAT
from leeroo.serve.lines import FAILED, NO_MODEL, OK


def result_line(
    batch: str, endpoint: str, created: int, line: int, custom_id: str | None, status: int, told: dict[str, Any]
) -> str:
    """A line of an output or error file, as OpenAI writes them, with what it cost in an object `leeroo`."""
    name = f"{batch.removeprefix('batch_')}-{line}"
    result = {"id": f"batch_req_{name}", "custom_id": custom_id}
    if status == FAILED:
        return json.dumps({**result, "response": None, "error": {"code": told["code"], "message": told["error"]}})
    if status != OK:
        body = error_body(told["error"], "invalid_request_error", "model_not_found" if status == NO_MODEL else None)
    else:
        body = _body(name, endpoint, created, told)
    response = {"status_code": status, "request_id": f"req_{name}", "body": body}
    return json.dumps({**result, "response": response, "error": None}, ensure_ascii=False)


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """What OpenAI's API says of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _body(name: str, endpoint: str, created: int, told: dict[str, Any]) -> dict[str, Any]:
    chat = endpoint == CHAT
    said = (
        {"message": {"role": "assistant", "content": told["answer"], "refusal": None}}
        if chat
        else {"text": told["answer"]}
    )
    prompt, completion = told["prompt_tokens"] or 0, told["completion_tokens"] or 0
    return {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{name}",
        "object": "chat.completion" if chat else "text_completion",
        "created": created,
        "model": told["expert"],
        "choices": [{"index": 0, **said, "logprobs": None, "finish_reason": told["finish_reason"]}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        "leeroo": {name: told[name] for name in ("expert", "predicted_score", "cost_usd", "list_cost_usd")},
    }
