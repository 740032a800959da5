"""What functions over frames share: read one, do a job for its rows, and return these as the same kind of frame."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from leeroo.api.options import RunOptions
from leeroo.engine.answer import Criteria, Engine, open_engine
from leeroo.engine.batch.layout import field_names
from leeroo.engine.batch.prompts import CONTEXT
from leeroo.engine.tables.frames import as_frame, from_frame, like_frame
from leeroo.udfs.functions.unanswered import Unanswered, warn

# These open the engine; the other options are criteria of the run.
_OPENING = ("pool", "router", "store", "on_progress")

Work = Callable[[Engine, pa.RecordBatchReader, Criteria], pa.Table]


def run_job(
    function: str,
    work: Work,
    frame: Any,
    options: dict[str, Any],
    read: Sequence[str] = (),
    stop: threading.Event | None = None,
    **more: Any,
) -> Any:
    """Do a job for a frame; return its rows as the same kind of frame, and warn once of those that failed."""
    unknown = [name for name in options if name not in RunOptions.__annotations__]
    if unknown:
        raise TypeError(f"{function}() got an unexpected keyword argument {unknown[0]!r}")
    opening = {name: options.pop(name) for name in _OPENING if name in options}
    criteria = Criteria(**options, **more)
    # The columns that prompts are built from are read, and no others.
    asked = [criteria.column] if criteria.prompt is None else field_names(criteria.prompt)
    frame = as_frame(frame, asked[0] if asked else criteria.column)
    named = filter(None, (*asked, criteria.private_column, criteria.gold))
    rows = from_frame(frame, {*named, *CONTEXT, *read})
    with open_engine(**opening, stop=stop) as engine, engine.delivery():
        done = work(engine, rows, criteria)
        result = like_frame(done.to_reader(), frame)
        _warn(f"leeroo.{function}", done, criteria.prefix)
        return result


def _warn(function: str, rows: pa.Table, prefix: str) -> None:
    """Warn once of rows that failed, with the commonest reason."""
    errors = rows.column(f"{prefix}error").drop_null().to_pylist()
    if errors:
        unanswered = Unanswered()
        unanswered.add([function], len(rows), errors)
        warn(str(unanswered))
