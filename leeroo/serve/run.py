"""Run: the server as a process, from its options to its end."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvicorn
from filelock import FileLock, Timeout

from leeroo.engine.answer import default_store, open_engine
from leeroo.engine.errors import UsageError
from leeroo.serve import keys
from leeroo.serve.app import make_app
from leeroo.serve.database import Database
from leeroo.serve.door import Options

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Place:
    """Where a server listens, and what it answers with."""

    host: str
    port: int
    pool: Path | None
    router: Path | None
    store: Path | None


def folder_of(store: Path | None) -> Path:
    """Where a server keeps its files and its database: within the answer store."""
    return (store or default_store()) / "serve"


def run(place: Place, options: Options) -> None:
    """Serve until a signal ends it.

    Raises:
        UsageError: the address needs keys and there are none, another server has the folder, or an option is wrong.

    """
    _log_as_json()
    folder = folder_of(place.store)
    with contextlib.closing(Database(folder)) as db, _alone(folder):
        if place.host not in LOOPBACK and not keys.wanted(db):
            raise UsageError(
                f"{place.host} can be reached from elsewhere, and there is no key yet: make one with leeroo keys "
                "create, or leave out --host"
            )
        with open_engine(place.pool, place.router, place.store) as engine:
            app = make_app(db, engine, options)
            config = uvicorn.Config(app, place.host, place.port, log_config=None, access_log=False, server_header=False)
            server = uvicorn.Server(config)
            server.run()
            if not server.started:
                raise UsageError(f"{place.host}:{place.port} cannot be listened on: choose another --port")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other servers out of a folder."""
    lock = FileLock(folder / "server.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise UsageError(f"another server works in {folder}: stop it, or give another --store") from error
    with lock:
        yield


def _log_as_json() -> None:
    """One JSON object a line on standard error; uvicorn's own lines too."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
