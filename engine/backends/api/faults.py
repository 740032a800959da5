"""Faults: everything that can go wrong with a request to an API, as one kind of exception.

This module reads what HTTP errors mean; it knows nothing of retries, bills or when an expert is given up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Literal

from leeroo.engine.backends.api.error_bodies import read_error
from leeroo.engine.backends.api.limits.allowances import retry_after_s
from leeroo.engine.backends.completions import TOO_LONG

# Errors whose texts may speak of money; others may quote the prompt.
_MONEY = (402, 403, 429)
_PASSING = (408, 409, 425, 429)
# Too many requests, and overload; 529 is Anthropic's.
_TOO_MUCH = (429, 503, 529)
_LONGEST_TEXT = 300


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_NO_MONEY = _any(
    r"credit balance is too low",
    r"insufficient[_ ](quota|funds|credit|balance)",
    r"billing[_ ](hard[_ ])?limit",
    r"billing_not_active",
    r"exceeded your current quota",
)
# A request that is larger than all that a minute allows: no wait helps.
_TOO_LARGE = _any(r"request too large")
# The account is empty, with a status that says nothing of it; elsewhere in a text these words may be the prompt's.
_NO_CREDIT = _any(r"your credit balance is too low")
# A key or a model that is refused with the status of a bad request.
_NO_KEY = _any(r"api[ _]key (is )?(not valid|invalid|expired)", r"invalid[ _]api[ _]key")
_NO_MODEL = _any(r"invalid[ _]model\b", r"not a valid model", r"model_not_(found|available)")
# What one prompt brings about: a filter's refusal, or an answer that is no JSON.
_OF_ROW = _any(
    r"content[_ ](filter|policy)",
    r"content management policy",
    r"moderation",
    r"safety[_ ]system",
    r"failed to generate json",
)


@dataclass(eq=False)
class Fault(Exception):
    """Raised for a request that brought no answer.

    Attributes:
        message: The row's error, one line.
        status: The HTTP status, 0 without one.
        param: The parameter that the server names as the cause.
        detail: The whole text of the server, to search for names.
        wait_s: The seconds that the server wants us to wait.
        usage: The usage that the reply reports.
        passes: The same request may be answered later: it is sent again.
        slows: The server has too much to do: fewer requests are sent at a time.
        ends: No request will be answered: the expert is given up at once.
        blames: The expert (after some in a row it is given up), the row, or nobody (a prompt that is too long).
            Another expert may well answer a row that is not to blame.
        unsure: The provider may have billed it, and does not say how much.

    """

    message: str
    status: int = 0
    param: str | None = None
    detail: str = ""
    wait_s: float | None = None
    passes: bool = False
    slows: bool = False
    ends: bool = False
    blames: Literal["expert", "row", "nobody"] = "expert"
    unsure: bool = False
    usage: Any = None

    def __str__(self) -> str:
        return self.message


def refusal(status: int, body: bytes | Any, headers: Mapping[str, str], model: str, url: str) -> Fault:
    """Return what an HTTP error of an API means.

    Args:
        status: Its status, or the code of an error in a reply with status 200.
        body: The body of the reply, as bytes or as JSON.
        headers: The headers of the reply.
        model: The model of the request.
        url: The address of the request, without secrets.

    """
    said = read_error(body)
    detail = f"{said.code} {said.text}"
    known = status in HTTPStatus.__members__.values()
    message = f"{status} {HTTPStatus(status).phrase}" if known else str(status)
    message = f"{message}: {line(said.text)}" if said.text else message
    fault = Fault(message, status, said.param, detail, usage=said.usage)
    # Some call the limit of a minute a quota, too, and say when it is over.
    wait_s = said.wait_s if (named := retry_after_s(headers)) is None else named
    no_money = _NO_MONEY.search(detail if status in _MONEY else said.code) or _NO_CREDIT.match(said.text)
    if status == 402 or (no_money and wait_s is None):
        return replace(fault, ends=True)
    too_large = (status in (400, 422, 500) and TOO_LONG.search(detail)) or (status == 429 and _TOO_LARGE.search(detail))
    if status == 413 or too_large:
        return replace(fault, blames="nobody")
    if status in (400, 403, 422) and _OF_ROW.search(detail):
        return replace(fault, blames="row")
    if status == 400 and (_NO_KEY.search(detail) or _NO_MODEL.search(detail)):
        status = 401 if _NO_KEY.search(detail) else 404
        fault = replace(fault, status=status)
    if status in (401, 403):
        return replace(fault, message=f"the API refuses the key: {message}")
    if status == 404:
        return replace(fault, message=f"the API at {url} does not know {model!r}: {message}")
    if status in _PASSING or status >= 500:
        blames: Any = "nobody" if status == 429 else "expert"
        return replace(fault, passes=True, blames=blames, wait_s=wait_s, slows=status in _TOO_MUCH)
    return fault


def line(text: str) -> str:
    """Return the first line of a text, cut where it is long, that tables can hold and terminals can show."""
    first = next(iter(text.strip().splitlines()), "")[:_LONGEST_TEXT]
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "\ufffd", storable(first))


def storable(text: str) -> str:
    """Return a text with U+FFFD for what no table can hold: halves of characters, and NUL."""
    return re.sub("[\ud800-\udfff\0]", "\ufffd", text)
