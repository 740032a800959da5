"""Bodies of errors: what a server says went wrong, in any of the forms that servers give it.

OpenAI's form is a table `error` with message, type, param and code. Others have a text in its place (TGI), put it in
a list (Google), write it without `error` (Mistral, AWS), or pass on that of another server (OpenRouter).
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

_TEXTS = ("message", "Message", "detail", "msg", "title", "error_description")
# The deepest that errors stand in errors.
_DEEPEST = 5


class ErrorBody(NamedTuple):
    """What the body of an error says; empty where it does not.

    Attributes:
        text: The message, with that of the server behind it.
        code: Its code and type.
        param: The parameter that is named as the cause.
        wait_s: The seconds after which to send again.
        usage: The usage that is reported beside it.

    """

    text: str = ""
    code: str = ""
    param: str | None = None
    wait_s: float | None = None
    usage: Any = None


def read_error(body: bytes | Any) -> ErrorBody:
    """Read the body of an error, given as bytes or as JSON."""
    reply = _parse(body) if isinstance(body, bytes) else body
    if isinstance(reply, list) and len(reply) == 1:
        reply = reply[0]
    error = reply.get("error", reply) if isinstance(reply, dict) else reply
    usage = reply.get("usage") if isinstance(reply, dict) else None
    if not isinstance(error, dict):
        return ErrorBody(error.strip() if isinstance(error, str) else "", usage=usage)
    text, behind = _text(error), _behind(error.get("metadata"))
    param = error.get("param")
    return ErrorBody(
        f"{text} ({behind})" if behind else text,
        f"{error.get('code') or ''} {error.get('type') or ''}".strip(),
        param if isinstance(param, str) else None,
        _wait_s(error.get("details")),
        usage,
    )


def _parse(body: bytes) -> Any:
    """Return the JSON of an error; its text where that is none, nothing of a web page."""
    text = body.decode(errors="replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None if "<" in text[:200] else text


def _text(error: Any, depth: int = 0) -> str:
    """Return the message of an error, in one line for each complaint."""
    if isinstance(error, str):
        return error.strip()
    if isinstance(error, list):
        return "; ".join(_complaint(each) for each in error)
    if not isinstance(error, dict) or depth == _DEEPEST:
        return ""
    return _text(next((error[name] for name in (*_TEXTS, "error") if error.get(name)), ""), depth + 1)


def _complaint(each: Any) -> str:
    """Return one complaint of FastAPI in one line."""
    if not isinstance(each, dict):
        return str(each)
    at = each.get("loc")
    place = ".".join(str(part) for part in at) if isinstance(at, list) else ""
    return f"{place}: {each.get('msg')}" if place else str(each.get("msg"))


def _behind(metadata: Any) -> str:
    """Return the name of the server behind a gateway, and what it said."""
    if not isinstance(metadata, dict):
        return ""
    name, raw = metadata.get("provider_name"), metadata.get("raw")
    said = read_error(raw.encode(errors="replace") if isinstance(raw, str) else raw).text
    return ": ".join(part for part in (name, said) if isinstance(part, str) and part)


def _wait_s(details: Any) -> float | None:
    """Return the delay in Google's details of an error, such as "34s"."""
    delays = [each.get("retryDelay") for each in details if isinstance(each, dict)] if isinstance(details, list) else []
    found = (re.fullmatch(r"(\d+(?:\.\d+)?)s", delay) for delay in delays if isinstance(delay, str))
    return next((float(seconds[1]) for seconds in found if seconds is not None), None)
