"""Requests that the OpenAPI document allows, or does not, are answered as it says, and never by a 5xx."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.serve.talk import Server, chat, jsonl, submit, wait


@pytest.fixture(scope="module")
def server(idle: Callable[..., Server]) -> Server:
    """Start a server with a batch and files of its own."""
    server = idle("--max-file-mb", "1", "--requests-per-minute", "1000000")
    client = server.client()
    wait(client, submit(client, jsonl([chat("a", "x")])).id)
    return server


OPERATIONS = (
    "GET /health", "GET /metrics", "POST /v1/batches", "GET /v1/batches", "GET /v1/batches/{batch_id}",
    "POST /v1/batches/{batch_id}/cancel", "POST /v1/files", "GET /v1/files", "GET /v1/files/{file_id}",
    "DELETE /v1/files/{file_id}", "GET /v1/files/{file_id}/content", "GET /v1/models", "GET /v1/models/{model}",
    "POST /v1/feedback", "GET /v1/feedback",
)  # fmt: skip


# A real server takes its time.
_SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_answers_are_as_described(server: Server, operation: str) -> None:
    """Status codes, content types and bodies match the description."""
    described = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    method, path = operation.split()

    @settings(max_examples=50, deadline=None, database=None, suppress_health_check=_SLOW)
    @given(case=described[path][method].as_strategy())
    def check(case: Any) -> None:
        # That a file has something in it, or that somebody has answered, is more than a schema can say.
        beyond = path in ("/v1/files", "/v1/feedback")
        case.call_and_validate(excluded_checks=[positive_data_acceptance] if beyond else [])

    check()


def test_all_routes_are_described(server: Server) -> None:
    """The description has the routes of OpenAI's API, health and metrics, and no page."""
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    described = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert described == set(OPERATIONS)
