"""Checks of requests before they are sent: the parts that users wrote as JSON."""

from __future__ import annotations

from leeroo.engine.backends.api.faults import Fault, line
from leeroo.engine.backends.completions import Request
from leeroo.engine.backends.decisions import read_decisions
from leeroo.engine.backends.schemas import validator


def check_request(request: Request) -> None:
    """Check the parts of a request that users wrote as JSON.

    Raises:
        Fault: one is not what it should be.

    """
    try:
        if request.json_schema is not None:
            validator(request.json_schema)
        if request.decisions is not None:
            read_decisions(request.decisions)
    except ValueError as error:
        raise Fault(line(str(error)), blames="row") from None
    try:
        chat = all(isinstance(each["role"], str) and isinstance(each, dict) for each in request.messages)
    except (ValueError, TypeError, KeyError, RecursionError):
        chat = False
    if not chat:
        raise Fault("turns and after must be JSON lists of chat messages", blames="row")
