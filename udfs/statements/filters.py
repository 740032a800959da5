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
from dataclasses import dataclass, field
from typing import Any

import duckdb

from leeroo.udfs.statements.keywords import words

Order = Callable[[duckdb.DuckDBPyConnection], AbstractContextManager[None]]

_OFF = "filter_pushdown,reorder_filter"
_OURS = "leeroo_"
# Keywords behind which conditions stand, and those that may follow the conditions, or begin a subquery.
_BEGINS = ("WHERE", "WHEN", "HAVING", "QUALIFY")
_ENDS = frozenset(
    {
        *("GROUP", "HAVING", "WINDOW", "QUALIFY", "USING", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR", "WITH"),
        *("UNION", "INTERSECT", "EXCEPT", "RETURNING", "ON", "SELECT", "VALUES"),
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
    for start, end, ands in _chains(statement):
        begins = [start, *(at + len("AND") for at in ands)]
        parts = [code[begin:until] for begin, until in zip(begins, [*ands, end], strict=True)]
        ordered = sorted(parts, key=lambda part: _OURS in part.decode().casefold())
        if ordered != parts:  # a part may end with a comment
            return _calls_last((code[:start] + b"\nAND ".join(ordered) + b"\n" + code[end:]).decode())
    return statement


@dataclass
class _Chain:
    """Conditions that AND joins: the first byte, the ANDs so far, and how many BETWEENs wait for theirs."""

    start: int
    ands: list[int] = field(default_factory=list)
    betweens: int = 0


def _chains(statement: str) -> Iterator[tuple[int, int, list[int]]]:
    """Return conditions that only AND joins, behind a WHERE or WHEN and in parentheses there: first byte, end, ANDs."""
    length = len(statement.encode().rstrip(b"; \t\r\n"))
    # The chain that is open in each bracket and CASE around a word, None where there is none.
    around: list[_Chain | None] = [None]
    before = ""
    for at, word in [*words(statement), (length, ")")]:
        chain = around[-1]
        if chain is not None and (word in _ENDS or word in (")", "OR", "THEN")):
            yield chain.start, at, chain.ands
        if word in _BEGINS or (word == "OR" and chain is not None):
            around[-1] = _Chain(at + len(word))
        elif word in ("(", "[", "{", "CASE"):
            inner = word == "(" and chain is not None and before in (*_BEGINS, "AND", "OR", "NOT", "(")
            around.append(_Chain(at + 1) if inner else None)
        elif word in (")", "]", "}", "END"):
            around = around[:-1] or [None]
        elif word in _ENDS or word in ("THEN", ","):  # a comma in parentheses: they hold a row of values
            around[-1] = None
        elif word == "BETWEEN" and chain is not None:
            chain.betweens += 1
        elif word == "AND" and chain is not None:
            if chain.betweens:
                chain.betweens -= 1
            else:
                chain.ands.append(at)
        before = word


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
