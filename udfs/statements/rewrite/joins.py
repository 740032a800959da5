"""Conditions on calls of ours that wait for all joins of their query.

DuckDB brings a condition to the table whose columns it has, below the joins that would leave fewer rows of it. A
condition that has columns of all tables stays above them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from leeroo.udfs.statements.rewrite.names import Names
from leeroo.udfs.statements.rewrite.order import all_of, conditions
from leeroo.udfs.statements.rewrite.tables import name_of
from leeroo.udfs.statements.rewrite.tree import Node, expression, query, replace

Columns = Callable[[Node], list[str]]


def wait_for_joins(names: Names, node: Node, columns: Columns) -> Node:
    """Return a query in which conditions on calls of ours come with a condition that needs all tables and always holds.

    Args:
        names: Says which calls are ours.
        node: The query.
        columns: Returns the columns of a query that is part of it.

    """

    def waiting(part: Node) -> Node | None:
        if part.get("type") != "SELECT_NODE" or part["from_table"]["type"] != "JOIN":
            return None
        if not names.calls_ours(part["where_clause"]):
            return None
        always = _needs_all(part, columns)
        inner = {name: replace(each, waiting) for name, each in part.items()}
        if always is not None:
            inner["where_clause"] = all_of([always, *conditions(inner["where_clause"])])
        return inner

    return replace(node, waiting)  # type: ignore[no-any-return]


def _needs_all(node: Node, columns: Columns) -> Node | None:
    """Return a condition with a column of every table, None where one has no name or no column."""
    used = []
    for name in _names(node["from_table"]):
        star = query(f"SELECT {_quoted(name)}.*")["select_list"]
        bare = {"select_list": star, "where_clause": None, "modifiers": [], "having": None, "qualify": None}
        found = columns({**node, **bare, "group_expressions": [], "group_sets": [], "sample": None}) if name else []
        if not found:
            return None
        used.append(f"{_quoted(name)}.{_quoted(found[0])}")
    return expression(f"hash({', '.join(used)}) IS NOT NULL")


def _names(table: Node) -> Iterator[str]:
    if table["type"] == "JOIN":
        yield from _names(table["left"])
        if table["join_type"] not in ("SEMI", "ANTI"):
            yield from _names(table["right"])
    else:
        yield name_of(table)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
