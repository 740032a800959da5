"""The server as a process: its folder, its socket, its log, and its end."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvicorn
from filelock import FileLock, Timeout

from leeroo.engine.answer import Engine, open_engine
from leeroo.engine.backends.select import unavailable
from leeroo.engine.errors import UsageError
from leeroo.engine.paths import default_store
from leeroo.serve import keys
from leeroo.serve.database import Database
from leeroo.serve.options import ServerOptions
from leeroo.serve.web.app import make_app
from leeroo.serve.web.connections import HEAD_S, Connections, protocol

# Seconds that requests under way have to end when the server does.
_GRACE_S = 5
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Place:
    """The address of a server, and its pool, router and store."""

    host: str
    port: int
    pool: Path | None
    router: Path | None
    store: Path | None
    proxy: str | None = None  # whose X-Forwarded-For is believed


def folder_of(store: Path | None) -> Path:
    """Return the folder of a server's files and database, which is within the answer store."""
    return (store or default_store()) / "serve"


def run(place: Place, options: ServerOptions) -> None:
    """Serve until a signal ends it.

    Raises:
        UsageError: the address needs keys and there are none or is in use, another server has the folder, an option is
            wrong, or the pool or the router cannot run here.

    """
    _log_as_json()
    options.batches.checked()
    folder = folder_of(place.store)
    with contextlib.closing(Database(folder)) as db, _alone(folder), _listening(place) as listener:
        if place.host not in LOOPBACK and not keys.required(db):
            raise UsageError(
                f"{place.host} can be reached from elsewhere, and there is no key yet: make one with leeroo keys "
                "create, or leave out --host"
            )
        with open_engine(place.pool, place.router, place.store) as engine:
            _check(engine)
            config = uvicorn.Config(
                make_app(db, engine, options),
                http=protocol(Connections()),
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=place.proxy is not None,
                forwarded_allow_ips=place.proxy,
                timeout_graceful_shutdown=_GRACE_S,
                timeout_keep_alive=int(HEAD_S),
            )
            _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End cleanly at SIGTERM and Ctrl-C; uvicorn would raise the signal again after its clean end."""
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def _check(engine: Engine) -> None:
    """Refuse a pool or a router that can never run here.

    Raises:
        UsageError: no expert has the packages that it needs, or the router has not.

    """
    down = {expert.name: unavailable(expert) or "" for expert in engine.pool.experts}
    if all("pip install" in why for why in down.values()):
        raise UsageError("no expert can run here: " + "; ".join(f"{name}: {why}" for name, why in down.items()))
    if engine.router is not None:
        engine.scores(["What is 1 plus 1?"])


@contextlib.contextmanager
def _listening(place: Place) -> Iterator[socket.socket]:
    """Listen before anything is loaded.

    Raises:
        UsageError: the address cannot be listened on.

    """
    try:
        family = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((place.host, place.port), family=family, backlog=2048)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0].lower()
        raise UsageError(f"{place.host}:{place.port} cannot be listened on ({why}): choose another --port") from error
    with listener:
        yield listener


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
    """Log one JSON object a line to standard error, uvicorn's own lines too."""
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
    # Libraries write a line for each call of an API, with its URL, which may have a password in it: warnings only.
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for ours in ("leeroo", "uvicorn"):
        logging.getLogger(ours).setLevel(logging.INFO)
