"""Subqueries that select answers as columns: conditions of the query that reads them are copied into them.

DuckDB fills such a column for all rows before it looks at a condition outside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from leeroo.udfs.statements.rewrite.names import Names
from leeroo.udfs.statements.rewrite.order import all_of, conditions
from leeroo.udfs.statements.rewrite.tables import columns_seen, name_of, row_by_row, with_sources
from leeroo.udfs.statements.rewrite.tree import Node, rebuild, replace


def push_down(names: Names, node: Node) -> Node:
    """Return a query in which subqueries with answers have the conditions that cost nothing, too."""

    def filled(part: Node) -> Node:
        if part.get("type") != "SELECT_NODE" or not names.calls_ours(part["from_table"]):
            return part
        plain = [
            each for each in conditions(part["where_clause"]) if not names.calls_ours(each) and names.repeatable(each)
        ]
        alone = part["from_table"]["type"] != "JOIN"
        return {**part, "from_table": with_sources(part["from_table"], lambda table: _with(names, table, plain, alone))}

    changed: Node = rebuild(node, filled)
    return changed


def _with(names: Names, table: Node, plain: list[Node], alone: bool) -> Node:
    """Return a table, a subquery with those of some conditions that are about its columns."""
    inner = table["subquery"]["node"] if table["type"] == "SUBQUERY" else None
    if inner is None or not row_by_row(names, inner) or not names.calls_ours(inner["select_list"]):
        return table
    own = filter(None, (_from_inside(names, each, inner, name_of(table), alone=alone) for each in plain))
    where = all_of([*own, *conditions(inner["where_clause"])])
    return {**table, "subquery": {**table["subquery"], "node": {**inner, "where_clause": where}}}


def _from_inside(names: Names, condition: Node, inner: Node, alias: str, *, alone: bool) -> Node | None:
    """Return a condition as the subquery would write it, None if it cannot."""
    shown = _shown(names, inner)
    missing: list[Any] = []

    def column(node: Node) -> Node | None:
        if node.get("class") != "COLUMN_REF":
            return None
        *table, name = node["column_names"]
        found = shown(name.casefold(), node) if table == [alias] or (alone and not table) else None
        if found is None:
            missing.append(node)
        return found

    moved: Node = replace(condition, column)
    return None if missing else moved


def _shown(names: Names, inner: Node) -> Callable[[str, Node], Node | None]:
    """Return a function from the name of a column of a subquery to what it is there; None where it may be an answer."""
    items = {(each["alias"] or _last(each)).casefold(): each for each in inner["select_list"]}
    star = columns_seen(inner) is None
    of = name_of(inner["from_table"])

    def shown(name: str, node: Node) -> Node | None:
        item = items.get(name)
        if item is not None:
            return None if names.calls_ours(item) or not names.repeatable(item) else {**item, "alias": ""}
        return {**node, "column_names": [*([of] if of else []), node["column_names"][-1]]} if star else None

    return shown


def _last(item: Node) -> str:
    return str(item["column_names"][-1]) if item.get("class") == "COLUMN_REF" else ""
