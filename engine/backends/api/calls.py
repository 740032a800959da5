"""Calls: one request over the wire, through the openai client or any-llm-sdk.

Providers with another API than OpenAI's (Anthropic, Gemini, Bedrock, SageMaker, ...) are reached through any-llm-sdk.
Set `provider` in [expert.engine] to its name for them, and install the extra `any-llm`. Nothing is retried here.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import openai

from leeroo.engine.backends.api.endpoint import Endpoint
from leeroo.engine.backends.api.faults import Fault, line, refusal
from leeroo.engine.backends.api.replies import parse_reply
from leeroo.engine.backends.options import OpenAIOptions
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert

# The longest that connecting may take, in seconds: a server that takes longer is not there.
_CONNECT_S = 10.0

# From the body of a request to that of the reply; anything else is a `Fault`.
Call = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
Disconnect = Callable[[], Coroutine[Any, Any, None]]


def through_openai(expert: Expert, options: OpenAIOptions, endpoint: Endpoint) -> tuple[Call, Disconnect]:
    """Connect through the openai client; it retries nothing, since each call is on a row's bill."""
    client = openai.AsyncOpenAI(
        base_url=endpoint.url,
        api_key=endpoint.key or "none",  # the client wants one
        default_query=endpoint.query,
        max_retries=0,
        timeout=openai.Timeout(options.timeout, connect=min(options.timeout, _CONNECT_S)),
    )
    headers = {} if endpoint.key else {"Authorization": endpoint.authorization or openai.Omit()}
    refused = functools.partial(refusal, model=expert.model, url=endpoint.url)

    async def call(sent: dict[str, Any]) -> dict[str, Any]:
        known = {"model": sent["model"], "messages": sent["messages"], "extra_body": {**sent, **options.extra_body}}
        try:
            async with asyncio.timeout(options.timeout):
                reply = await client.chat.completions.with_raw_response.create(**known, extra_headers=headers)
        except openai.APIStatusError as error:
            raise refused(error.status_code, error.response.content, error.response.headers) from error
        except (openai.APITimeoutError, openai.APIConnectionError, TimeoutError) as error:
            raise _fault_of_no_reply(error, options.timeout) from error
        except (openai.OpenAIError, ValueError, TypeError, RecursionError) as error:
            raise Fault(f"the request cannot be sent: {line(str(error))}", blames="row") from error
        body = parse_reply(reply.content, reply.headers.get("content-type", ""))
        if body.get("error") and not body.get("choices"):
            raise refused(_status_of(body["error"]), body, reply.headers)
        return body

    return call, client.close


def _status_of(error: Any) -> int:
    """Return the HTTP status that an error in a reply with status 200 stands for."""
    code = str(error.get("code") if isinstance(error, dict) else "")
    return int(code) if re.fullmatch("[45][0-9]{2}", code) else 500


def _fault_of_no_reply(error: Exception, timeout: float) -> Fault:
    """Return the fault of a call that brought no reply."""
    cause = error.__cause__
    why = type(cause or error).__name__
    # Nothing was sent, so nothing is billed.
    unsent = why in ("ConnectError", "ConnectTimeout", "PoolTimeout", "LocalProtocolError", "UnsupportedProtocol")
    if isinstance(error, openai.APITimeoutError | TimeoutError) and not unsent:
        return Fault(f"the API did not answer in time ({timeout:g} s)", passes=True, unsure=True)
    return Fault(f"the API cannot be reached: {line(str(cause or error)) or why}", passes=True, unsure=not unsent)


def through_any_llm(expert: Expert, options: OpenAIOptions, endpoint: Endpoint) -> tuple[Call, Disconnect]:
    """Connect through any-llm-sdk, whose replies look like OpenAI's.

    Raises:
        ExpertUnavailable: it is not installed.

    """
    try:
        from any_llm import acompletion
    except ImportError as error:
        raise ExpertUnavailable("providers beside OpenAI need any-llm-sdk: pip install 'leeroo[any-llm]'") from error
    # A server of the user gets only the key that the pool file names; any-llm-sdk would use others.
    key = endpoint.key or (None if expert.base_url is None else "none")
    where = {"provider": options.provider, "api_key": key, "api_base": expert.base_url}

    async def call(sent: dict[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(options.timeout):
                reply = await acompletion(**{**sent, **options.extra_body, **where})
        except TimeoutError as error:
            raise _fault_of_no_reply(error, options.timeout) from error
        except Exception as error:
            raise _foreign(error, expert.model, options.provider or "") from error
        return parse_reply(json.dumps(reply.model_dump(), default=str).encode())

    async def disconnect() -> None:
        """Do nothing: any-llm-sdk closes its connections itself."""

    return call, disconnect


# Exceptions that carry no HTTP status, and the status that they stand for.
_FOREIGN = {"UnsupportedParameterError": 400, "TypeError": 400, "ValueError": 400, "MissingApiKeyError": 401}


def _foreign(error: Exception, model: str, provider: str) -> Fault:
    """Return the fault of an exception of any-llm-sdk, or of a provider's package below it."""
    status = getattr(error, "status_code", None)
    kind = type(error).__name__
    if not isinstance(status, int):
        status = _FOREIGN.get(kind)
    body = {"message": str(error) or kind, "code": getattr(error, "code", None), "param": getattr(error, "param", None)}
    if kind == "ValidationError":
        return Fault(f"the API's reply cannot be read: {line(str(error))}", unsure=True)
    if status is None:
        return Fault(f"asking {provider} failed: {line(str(error)) or kind}", passes=True, unsure=True)
    wait_s = getattr(error, "retry_after", None)
    return refusal(status, {"error": body}, {"retry-after": str(wait_s or "")}, model, provider)
