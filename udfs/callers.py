"""The code that called us: its frames, and the tables among its variables.

DuckDB looks for an unknown table among the variables of the Python frame that calls it. That frame is one of ours here,
so statements run in a frame with no other names than those of the caller's tables. Knows nothing of statements.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

Tables = dict[str, object]

_CALL = compile("__leeroo_call__()", "<leeroo>", "eval")
_LIBRARIES = ("pandas", "polars", "pyarrow", "numpy", "duckdb")


def callers() -> Iterator[FrameType]:
    """Return the frames outside of this package, the nearest first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if frame.f_code is not _CALL and module.partition(".")[0] not in ("leeroo", "contextlib"):
            yield frame
        frame = frame.f_back


def tables_in_sight() -> Tables:
    """Return the variables of all callers that DuckDB can read as tables; the nearest one hides others of its name."""
    found: Tables = {}
    seen: set[int] = set()
    for frame in callers():
        for names in (frame.f_locals, frame.f_globals):
            if id(names) not in seen:
                found = {name: value for name, value in names.items() if _is_table(value)} | found
        seen.add(id(frame.f_globals))
    return found


def run_among(tables: Tables, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a built-in method of DuckDB from a frame in which these tables are the only variables."""
    # DuckDB looks at the innermost Python frame; a partial of a built-in method makes none of its own.
    call = functools.partial(method, *args, **kwargs)
    return eval(_CALL, {}, {**tables, "__leeroo_call__": call})


def _is_table(value: object) -> bool:
    if isinstance(value, (dict, list)):  # numpy arrays by the names of their columns, or in order
        first = next(iter(value.values() if isinstance(value, dict) else value), None)
        return type(first).__module__ == "numpy"
    kind = type(value)
    return hasattr(kind, "__arrow_c_stream__") or kind.__module__.partition(".")[0] in _LIBRARIES
