"""Views, CTEs and subqueries that filter by calls of ours: their conditions move to the query that reads them.

There they come after its own conditions and joins. A condition moves only where the query that reads it sees all the
columns that it needs, and where each row passes on its own: not below an aggregate, a LIMIT, or an outer join that
would keep the row.
"""

from __future__ import annotations

from collections.abc import Iterator

from leeroo.udfs.statements.rewrite.names import Names
from leeroo.udfs.statements.rewrite.order import all_of, conditions
from leeroo.udfs.statements.rewrite.tables import columns_seen, name_of, row_by_row, with_sources
from leeroo.udfs.statements.rewrite.tree import Node, query, read, rebuild, replace, root, walk


def pull_up(names: Names, node: Node) -> Node:
    """Return a query with conditions on calls of ours as far out as they may be."""
    node = _inline(names, node)
    pulled: Node = rebuild(node, lambda part: _pulled(names, part) if part.get("type") == "SELECT_NODE" else part)
    return pulled


def _inline(names: Names, node: Node) -> Node:
    """Return a query with the views that call ours, and the CTEs that do and are read once, as subqueries."""
    hidden = {name for part in walk(node) for name in _cte_names(part)}
    node, ctes = _take_ctes(names, node)

    def subquery(part: Node) -> Node | None:
        name = table_name(part)
        if name is None:
            return None
        if name.casefold() in ctes:
            return _as_subquery(part, name, replace(ctes[name.casefold()], subquery))
        body = names.view(name) if name.casefold() not in hidden else None
        tree = None if body is None else read(body)
        return None if tree is None else _as_subquery(part, name, replace(root(tree), subquery))

    return replace(node, subquery)  # type: ignore[no-any-return]


def _take_ctes(names: Names, node: Node) -> tuple[Node, dict[str, Node]]:
    """Return a query without the CTEs of its own that can be written in their place, and these."""
    taken: dict[str, Node] = {}
    kept = []
    for each in node["cte_map"]["map"]:
        name, value = each["key"].casefold(), each["value"]
        inner = value["query_node"] if "query_node" in value else value["query"]["node"]  # DuckDB 2, DuckDB 1.5
        reads = sum((table_name(part) or "").casefold() == name for part in walk(node))
        fits = inner["type"] == "SELECT_NODE" and not value["aliases"] and names.calls_ours(inner)
        if reads == 1 and fits and "ALWAYS" not in str(value.get("materialized")):
            taken[name] = inner
        else:
            kept.append(each)
    return {**node, "cte_map": {**node["cte_map"], "map": kept}}, taken


def _cte_names(node: Node) -> Iterator[str]:
    if "cte_map" in node:
        yield from (each["key"].casefold() for each in node["cte_map"]["map"])


def table_name(node: Node) -> str | None:
    """Return the name of a table that is read without a schema before it."""
    if node.get("type") != "BASE_TABLE" or node.get("schema_name") or node.get("catalog_name") or node.get("at_clause"):
        return None
    return str(node["table_name"])


def _as_subquery(table: Node, name: str, inner: Node) -> Node:
    made = query("SELECT * FROM (SELECT 1) AS x")["from_table"]
    made["subquery"]["node"] = inner
    return {
        **made,
        "alias": table["alias"] or name,
        "sample": table["sample"],
        "column_name_alias": table["column_name_alias"],
    }


def _pulled(names: Names, node: Node) -> Node:
    """Return a SELECT that has taken over the conditions of the subqueries that it reads."""
    taken: list[Node] = []
    tables = with_sources(node["from_table"], lambda table: _give_up(names, table, taken))
    if not taken:
        return node
    return {**node, "from_table": tables, "where_clause": all_of([*conditions(node["where_clause"]), *taken])}


def _give_up(names: Names, table: Node, taken: list[Node]) -> Node:
    """Return a table, a subquery without the conditions of ours that it can do without; these are added to `taken`."""
    if table["type"] != "SUBQUERY" or table["column_name_alias"] or table["sample"]:
        return table
    inner = table["subquery"]["node"]
    if not row_by_row(names, inner):
        return table
    alias = table["alias"] or f"_leeroo_{len(taken)}"
    moved, kept = [], []
    for each in conditions(inner["where_clause"]):
        outside = _from_outside(each, inner, alias) if names.calls_ours(each) else None
        kept.append(each) if outside is None else moved.append(outside)
    if not moved:
        return table
    taken.extend(moved)
    inner = {**inner, "where_clause": all_of(kept)}
    return {**table, "alias": alias, "subquery": {**table["subquery"], "node": inner}}


def _from_outside(condition: Node, inner: Node, alias: str) -> Node | None:
    """Return a condition of a subquery as the query that reads it would write it, None if it cannot."""
    seen, of = columns_seen(inner), name_of(inner["from_table"])
    missing = []

    def column(node: Node) -> Node | None:
        if node.get("class") == "SUBQUERY":
            missing.append(node)
        if node.get("class") != "COLUMN_REF":
            return None
        *table, name = node["column_names"]
        known = (not table and name != of) or table == [of]
        shown = (name if seen is None else seen.get(name.casefold())) if known else None
        if shown is None:
            missing.append(node)
            return None
        return {**node, "column_names": [alias, shown]}

    moved: Node = replace(condition, column)
    return None if missing else moved
