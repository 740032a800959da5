"""The order in which DuckDB evaluates the conditions of a filter: our calls cost money, so they come last.

DuckDB takes `leeroo_answer(q) IS NOT NULL` for cheap and puts it before `id % 100 = 0`. With two of its optimizers off
it keeps the written order, but no longer brings any condition closer to the tables. So the conditions are
rewritten, those without calls of ours first. Knows nothing of connections and their answers.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import duckdb

from leeroo.udfs.statements.keywords import Keyword, keywords

Order = Callable[[duckdb.DuckDBPyConnection], AbstractContextManager[None]]

_OFF = "filter_pushdown,reorder_filter"
_OURS = "leeroo_"
# Keywords that may follow the conditions of a WHERE.
_ENDS = frozenset(
    {
        *("GROUP", "HAVING", "WINDOW", "QUALIFY", "USING", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR", "WITH"),
        *("UNION", "INTERSECT", "EXCEPT", "RETURNING", "ON", "SELECT"),
    }
)
# The setting belongs to a whole database instance, and is restored after use.
_setting = threading.RLock()


def mixes_calls(plan: str) -> bool:
    """Say if a filter has a call of ours among other conditions, in a plan without joins.

    Joins need their conditions where the optimizer brings them; without it they would multiply their tables.
    """
    nodes = list(_nodes(json.loads(plan)))
    conditions = [str(node["extra_info"].get("Expression", "")) for node in nodes if node["name"] == "FILTER"]
    joins = any("JOIN" in node["name"] or "PRODUCT" in node["name"] for node in nodes)
    return not joins and any("_leeroo_" in each and " AND " in each for each in conditions)


def calls_last(statement: str) -> str:
    """Return a statement with calls of ours last among the conditions of each WHERE, where AND joins them."""
    written = _calls_last(statement)
    try:
        duckdb.extract_statements(written)
    except duckdb.Error:  # a keyword that we do not know follows a condition
        return statement
    return written


def _calls_last(statement: str) -> str:
    code = statement.encode()
    for start, end, ands in _wheres(statement):
        begins = [start, *(at + len("AND") for at in ands)]
        parts = [code[begin:until] for begin, until in zip(begins, [*ands, end], strict=True)]
        ordered = sorted(parts, key=lambda part: _OURS in part.decode().casefold())
        if ordered != parts:  # a part may end with a comment
            return _calls_last((code[:start] + b"\nAND".join(ordered) + b"\n" + code[end:]).decode())
    return statement


def _wheres(statement: str) -> Iterator[tuple[int, int, list[int]]]:
    """Return the conditions of each WHERE that only AND joins: first byte, end, and the place of each AND."""
    length = len(statement.encode().rstrip(b"; \t\r\n"))
    words = [*keywords(statement), Keyword(length, ")", -1)]
    for i, where in enumerate(words):
        if where.text != "WHERE":
            continue
        ands: list[int] = []
        between = cases = 0
        for word in words[i + 1 :]:
            if word.depth > where.depth:
                continue
            if word.text in ("CASE", "END"):
                cases += 1 if word.text == "CASE" else -1
            elif cases:
                continue
            elif word.text == "OR":
                break
            elif word.text == "BETWEEN":
                between += 1
            elif word.text == "AND" and between:
                between -= 1
            elif word.text == "AND":
                ands.append(word.start)
            elif word.depth < where.depth or word.text in _ENDS:
                yield where.start + len("WHERE"), word.start, ands
                break


@contextlib.contextmanager
def as_written(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Plan in here with conditions in the order in which they are written, see `calls_last`."""
    with _setting, con.cursor() as other:  # a transaction that breaks in here takes no more statements
        before = other.execute("SELECT current_setting('disabled_optimizers')").fetchall()[0][0]
        other.execute(f"SET disabled_optimizers = '{','.join(filter(None, (before, _OFF)))}'")
        try:
            yield
        finally:
            other.execute(f"SET disabled_optimizers = '{before}'")


@contextlib.contextmanager
def as_optimized(_con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Plan in here in DuckDB's own order."""
    yield


def _nodes(plan: list[Any]) -> Iterator[dict[str, Any]]:
    for node in plan:
        yield node
        yield from _nodes(node.get("children", []))
