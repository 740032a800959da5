"""A real server: `leeroo serve` in a process of its own, over a pool that calls a real API."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serve.talk import Serve, Server


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers over the file pool.toml of a folder; all end with the test."""
    started: list[Server] = []

    def make(*options: str, place: Path = tmp_path, start: bool = True) -> Server:
        started.append(Server(place, *options))
        return started[-1].start() if start else started[-1]

    yield make
    for server in started:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start servers for a whole module, over an expert that answers nothing."""
    started: list[Server] = []

    def make(*options: str) -> Server:
        place = tmp_path_factory.mktemp("idle")
        (place / "pool.toml").write_text(
            '[[expert]]\nname = "one"\nmodel = "one"\nbackend = "openai"\nbase_url = "http://127.0.0.1:9/v1"\n'
            "usd_per_m_input = 1\nusd_per_m_output = 1\n[expert.engine]\nmax_retries = 0\n"
        )
        started.append(Server(place, *options))
        return started[-1].start()

    yield make
    for server in started:
        server.stop(signal.SIGKILL)


@pytest.fixture
def api_pool(tmp_path: Path, api_entry: Callable[..., str]) -> None:
    """Make a pool of two experts of a real API, 'small' and 'large'; each answer has 12 tokens in, 3 out."""
    once = "[expert.engine]\nmax_retries = 1"
    small = api_entry("small", 1, 16, f'location = "local"\n{once}')
    (tmp_path / "pool.toml").write_text(api_entry("large", 10, 16, once) + small)
