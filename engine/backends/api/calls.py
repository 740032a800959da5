"""Calls: one request over the wire, through the openai client. Nothing is retried here."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import openai

from leeroo.engine.backends.api.endpoint import Endpoint
from leeroo.engine.backends.api.faults import Fault, line, refusal
from leeroo.engine.backends.api.replies import parse_reply
from leeroo.engine.backends.options import OpenAIOptions, trust
from leeroo.engine.pool import Expert

# The longest that connecting may take, in seconds: a server that takes longer is not there.
_CONNECT_S = 10.0

# Receives the headers of a reply, of a refusal too.
Hear = Callable[[Mapping[str, str]], None]
# From the body of a request to that of the reply; anything else is a `Fault`.
Call = Callable[[dict[str, Any], Hear], Awaitable[dict[str, Any]]]
# From the body and the headers of a request to the raw reply of the openai client.
Create = Callable[[dict[str, Any], dict[str, Any]], Awaitable[Any]]
Disconnect = Callable[[], Coroutine[Any, Any, None]]


def through_openai(expert: Expert, options: OpenAIOptions, endpoint: Endpoint) -> tuple[Call, Disconnect]:
    """Connect through the openai client, for chats."""
    client = client_of(options, endpoint)

    def create(sent: dict[str, Any], headers: dict[str, Any]) -> Awaitable[Any]:
        known = {"model": sent["model"], "messages": sent["messages"], "extra_body": {**sent, **options.extra_body}}
        return client.chat.completions.with_raw_response.create(**known, extra_headers=headers)

    return call_through(create, expert, options, endpoint), client.close


def client_of(options: OpenAIOptions, endpoint: Endpoint) -> openai.AsyncOpenAI:
    """Return a client of a server; it retries nothing, since each call is on a row's bill."""
    return openai.AsyncOpenAI(
        base_url=endpoint.url,
        api_key=endpoint.key or "none",  # the client wants one
        default_query=endpoint.query,
        max_retries=0,
        timeout=openai.Timeout(options.timeout, connect=min(options.timeout, _CONNECT_S)),
        http_client=openai.DefaultAsyncHttpxClient(**transport(options, endpoint)),
    )


def call_through(create: Create, expert: Expert, options: OpenAIOptions, endpoint: Endpoint) -> Call:
    """Return the call that sends bodies with `create`, and turns what goes wrong into faults."""
    headers = {name: openai.Omit() if value is None else value for name, value in endpoint.headers.items()}
    refused = functools.partial(refusal, model=expert.model, url=endpoint.url)

    async def call(sent: dict[str, Any], hear: Hear) -> dict[str, Any]:
        try:
            async with asyncio.timeout(options.timeout):
                reply = await create(sent, headers)
        except openai.APIStatusError as error:
            hear(error.response.headers)
            raise refused(error.status_code, error.response.content, error.response.headers) from error
        except (openai.APITimeoutError, openai.APIConnectionError, TimeoutError) as error:
            raise fault_of_no_reply(error, options.timeout) from error
        except (openai.OpenAIError, ValueError, TypeError, RecursionError) as error:
            raise Fault(f"the request cannot be sent: {line(str(error))}", blames="row") from error
        hear(reply.headers)
        body = parse_reply(reply.content, reply.headers.get("content-type", ""))
        if (wrong := error_of(body)) is not None:
            raise refused(status_of(wrong), {"error": wrong, "usage": body.get("usage")}, reply.headers)
        return body

    return call


def transport(options: OpenAIOptions, endpoint: Endpoint) -> dict[str, Any]:
    """Return the arguments of httpx; by default it takes proxies and certificates from the environment."""
    given: dict[str, Any] = {"proxy": endpoint.proxy, "verify": options.ca_file and trust(options.ca_file)}
    # A redirection to another server would take along headers that hold keys.
    follows = not any(endpoint.headers.values())
    return {"follow_redirects": follows, **{name: value for name, value in given.items() if value}}


def error_of(body: dict[str, Any]) -> Any:
    """Return the error in a reply with status 200: in the place of an answer, or of one that broke off."""
    choices = body.get("choices")
    if not choices:
        return body.get("error") or None
    first = choices[0] if isinstance(choices, list) else None
    broke_off = isinstance(first, dict) and first.get("finish_reason") == "error"
    return (first.get("error") or None) if broke_off and isinstance(first, dict) else None


def status_of(error: Any) -> int:
    """Return the HTTP status that an error in a reply with status 200 stands for."""
    code = str(error.get("code") if isinstance(error, dict) else "")
    return int(code) if re.fullmatch("[45][0-9]{2}", code) else 500


def fault_of_no_reply(error: Exception, timeout: float) -> Fault:
    """Return the fault of a call that brought no reply."""
    cause = error.__cause__
    why = type(cause or error).__name__
    # Nothing was sent, so nothing is billed.
    unsent = why in ("ConnectError", "ConnectTimeout", "PoolTimeout", "LocalProtocolError", "UnsupportedProtocol")
    if isinstance(error, openai.APITimeoutError | TimeoutError) and not unsent:
        return Fault(f"the API did not answer in time ({timeout:g} s)", passes=True, slows=True, unsure=True)
    return Fault(f"the API cannot be reached: {line(str(cause or error)) or why}", passes=True, unsure=not unsent)
