"""Requests for backends, and the real small model they are made to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.backends.api import sender
from leeroo.engine.backends.api.limits import pace
from leeroo.engine.backends.select import load_backend, open_backend
from leeroo.engine.pool import Expert
from leeroo.engine.schema import COMPLETIONS, REQUESTS
from tests.provider import Provider

Requests = Callable[..., pa.RecordBatch]
Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls be tried again soon: how often they are is what tests here are about."""
    monkeypatch.setattr(sender, "_FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(pace, "_FIRST_PAUSE_S", 0.05)


@pytest.fixture(scope="session")
def smollm2() -> Expert:
    """SmolLM2-135M-Instruct, whose weights a package ships."""
    prices: dict[str, Any] = {"usd_per_m_input": 1.0, "usd_per_m_output": 1.0}
    return Expert(name="smollm2", model="HuggingFaceTB/SmolLM2-135M-Instruct", **prices)


@pytest.fixture(scope="session")
def transformers(smollm2: Expert) -> Iterator[Any]:
    """Load the real model into this process, once."""
    backend = load_backend(smollm2.model_copy(update={"backend": "transformers"}))
    yield backend
    backend.close()


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


@pytest.fixture
def expert(api: Provider) -> Callable[..., Expert]:
    """Make an expert of the API; `options` are those of its engine."""

    def make(base_url: str | None = None, api_key_env: str | None = None, **options: Any) -> Expert:
        engine = {"max_retries": 1, "timeout": 5.0, **options}
        prices: dict[str, Any] = {"usd_per_m_input": 1.0, "usd_per_m_output": 2.0}
        url = base_url or api.url
        return Expert(
            name="api", model="m", backend="openai", base_url=url, api_key_env=api_key_env, engine=engine, **prices
        )

    return make


@pytest.fixture
def ask(expert: Callable[..., Expert], requests: Requests) -> Iterator[Ask]:
    """Send prompts to an expert of the API, all on one connection to the end of the test, and return the rows in order."""
    opened: list[Any] = []

    def make(*prompts: str, options: dict[str, Any] | None = None, **more: Any) -> list[dict[str, Any]]:
        if not opened:
            opened.append(open_backend(expert(**(options or {}))))
        batches = list(opened[0].generate(iter([requests(*prompts, **more)])))
        assert all(batch.schema.equals(COMPLETIONS) for batch in batches)
        return sorted((row for batch in batches for row in batch.to_pylist()), key=lambda row: row["id"])

    yield make
    for backend in opened:
        backend.close()
