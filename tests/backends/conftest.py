"""Requests for backends, and the real small model they are made to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.pool import Expert
from leeroo.engine.schema import REQUESTS

Requests = Callable[..., pa.RecordBatch]


@pytest.fixture(scope="session")
def smollm2() -> Expert:
    """SmolLM2-135M-Instruct, whose weights a package ships."""
    prices: dict[str, Any] = {"usd_per_m_input": 1.0, "usd_per_m_output": 1.0}
    return Expert(name="smollm2", model="HuggingFaceTB/SmolLM2-135M-Instruct", **prices)


@pytest.fixture(scope="session")
def requests() -> Requests:
    """Make a batch of requests out of prompts."""

    def make(*prompts: str, **more: Any) -> pa.RecordBatch:
        rows = [
            {"id": i, "question": p, "prompt": p, "max_tokens": 12, "temperature": 0.0, **more}
            for i, p in enumerate(prompts)
        ]
        return pa.RecordBatch.from_pylist(rows, schema=REQUESTS)

    return make
