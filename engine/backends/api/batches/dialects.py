"""The dialects of batch APIs, and which of them an expert's provider speaks."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from leeroo.engine.backends.api.batches.anthropic import ANTHROPIC, VERSION, AnthropicBatches
from leeroo.engine.backends.api.batches.gemini import GEMINI, GeminiBatches
from leeroo.engine.backends.api.batches.mistral import MISTRAL, MistralJobs
from leeroo.engine.backends.api.batches.openai_files import OpenAIFiles
from leeroo.engine.backends.api.batches.provider import BatchAPI
from leeroo.engine.backends.api.batches.wire import Wire
from leeroo.engine.backends.api.effort import EffortForm, effort_form
from leeroo.engine.backends.api.endpoint import OPENAI, Endpoint
from leeroo.engine.backends.options import OpenAIOptions
from leeroo.engine.errors import ExpertUnavailable, PoolError
from leeroo.engine.pool import Expert


class Dialect(NamedTuple):
    """A provider's way of batches.

    Attributes:
        open: From a wire and a model to its API.
        url: Its address, where the pool file names none.
        variable: The environment variable of its key, where the pool file names none.
        headers: From a key to the headers of each request.
        effort: The form in which its requests have an effort, None for that of its address.
    """

    open: Callable[[Wire, str], BatchAPI]
    url: str
    variable: str | None
    headers: Callable[[str], dict[str, str]]
    effort: EffortForm | None = None


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _anthropic(key: str) -> dict[str, str]:
    return {"x-api-key": key, **VERSION}


def _google(key: str) -> dict[str, str]:
    return {"x-goog-api-key": key}


_OPENAI = Dialect(OpenAIFiles, OPENAI, None, _bearer)
# By their names in any-llm-sdk.
_PROVIDERS = {
    "openai": _OPENAI,
    "anthropic": Dialect(
        AnthropicBatches, ANTHROPIC, "ANTHROPIC_API_KEY", _anthropic, effort_form("api.anthropic.com", None)
    ),
    "gemini": Dialect(GeminiBatches, GEMINI, "GEMINI_API_KEY", _google, effort_form(None, "gemini")),
    "mistral": Dialect(MistralJobs, MISTRAL, "MISTRAL_API_KEY", _bearer),
}
_HOSTS = {
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gemini",
    "api.mistral.ai": "mistral",
}


def open_dialect(expert: Expert, options: OpenAIOptions, endpoint: Endpoint) -> tuple[BatchAPI, EffortForm]:
    """Connect to the batch API of an expert's provider; return it and the form of efforts there.

    Raises:
        ExpertUnavailable: its key is not set.
        PoolError: no batch API of this provider is known.

    """
    host = urlsplit(endpoint.url).hostname
    name = options.provider or _HOSTS.get(host or "", "openai")
    known = _PROVIDERS.get(name)
    if known is None:
        raise PoolError(
            f"expert {expert.name!r}: no batches of the provider {name!r} are known; there are those of"
            f" {', '.join(_PROVIDERS)}, and base_url for any server with OpenAI's Files and Batches API"
        )
    key = endpoint.key
    if key is None and endpoint.variable is None and known.variable is not None and expert.base_url is None:
        key = os.environ.get(known.variable, "").strip()
        if not key:
            raise ExpertUnavailable(f"the environment variable {known.variable} with its API key is not set")
    url = _native(endpoint.url) if name == "gemini" else endpoint.url
    headers: dict[str, Any] = known.headers(key) if key else dict(known.headers(""))
    if not key:
        headers = {name: value for name, value in headers.items() if value and value != "Bearer "}
    wire = Wire(expert.model, options, endpoint, url or known.url, headers)
    return known.open(wire, expert.model), known.effort or effort_form(host, options.provider)


def _native(url: str) -> str:
    """Return the address of Gemini's own API, beside that with OpenAI's form."""
    return url.removesuffix("/openai")
