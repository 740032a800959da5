"""A real server: `leeroo serve` in a process of its own, over a pool that calls a real API."""

from __future__ import annotations

import contextlib
import secrets
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.provider import running
from tests.serve.talk import Serve, Server, Tenant


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


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    """Start a server over the pool of `api_pool` for all tests that leave it as it is."""
    place = tmp_path_factory.mktemp("shared")
    with running() as api:
        (place / "pool.toml").write_text(_pool(api.entry))
        server = Server(place)
        key = server.key("first")
        server.start()
        yield Tenant(server.client(key), api, server)
        server.stop(signal.SIGKILL)


@pytest.fixture
def tenant(shared: Tenant) -> Iterator[Tenant]:
    """Share a server with other tests: the key is new, no answer is stored yet, and the API is as it was made."""
    with contextlib.closing(sqlite3.connect(shared.server.place / "store" / "answers.sqlite")) as db, db:
        db.execute("DELETE FROM answers")
    yield shared._replace(client=shared.server.client(shared.server.key(secrets.token_hex(8))))
    shared.api.reset()


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
    (tmp_path / "pool.toml").write_text(_pool(api_entry))


def _pool(entry: Callable[..., str]) -> str:
    once = "[expert.engine]\nmax_retries = 1\nconcurrency = 16"
    return entry("large", 10, 16, once) + entry("small", 1, 16, f'location = "local"\n{once}')
