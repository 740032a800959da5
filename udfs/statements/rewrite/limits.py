"""Queries with a LIMIT that read no more rows than they need to find as many as they want.

`FROM t WHERE c ORDER BY d LIMIT 10`, where c calls us, becomes `FROM (FROM t ORDER BY d LIMIT 40) t WHERE c ORDER BY d
LIMIT 10`. If ten of the forty rows pass, that is the same result. Whoever runs the query finds out how many are enough.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

from leeroo.udfs.statements.rewrite.names import Names
from leeroo.udfs.statements.rewrite.order import all_of, conditions
from leeroo.udfs.statements.rewrite.tables import name_of, sources
from leeroo.udfs.statements.rewrite.tree import Node, column_of, query, replace, walk

# Of rows of which nothing is known yet, half are taken to pass.
_PASS, _ROWS = 1, 2
_TABLES = ("BASE_TABLE", "SUBQUERY", "TABLE_FUNCTION")
# One step reads at most this many times the rows of all steps before.
_GROWTH = 3


@dataclass(frozen=True)
class Limited:
    """A query with a LIMIT behind conditions on calls of ours.

    Attributes:
        node: The query.
        table: The table that it reads row by row, in its FROM.
        orders: The order in which rows are read: that of the query, as its table would write it.
        conditions: What costs nothing and is known of a row of the table alone.
    """

    node: Node
    table: Node
    orders: list[Node]
    conditions: list[Node]

    def first(self, rows: int) -> Node:
        """Return the query over the first rows of its table."""
        short = self.prefix(rows)
        tables = replace(self.node["from_table"], lambda each: short if each is self.table else None)
        return {**self.node, "from_table": tables}

    def prefix(self, rows: int) -> Node:
        """Return the first rows of the table, as a table."""
        made = query(f"SELECT * FROM (SELECT * FROM t LIMIT {rows}) AS x")["from_table"]
        inner = made["subquery"]["node"]
        inner["from_table"] = self.table
        inner["where_clause"] = all_of(copy.deepcopy(self.conditions))
        if self.orders:
            inner["modifiers"] = [{"type": "ORDER_MODIFIER", "orders": copy.deepcopy(self.orders)}, *inner["modifiers"]]
        return {**made, "alias": name_of(self.table)}

    def all_found(self, rows: int) -> Node:
        """Return a query with all that pass among the first rows of the table, without the LIMIT."""
        kept = [each for each in self.node["modifiers"] if each["type"] == "DISTINCT_MODIFIER"]
        return {**self.first(rows), "modifiers": kept}

    @property
    def limit(self) -> tuple[Node, Node | None]:
        """How many rows are wanted, and how many before them are not: expressions."""
        modifier = next(each for each in self.node["modifiers"] if each["type"] == "LIMIT_MODIFIER")
        return modifier["limit"], modifier["offset"]


def limited(names: Names, node: Node) -> Limited | str | None:
    """Return how a query finds its rows in steps, or why it cannot; None where no LIMIT stands behind calls of ours."""
    modifiers = {each["type"]: each for each in node["modifiers"]}
    wanted = modifiers.get("LIMIT_MODIFIER")
    distinct = modifiers.get("DISTINCT_MODIFIER")
    if wanted is None or not wanted["limit"] or wanted.get("limit_type", "ROW_COUNT") != "ROW_COUNT":
        return None
    behind = [node["where_clause"], node["from_table"], node["select_list"] if distinct else None]
    if not names.calls_ours(behind):
        return None
    if (why := _needs_all(names, node, distinct)) is not None:
        return why
    orders = _orders(names, node, modifiers.get("ORDER_MODIFIER"))
    if orders is None or names.calls_ours(orders):
        return "the rows are sorted by answers"
    tables = list(sources(node["from_table"]))
    table = _read_by(names, node, tables, orders)
    if table is None and node["from_table"]["type"] != "JOIN":
        return None
    if table is None:
        return "the rows are sorted by columns of several tables"
    if _filters_inside(names, table):
        return "a subquery filters by answers"
    own = [each for each in conditions(node["where_clause"]) if not names.calls_ours(each) and names.repeatable(each)]
    if len(tables) > 1 or node["from_table"] is not table:
        own = [each for each in own if _is_of(each, table)]
    return Limited(node, table, orders, own)


def next_rows(wanted: int, found: int, rows: int) -> int:
    """Return how many rows the next step reads in all: enough for what is missing, if as many pass as so far.

    The missing rows are counted with their own spread on top, so that one step is enough more often than not.
    """
    missing = wanted - found
    share = (found + _PASS) / (rows + _ROWS)
    more = math.ceil(missing / share * (1 + 1 / math.sqrt(missing)))
    return rows + min(more, _GROWTH * rows or more)


def _needs_all(names: Names, node: Node, distinct: Node | None) -> str | None:
    """Say why a query needs all rows to give any of its own."""
    if node["group_expressions"] or node["having"] or node["aggregate_handling"] != "STANDARD_HANDLING":
        return "the rows are grouped"
    if names.aggregates(node["select_list"]) or node["qualify"]:
        return "it has an aggregate or a window"
    if names.has_effects(node):
        return "it draws other rows each time"
    if node["sample"] or (distinct and distinct.get("distinct_on_targets")):
        return "the rows are a sample" if node["sample"] else "it has DISTINCT ON"
    return None


def _orders(names: Names, node: Node, modifier: Node | None) -> list[Node] | None:
    """Return by what rows are sorted, in terms of the table; None where that cannot be said."""
    shown = {each["alias"].casefold(): {**each, "alias": ""} for each in node["select_list"] if each["alias"]}
    found = []
    for order in [] if modifier is None else modifier["orders"]:
        by = order["expression"]
        if by.get("class") in ("CONSTANT", "STAR", "PARAMETER"):
            return None
        by = replace(by, lambda each: shown.get((column_of(each) or "").casefold()))
        if names.aggregates(by):
            return None
        found.append({**order, "expression": by})
    return found


def _read_by(names: Names, node: Node, tables: list[Node], orders: list[Node]) -> Node | None:
    """Return the table that is read row by row: that of the order, or of the calls."""
    fits = [each for each in tables if each["type"] in _TABLES and not each["sample"]]
    if node["from_table"]["type"] != "JOIN":
        return fits[0] if fits else None
    if orders:
        return next((each for each in fits if all(_is_of(by, each) for by in orders)), None)
    calls = [each for each in walk(node["where_clause"]) if names.is_ours(each)]
    first = fits[0] if fits else None
    return next((each for each in fits if calls and all(_is_of(call, each) for call in calls)), first)


def _is_of(node: Node, table: Node) -> bool:
    """Say if all columns of an expression name this table."""
    name = name_of(table).casefold()
    columns = [each["column_names"] for each in walk(node) if each.get("class") == "COLUMN_REF"]
    return bool(columns) and all(len(each) > 1 and each[0].casefold() == name for each in columns)


def _filters_inside(names: Names, table: Node) -> bool:
    """Say if a table is a subquery in which calls of ours decide on rows."""
    if table["type"] != "SUBQUERY":
        return names.calls_ours(table)
    inner = table["subquery"]["node"]
    if not names.calls_ours(inner):
        return False
    parts = ("where_clause", "from_table", "group_expressions", "modifiers", "having", "qualify", "cte_map")
    return inner["type"] != "SELECT_NODE" or names.calls_ours([inner[part] for part in parts])
