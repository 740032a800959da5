"""The commands of the HTTP endpoint: serve, and keys create, list and revoke."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leeroo.cli.commands import criteria, grouped
from leeroo.cli.log import current
from leeroo.cli.options import AsJson, EngineOptions, StoreFolder
from leeroo.engine.errors import UsageError

if TYPE_CHECKING:
    from leeroo.serve.database import Database

LIMITS = "Limits"
# Packages of the extra `serve`, as they are imported.
_NEEDED = ("fastapi", "jinja2", "multipart", "prometheus_client", "structlog", "uvicorn")

keys_app = typer.Typer(no_args_is_help=True, help="Create, list and revoke the keys of a server.")


@grouped
def serve(
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own needs keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8080,
    proxy: Annotated[
        str | None, typer.Option(help="Address of a proxy before the server, whose X-Forwarded-For is trusted.")
    ] = None,
    setup: EngineOptions,
    max_file_mb: Annotated[int, typer.Option(min=1, help="Largest upload, in MiB.", rich_help_panel=LIMITS)] = 200,
    max_lines: Annotated[
        int, typer.Option(min=1, help="Largest number of lines in a batch.", rich_help_panel=LIMITS)
    ] = 50_000,
    max_line_kb: Annotated[int, typer.Option(min=1, help="Longest line, in KiB.", rich_help_panel=LIMITS)] = 1024,
    max_open: Annotated[int, typer.Option(min=1, help="Open batches of a key.", rich_help_panel=LIMITS)] = 1000,
    requests_per_minute: Annotated[int, typer.Option(min=1, help="Requests of a key.", rich_help_panel=LIMITS)] = 6000,
    max_key_gb: Annotated[
        int, typer.Option(min=1, help="Files that a key may keep, in GiB.", rich_help_panel=LIMITS)
    ] = 20,
    keep_days: Annotated[
        int,
        typer.Option(
            min=0, help="Days until files and ended batches are deleted; 0 keeps them forever.", rich_help_panel=LIMITS
        ),
    ] = 30,
) -> None:
    """Serve batches over HTTP, as OpenAI's Files and Batches API; the stock openai client works unchanged.

    --max-cost-usd and the weights hold for batches whose metadata say nothing else. All data is in the folder of the
    store. Killed at any moment, the server goes on where it stopped.
    """
    _check_packages()
    from leeroo.serve.options import ServerOptions
    from leeroo.serve.run import run

    run(
        ServerOptions(
            host=host,
            port=port,
            proxy=proxy,
            pool=setup.pool,
            router=setup.router,
            store=setup.store,
            criteria=criteria(setup),
            file_bytes=max_file_mb * 1024**2,
            lines=max_lines,
            line_bytes=max_line_kb * 1024,
            open_batches=max_open,
            bytes_per_key=max_key_gb * 1024**3,
            requests_per_minute=requests_per_minute,
            keep_s=keep_days * 24 * 3600 if keep_days else None,
        )
    )


@keys_app.command("create", epilog="Example:  leeroo keys create reports")
def create(
    name: Annotated[str, typer.Argument(help="Name of the key.")],
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it; it cannot be shown again."""
    from leeroo.serve import keys

    with _database(store) as db:
        key, secret = keys.create(db, name)
    if as_json:
        print(json.dumps({"id": key.id, "name": key.name, "key": secret}))
    else:
        print(secret)


@keys_app.command("list")
def list_keys(store: StoreFolder = None, as_json: AsJson = False) -> None:
    """List the keys, without their secrets."""
    from leeroo.serve import keys

    with _database(store) as db:
        found = keys.list_keys(db)
    if as_json:
        print(json.dumps({"keys": [asdict(key) for key in found]}))
        return
    for key in found:
        made = datetime.fromtimestamp(key.created, UTC).date()
        print(f"{key.id}  {key.name}  made {made}{'  revoked' if key.revoked else ''}")


@keys_app.command("revoke", epilog="Example:  leeroo keys revoke reports")
def revoke(
    name: Annotated[str, typer.Argument(help="Name or id of the key.")],
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key at once; its files and batches stay."""
    from leeroo.serve import keys

    with _database(store) as db:
        key = keys.revoke(db, name)
    if as_json:
        print(json.dumps({"revoked": asdict(key)}))
    else:
        current().say(f"revoked: {key.id} {key.name}")


def _check_packages() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"the server needs {', '.join(missing)}: pip install 'leeroo[serve]'")


@contextlib.contextmanager
def _database(store: Path | None) -> Iterator[Database]:
    from leeroo.serve.database import Database, folder_of

    with contextlib.closing(Database(folder_of(store))) as db:
        yield db
