"""The order in which DuckDB works out the conditions of a filter, of which ours cost money.

DuckDB takes `leeroo_answer(q) IS NOT NULL` for cheap and puts it before `id % 100 = 0`. With two of its optimizers off
it keeps the order in which the conditions are written, but no longer brings any of them closer to the tables.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import duckdb

Order = Callable[[duckdb.DuckDBPyConnection], AbstractContextManager[None]]

_OFF = "filter_pushdown,reorder_filter"
# The setting is that of a whole database instance, and put back as it was found.
_setting = threading.RLock()


def mixes_calls(plan: str) -> bool:
    """Whether a filter has a call of ours among other conditions, in a plan without joins.

    Joins need their conditions where the optimizer brings them; without it they would multiply their tables.
    """
    nodes = list(_nodes(json.loads(plan)))
    conditions = [str(node["extra_info"].get("Expression", "")) for node in nodes if node["name"] == "FILTER"]
    joins = any("JOIN" in node["name"] or "PRODUCT" in node["name"] for node in nodes)
    return not joins and any("_leeroo_" in each and " AND " in each for each in conditions)


@contextlib.contextmanager
def as_written(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Plan in here with conditions in the order in which they are written."""
    with _setting, con.cursor() as beside:  # a transaction that breaks in here takes no more statements
        before = beside.execute("SELECT current_setting('disabled_optimizers')").fetchall()[0][0]
        beside.execute(f"SET disabled_optimizers = '{','.join(filter(None, (before, _OFF)))}'")
        try:
            yield
        finally:
            beside.execute(f"SET disabled_optimizers = '{before}'")


@contextlib.contextmanager
def as_optimized(_con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Plan in here as ever."""
    yield


def _nodes(plan: list[Any]) -> Iterator[dict[str, Any]]:
    for node in plan:
        yield node
        yield from _nodes(node.get("children", []))
