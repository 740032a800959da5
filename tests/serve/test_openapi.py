"""Whatever is sent that the OpenAPI document allows, or does not, is answered as it says, and never by a 5xx."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from tests.serve.talk import Server, chat, jsonl, submit, wait


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a batch and files of its own, over an expert that answers nothing."""
    place = tmp_path_factory.mktemp("described")
    (place / "pool.toml").write_text(
        '[[expert]]\nname = "one"\nmodel = "one"\nbackend = "openai"\nbase_url = "http://127.0.0.1:9/v1"\n'
        "usd_per_m_input = 1\nusd_per_m_output = 1\n[expert.engine]\nmax_retries = 0\n"
    )
    server = Server(place, "--max-file-mb", "1", "--requests-per-minute", "1000000").start()
    client = server.client()
    wait(client, submit(client, jsonl([chat("a", "x")])).id)
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def described(server: Server) -> schemathesis.BaseSchema:
    """The document that the server gives."""
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_described(case: schemathesis.Case) -> None:
    """Status codes, content types and bodies."""
    case.call_and_validate()


def test_all_routes_are_described(server: Server) -> None:
    """Those of OpenAI's API, health and metrics, and no page."""
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    assert set(paths) == {
        "/health", "/metrics", "/v1/batches", "/v1/batches/{batch_id}", "/v1/batches/{batch_id}/cancel", "/v1/files",
        "/v1/files/{file_id}", "/v1/files/{file_id}/content", "/v1/models", "/v1/models/{model}",
    }  # fmt: skip
