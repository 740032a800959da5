"""The commands of the answer store: info and prune."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leeroo.cli.options import AsJson, StoreFolder
from leeroo.engine.errors import UsageError

if TYPE_CHECKING:
    from leeroo.engine.store.store import Store

_DAY_S = 86_400

store_app = typer.Typer(no_args_is_help=True, help="Look at the answer store, and prune it.")


@store_app.command("info", epilog="Example:  leeroo store info --json")
def info(store: StoreFolder = None, as_json: AsJson = False) -> None:
    """Print where the answer store is, how large it is, and what is in it."""
    with _opened(store) as there:
        found = {"store": str(there.folder), **there.info()}
    if as_json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        shown = f"{value:,}" if isinstance(value, int) else value or "-"
        print(f"{name.replace('_', ' '):<16}{shown}")


@store_app.command("prune", epilog="Example:  leeroo store prune --older-than 90")
def prune(
    store: StoreFolder = None,
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Remove what is older than this.")
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option(min=0, metavar="BYTES", help="Remove the oldest until it is this small.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove old answers, runs, timings and what tables taught; a question that comes again is then paid for again.

    Feedback and the answers that it is about stay. So do the sums of what was spent, and what a run under way needs.
    """
    if older_than is None and max_bytes is None:
        raise UsageError("say what to remove: --older-than DAYS, --max-bytes BYTES, or both")
    before = None if older_than is None else time.time() - older_than * _DAY_S
    with _opened(store) as there:
        pruned = there.prune(before, max_bytes)
    if as_json:
        print(json.dumps(pruned._asdict()))
    else:
        print(
            f"removed: {pruned.answers:,} answers, {pruned.runs:,} runs, and what {pruned.learned:,} tables taught;"
            f" the store takes {pruned.bytes:,} bytes now"
        )


@contextlib.contextmanager
def _opened(store: Path | None) -> Iterator[Store]:
    from leeroo.engine.paths import default_store
    from leeroo.engine.store.store import Store

    folder = store or default_store()
    if not (folder / "answers.sqlite").is_file():
        raise UsageError(f"there is no answer store in {folder}; name its folder with --store")
    with contextlib.closing(Store(folder)) as there:
        yield there
