"""Providers with an API of their own (Anthropic, Gemini, Bedrock, Mistral, ...), reached through any-llm-sdk.

Set `provider` in [expert.engine] to its name there, and install the extra `api`. Replies look like OpenAI's, errors
like those of each provider's own package. Nothing is retried here, and by those packages only where they cannot be
told otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import json
import warnings
from collections.abc import Mapping
from typing import Any

from leeroo.engine.backends.api.bills import table_or_empty
from leeroo.engine.backends.api.calls import Call, Disconnect, Hear, error_of, fault_of_no_reply, status_of
from leeroo.engine.backends.api.endpoint import Endpoint
from leeroo.engine.backends.api.faults import Fault, line, refusal
from leeroo.engine.backends.api.replies import parse_reply
from leeroo.engine.backends.options import OpenAIOptions
from leeroo.engine.errors import ExpertUnavailable, PoolError
from leeroo.engine.pool import Expert

# Exceptions that carry no HTTP status, and the status that they stand for.
_STATUS = {"UnsupportedParameterError": 400, "TypeError": 400, "ValueError": 400, "MissingApiKeyError": 401}


def through_any_llm(expert: Expert, options: OpenAIOptions, endpoint: Endpoint) -> tuple[Call, Disconnect]:
    """Connect through any-llm-sdk, whose replies look like OpenAI's.

    Raises:
        ExpertUnavailable: it is not installed, or the provider's own package or key is missing.
        PoolError: it does not know the provider, or the provider's package takes no headers.

    """
    client, provider = _client(expert, options, endpoint), options.provider or ""

    async def call(sent: dict[str, Any], hear: Hear) -> dict[str, Any]:
        try:
            async with asyncio.timeout(options.timeout):
                with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                    reply = await client.acompletion(**{**sent, **options.extra_body})
        except TimeoutError as error:
            raise fault_of_no_reply(error, options.timeout) from error
        except Exception as error:
            hear(_headers(error))
            raise fault_of(error, expert.model, provider) from error
        body = parse_reply(json.dumps(reply.model_dump(), default=str).encode())
        if (wrong := error_of(body)) is not None:
            raise refusal(status_of(wrong), {"error": wrong, "usage": body.get("usage")}, {}, expert.model, provider)
        return body

    async def disconnect() -> None:
        close = getattr(getattr(client, "client", None), "close", None)
        with contextlib.suppress(Exception):  # another package's: its connections end with their loop at the latest
            if inspect.isawaitable(closing := close() if close else None):
                await closing

    return call, disconnect


def _client(expert: Expert, options: OpenAIOptions, endpoint: Endpoint) -> Any:
    """Return any-llm-sdk's client of a provider; raises as `through_any_llm`."""
    try:
        from any_llm import AnyLLM
        from any_llm.exceptions import UnsupportedParameterError, UnsupportedProviderError
    except ImportError as error:
        raise ExpertUnavailable("providers beside OpenAI need any-llm-sdk: pip install 'leeroo[api]'") from error
    # A server of the user gets only the key that the pool file names; any-llm-sdk would use others.
    key = endpoint.key or (None if expert.base_url is None else "none")
    headers = {name: value for name, value in endpoint.headers.items() if value is not None}
    create = functools.partial(AnyLLM.create, options.provider or "", key, expert.base_url)
    create = functools.partial(create, default_headers=headers) if headers else create
    try:
        try:
            return create(max_retries=0)
        except (TypeError, UnsupportedParameterError):  # its package cannot be kept from sending again
            return create()
    except UnsupportedProviderError as error:
        raise PoolError(f"expert {expert.name!r}: {line(str(error))}") from error
    except TypeError as error:
        raise PoolError(f"expert {expert.name!r}: the package of {options.provider} takes no headers") from error
    except Exception as error:
        why = endpoint.redact(line(str(error)) or type(error).__name__)
        raise ExpertUnavailable(f"{options.provider} cannot be reached through any-llm-sdk: {why}") from error


def fault_of(error: Exception, model: str, provider: str) -> Fault:
    """Return the fault of an exception of any-llm-sdk, or of a provider's package below it."""
    error = getattr(error, "original_exception", None) or error
    kind = type(error).__name__
    response: Any = getattr(error, "response", None)
    if kind == "ValidationError":
        return Fault(f"the API's reply cannot be read: {line(str(error))}", unsure=True)
    if isinstance(getattr(response, "content", None), bytes) and isinstance(response.status_code, int):
        return refusal(response.status_code, response.content, response.headers, model, provider)
    status = _status(error, response)
    if status is None:
        return Fault(f"asking {provider} failed: {line(str(error)) or kind}", passes=True, unsure=True)
    headers = _headers(error)
    return refusal(
        status, _body(error, response) or {"error": {"message": str(error) or kind}}, headers, model, provider
    )


def _body(error: Exception, response: Any) -> dict[str, Any] | None:
    """Return the body of the reply behind an exception in OpenAI's form, None where a package does not keep it."""
    of_google: dict[str, Any] = table_or_empty(getattr(error, "details", None))
    if of_google:
        return of_google
    if of_boto := table_or_empty(table_or_empty(response).get("Error")):
        return {"error": {"message": of_boto.get("Message"), "code": of_boto.get("Code")}}
    named = {name: getattr(error, name, None) for name in ("code", "param")}
    return {"error": {**named, "message": str(error)}} if any(named.values()) and str(error) else None


def _headers(error: Exception) -> dict[str, str]:
    """Return the headers of the reply behind an exception, as far as there are any."""
    error = getattr(error, "original_exception", None) or error
    response = getattr(error, "response", None)
    of_boto = table_or_empty(table_or_empty(response).get("ResponseMetadata")).get("HTTPHeaders")
    found = of_boto or getattr(response, "headers", None)
    wait_s = getattr(error, "retry_after", None)
    headers = {} if wait_s is None else {"retry-after": str(wait_s)}
    return headers | ({name.lower(): str(found[name]) for name in found} if isinstance(found, Mapping) else {})


def _status(error: Exception, response: Any) -> int | None:
    """Return the HTTP status of an exception, by the names that packages have for it; None without one."""
    of_boto = table_or_empty(table_or_empty(response).get("ResponseMetadata")).get("HTTPStatusCode")
    named = (getattr(error, name, None) for name in ("status_code", "code", "status", "http_status"))
    of_response = getattr(response, "status_code", None)
    statuses = [each for each in (of_boto, of_response, *named) if isinstance(each, int) and 400 <= each < 600]
    return next(iter(statuses), _STATUS.get(type(error).__name__))
