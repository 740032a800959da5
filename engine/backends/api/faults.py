"""Faults: everything that can go wrong with a request to an API, as one kind of exception.

passes   the same request may be answered later: it is sent again
ends     no request will be answered: the expert is given up at once
blames   who is at fault: the expert (some of these in a row, and it is given up), the row, or nobody (too many
requests, a prompt that is too long); another expert may well answer a row that is not at fault
unsure   the provider may have billed it, and nobody says how much
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Literal

# Servers that answer later than this after "too many requests" are not waited for.
_LONGEST_WAIT_S = 120.0
# Errors whose texts may speak of money; others may quote the prompt.
_MONEY = (402, 403, 429)
_PASSING = (408, 409, 425, 429)
_LONGEST_TEXT = 300


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


# A prompt that is longer than the context, in the words of OpenAI, vLLM, SGLang, llama.cpp, TGI, Anthropic, Gemini, ...
_TOO_LONG = _any(
    r"context[ _-]*(length|size|window|limit)",
    r"reduce the length of",
    r"longer than the maximum",
    r"(prompt|input)[^.]{0,40} is too long",
    r"tokens \+ `?max_new_tokens",
    r"token count[^.]{0,40} exceeds",
    r"too many (input |prompt )?tokens",
    r"string_above_max_length",
)
_NO_MONEY = _any(
    r"credit balance is too low",
    r"insufficient[_ ](quota|funds|credit|balance)",
    r"billing[_ ](hard[_ ])?limit",
    r"billing_not_active",
    r"exceeded your current quota",
)
_FILTERED = _any(r"content[_ ](filter|policy)", r"content management policy", r"moderation", r"safety[_ ]system")


@dataclass(eq=False)
class Fault(Exception):
    """A request that brought no answer; `says` is the row's error.

    Attributes:
        says: One line.
        status: The HTTP status, 0 without one.
        param: The parameter that the server names as the cause.
        detail: All that the server said, to look for names in.
        wait_s: How long the server asks to wait.
        usage: What the reply says that it used.

    """

    says: str
    status: int = 0
    param: str | None = None
    detail: str = ""
    wait_s: float | None = None
    passes: bool = False
    ends: bool = False
    blames: Literal["expert", "row", "nobody"] = "expert"
    unsure: bool = False
    usage: Any = None

    def __str__(self) -> str:
        return self.says


def refusal(status: int, body: bytes | Any, headers: Mapping[str, str], model: str, url: str) -> Fault:
    """Return what an HTTP error of an API means.

    Args:
        status: Its status, or the code of an error in a reply with status 200.
        body: What came with it, as bytes or as JSON.
        headers: The headers of the reply.
        model: The model that was asked.
        url: The address that was asked, without secrets.

    """
    said = _read(body) if isinstance(body, bytes) else body
    message, code, param = _message(said)
    detail = f"{code} {message}"
    known = status in HTTPStatus.__members__.values()
    says = f"{status} {HTTPStatus(status).phrase}" if known else str(status)
    says = f"{says}: {line(message)}" if message else says
    fault = Fault(says, status, param, detail, usage=said.get("usage") if isinstance(said, dict) else None)
    if status == 402 or _NO_MONEY.search(detail if status in _MONEY else code):
        return replace(fault, ends=True)
    if status == 413 or (status in (400, 422, 500) and _TOO_LONG.search(detail)):
        return replace(fault, blames="nobody")
    if status in (400, 403, 422) and _FILTERED.search(detail):
        return replace(fault, blames="row")
    if status in (401, 403):
        return replace(fault, says=f"the API refuses the key: {says}")
    if status == 404:
        return replace(fault, says=f"the API at {url} does not know {model!r}: {says}")
    if status in _PASSING or status >= 500:
        blames: Any = "nobody" if status == 429 else "expert"
        return replace(fault, passes=True, blames=blames, wait_s=_wait_s(headers))
    return fault


def _read(body: bytes) -> Any:
    """Return the JSON of an error; its text where that is none, nothing of a web page."""
    text = body.decode(errors="replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None if "<" in text[:200] else text


def _message(said: Any) -> tuple[str, str, str | None]:
    """Return message, code and parameter of an error, in any of the forms that servers give it."""
    error = said.get("error", said) if isinstance(said, dict) else said
    if not isinstance(error, dict):
        return (error if isinstance(error, str) else "").strip(), "", None
    parts = [error.get(name) for name in ("message", "detail", "msg", "title", "error_description")]
    message = next((part for part in parts if part), "")
    if isinstance(message, list):
        message = "; ".join(_detail(each) for each in message)
    if isinstance(message, dict):
        message = message.get("message") or ""
    param = error.get("param")
    code = f"{error.get('code') or ''} {error.get('type') or ''}".strip()
    return str(message).strip() if isinstance(message, str) else "", code, param if isinstance(param, str) else None


def _detail(each: Any) -> str:
    """Return one complaint of FastAPI in one line."""
    if not isinstance(each, dict):
        return str(each)
    at = each.get("loc")
    place = ".".join(str(part) for part in at) if isinstance(at, list) else ""
    return f"{place}: {each.get('msg')}" if place else str(each.get("msg"))


def line(text: str) -> str:
    """Return the first line of a text, cut where it is long, that tables can hold and terminals can show."""
    first = next(iter(text.strip().splitlines()), "")[:_LONGEST_TEXT]
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "\ufffd", storable(first))


def storable(text: str) -> str:
    """Return a text with U+FFFD for what no table can hold: halves of characters, and NUL."""
    return re.sub("[\ud800-\udfff\0]", "\ufffd", text)


def _wait_s(headers: Mapping[str, str]) -> float | None:
    """Return how long the server asks to wait, in seconds."""
    seconds = _number(headers.get("retry-after-ms"), 1e-3)
    said = headers.get("retry-after", "")
    if seconds is None:
        seconds = _number(said, 1.0)
    if seconds is None and (date := email.utils.parsedate_tz(said)) is not None:
        seconds = email.utils.mktime_tz(date) - time.time()
    return None if seconds is None else min(max(seconds, 0.0), _LONGEST_WAIT_S)


def _number(text: str | None, unit: float) -> float | None:
    try:
        number = float(text or "") * unit
    except ValueError:
        return None
    return number if number == number else None
