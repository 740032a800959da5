"""The dialects of batch APIs, and which of them an expert's provider speaks."""

from __future__ import annotations

from leeroo.engine.backends.api.batches.openai_files import OpenAIFiles
from leeroo.engine.backends.api.batches.provider import BatchAPI
from leeroo.engine.backends.api.batches.wire import Wire
from leeroo.engine.backends.api.endpoint import OPENAI, Endpoint
from leeroo.engine.backends.options import OpenAIOptions
from leeroo.engine.pool import Expert


def open_dialect(expert: Expert, options: OpenAIOptions, endpoint: Endpoint) -> BatchAPI:
    """Connect to the batch API of an expert's provider.

    Raises:
        PoolError: none is known.

    """
    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    return OpenAIFiles(Wire(expert.model, options, endpoint, OPENAI, headers), expert.model)
