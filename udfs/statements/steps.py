"""Find the rows that a LIMIT wants in steps, and ask about no others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from leeroo.udfs.statements.explanation import Stop
from leeroo.udfs.statements.rehearsal import Rehearsal
from leeroo.udfs.statements.rewrite.limits import Limited, next_rows
from leeroo.udfs.statements.rewrite.query import Query
from leeroo.udfs.statements.rewrite.tree import Node, query, rebuild, text_of, walk


def shorten(found: Query, node: Node, rehearsal: Rehearsal, parameters: object) -> Node:
    """Return a query in which each LIMIT has as many rows as it needs, whose conditions are answered.

    Args:
        found: The query of the statement.
        node: It, with its conditions in order.
        rehearsal: Has questions answered.
        parameters: Of the statement.

    """

    def change(part: Node) -> Node:
        return _shorten(found, part, rehearsal, parameters) if part.get("type") == "SELECT_NODE" else part

    if any(part.get("type") == "RECURSIVE_CTE_NODE" for part in walk(node)):  # one part reads another anew each time
        return node
    changed: Node = rebuild(node, change)
    return changed


def _shorten(found: Query, node: Node, rehearsal: Rehearsal, parameters: object) -> Node:
    limit = found.limit(node)
    if not isinstance(limit, Limited) or not _same_rows_each_time(limit, rehearsal):
        return node
    wanted = rows_wanted(limit, parameters)
    rows = next_rows(wanted, 0, 0) if wanted else 0
    while rows:
        counts = [found.count(each) for each in found.cut(limit.all_found(rows))]
        rehearsal.answer(counts)
        passed = rehearsal.value(counts[-1])
        if passed is None or passed >= wanted:
            return node if passed is None else limit.first(rows)
        there = rehearsal.value(found.count(_all_of(limit, rows)))
        rows = next_rows(wanted, passed, rows) if there == rows else 0
    return node


def first_steps(found: Query, node: Node, parameters: object) -> Node:
    """Return a query in which each LIMIT that stops reads the rows of its first step."""

    def change(part: Node) -> Node:
        limit = found.limit(part) if part.get("type") == "SELECT_NODE" else None
        wanted = rows_wanted(limit, parameters) if isinstance(limit, Limited) else 0
        return limit.first(next_rows(wanted, 0, 0)) if isinstance(limit, Limited) and wanted else part

    changed: Node = rebuild(node, change)
    return changed


def stops(found: Query, node: Node, parameters: object) -> Iterator[Stop]:
    """Return what the LIMITs of a query save that stand behind conditions on calls of ours."""
    for part in walk(node):
        limit = found.limit(part) if part.get("type") == "SELECT_NODE" else None
        if isinstance(limit, str):
            yield Stop(0, 0, limit)
        elif limit is not None and (wanted := rows_wanted(limit, parameters)):
            yield Stop(wanted, next_rows(wanted, 0, 0))


def rows_wanted(limit: Limited, parameters: object) -> int:
    """Return how many rows must be found for a LIMIT with its OFFSET, 0 where that is not known or none."""
    numbers = [_number(each, parameters) for each in limit.limit if each is not None]
    return 0 if None in numbers else sum(number for number in numbers if number is not None)


def _number(node: Node, parameters: object) -> int | None:
    value: Any = text_of(node) if node.get("class") == "CONSTANT" else None
    if node.get("class") == "PARAMETER":
        name = node["identifier"]
        if isinstance(parameters, Mapping):
            value = parameters.get(name)
        elif isinstance(parameters, Sequence) and name.isdigit() and int(name) <= len(parameters):
            value = parameters[int(name) - 1]
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _all_of(limit: Limited, rows: int) -> Node:
    made = query("SELECT * FROM t")
    return {**made, "from_table": limit.prefix(rows), "cte_map": limit.node["cte_map"]}


def _same_rows_each_time(limit: Limited, rehearsal: Rehearsal) -> bool:
    """Say if the first rows of a table are the same in each run."""
    return bool(limit.orders) or bool(rehearsal.value("SELECT current_setting('preserve_insertion_order')"))
