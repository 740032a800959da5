"""The server as a process: its folder, its socket, its log, and its end."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import structlog
import uvicorn
from filelock import FileLock, Timeout

from leeroo.engine.answer import Engine, open_engine
from leeroo.engine.backends.select import unavailable
from leeroo.engine.errors import UsageError
from leeroo.engine.pool import Expert
from leeroo.serve import keys
from leeroo.serve.database import Database, folder_of
from leeroo.serve.options import ServerOptions
from leeroo.serve.web.app import make_app
from leeroo.serve.web.connections import HEAD_S, Connections, protocol

# Seconds that a thread which computes keeps others from Python. A request waits for that several times over, behind the
# threads that read lines and write answers; Python's own 5 ms make most of its time.
_SWITCH_S = 0.0005
# Seconds that requests under way have to end when the server does.
_GRACE_S = 5


def run(options: ServerOptions) -> None:
    """Serve until a signal ends it.

    Raises:
        UsageError: the address is in use, or needs keys and there are none; another server has the folder; the pool or
            the router cannot run here.

    """
    _log_as_json()
    sys.setswitchinterval(_SWITCH_S)
    folder = folder_of(options.store)
    with contextlib.closing(Database(folder)) as db, _alone(folder), _listen(options) as listener:
        if not options.loopback and not keys.are_required(db):
            raise UsageError(
                f"{options.host} can be reached from elsewhere, and there is no key yet: make one with leeroo keys "
                "create, or leave out --host"
            )
        with open_engine(options.pool, options.router, options.store) as engine:
            _check(engine)
            facts = _facts(db, engine, options, listener.getsockname())
            config = uvicorn.Config(
                make_app(db, engine, options),
                http=protocol(Connections()),
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=options.proxy is not None,
                forwarded_allow_ips=options.proxy,
                timeout_graceful_shutdown=_GRACE_S,
                timeout_keep_alive=int(HEAD_S),
            )
            _Server(config, facts).run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that says what it serves when it is ready, and ends cleanly."""

    def __init__(self, config: uvicorn.Config, facts: dict[str, object]) -> None:
        super().__init__(config)
        self._facts = facts

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say what is served."""
        await super().startup(sockets)
        if self.started:
            _announce(self._facts)

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


def _facts(db: Database, engine: Engine, options: ServerOptions, address: tuple[str, int]) -> dict[str, object]:
    """Return what the server serves, for people and for the log."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    known = [key for key in keys.list_keys(db) if key.revoked is None]
    return {
        "address": f"http://{host}:{address[1]}",
        "pool": str(options.pool or "the embedded pool"),
        "experts": [_describe(engine, expert) for expert in engine.pool.experts],
        "router": _describe_router(engine, options),
        "store": str(engine.store.folder),
        "keys": f"{len(known)} in use" if keys.are_required(db) else "none: only this machine may connect",
        "batches": "POST /v1/files, then POST /v1/batches; the page at / shows them",
    }


def _describe(engine: Engine, expert: Expert) -> str:
    """Return the name of an expert, with what is special about it."""
    why = unavailable(expert)
    remarks = ["default"] * (expert.name == engine.pool.default) + [f"cannot run: {why}"] * (why is not None)
    return expert.name + (f" ({'; '.join(remarks)})" if remarks else "")


def _describe_router(engine: Engine, options: ServerOptions) -> str:
    if engine.prior is not None:
        return engine.prior.remark
    if engine.router is None:
        return f"none: {engine.pool.default} answers what names no expert"
    return str(options.router or "the embedded router")


def _announce(facts: dict[str, object]) -> None:
    """Print what is served: lines on a terminal, and elsewhere an object of the log."""
    if not sys.stderr.isatty():
        structlog.get_logger("leeroo.serve").info("serving", **facts)
        return
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        print(f"{name:<9}{shown}", file=sys.stderr, flush=True)


def _listen(options: ServerOptions) -> socket.socket:
    """Listen, before anything is loaded.

    Raises:
        UsageError: the address cannot be listened on.

    """
    try:
        family = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((options.host, options.port), family=family, backlog=2048)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0].lower()
        raise UsageError(
            f"{options.host}:{options.port} cannot be listened on ({why}): choose another --port"
        ) from error


def _alone(folder: Path) -> AbstractContextManager[object]:
    """Keep other servers out of a folder."""
    try:
        return FileLock(folder / "server.lock").acquire(blocking=False)
    except Timeout as error:
        raise UsageError(f"another server works in {folder}: stop it, or give another --store") from error


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
