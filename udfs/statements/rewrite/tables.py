"""The tables that a query reads, and what is known of their rows and columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from leeroo.udfs.statements.rewrite.names import Names
from leeroo.udfs.statements.rewrite.tree import Node, walk

# Of a join, the tables of which each row passes or not, whatever other rows they have.
_SIDES = {"INNER": ("left", "right"), "LEFT": ("left",), "SEMI": ("left",), "ANTI": ("left",)}
# What makes a star less than all columns.
_OF_STAR = ("exclude_list", "replace_list", "qualified_exclude_list", "rename_list", "columns", "expr")


def sources(table: Node) -> Iterator[Node]:
    """Return the tables of a FROM of which a condition may as well be checked before the joins."""
    if table["type"] != "JOIN":
        yield table
    for side in _sides(table):
        yield from sources(table[side])


def with_sources(table: Node, change: Callable[[Node], Node]) -> Node:
    """Return a FROM with these tables changed."""
    if table["type"] != "JOIN":
        return change(table)
    return {**table, **{side: with_sources(table[side], change) for side in _sides(table)}}


def _sides(table: Node) -> tuple[str, ...]:
    usual = table["type"] == "JOIN" and table["ref_type"] in ("REGULAR", "CROSS")
    return _SIDES.get(table["join_type"], ()) if usual else ()


def name_of(table: Node) -> str:
    """Return the name by which a query names the columns of a table, "" for none."""
    return table["alias"] or table.get("table_name") or ""


def row_by_row(names: Names, node: Node) -> bool:
    """Say if every row of a query comes from one row of one table, whatever other rows there are."""
    return (
        node["type"] == "SELECT_NODE"
        and not any(node[part] for part in ("modifiers", "group_expressions", "having", "qualify", "sample"))
        and node["aggregate_handling"] == "STANDARD_HANDLING"
        and node["from_table"]["type"] in ("BASE_TABLE", "SUBQUERY", "TABLE_FUNCTION")
        and not names.aggregates(node["select_list"])
        and not any(each.get("function_name") in ("unnest", "unlist") for each in walk(node["select_list"]))
    )


def columns_seen(node: Node) -> dict[str, str] | None:
    """Return the columns of its table that a query shows, by their names there; None for all."""
    stars = [each for each in node["select_list"] if each.get("class") == "STAR"]
    if any(not any(star.get(part) for part in _OF_STAR) for star in stars):
        return None
    columns = [each for each in node["select_list"] if each.get("class") == "COLUMN_REF"]
    return {each["column_names"][-1].casefold(): each["alias"] or each["column_names"][-1] for each in columns}
