"""The query in a statement, written so that it asks for less: conditions in order, and no more rows than a LIMIT wants.

Knows how queries are written, and nothing of how they are run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from duckdb import StatementType

from leeroo.udfs.statements.rewrite.columns import push_down
from leeroo.udfs.statements.rewrite.joins import wait_for_joins
from leeroo.udfs.statements.rewrite.limits import Limited, limited
from leeroo.udfs.statements.rewrite.names import Execute, Names
from leeroo.udfs.statements.rewrite.order import Order, Rank
from leeroo.udfs.statements.rewrite.stages import stages
from leeroo.udfs.statements.rewrite.tree import Node, query, read, root, same, with_root, write
from leeroo.udfs.statements.rewrite.views import pull_up
from leeroo.udfs.statements.texts import Part, put_query, query_in, take_query


@dataclass(frozen=True)
class Query:
    """The query in a statement, with conditions on calls of ours as far out as they may be."""

    statement: str
    part: Part
    names: Names
    written: Node  # the tree of the user's own text
    node: Node

    @classmethod
    def find(cls, statement: str, kind: StatementType | None, execute: Execute) -> Self | None:
        """Return the query of a statement, None where there is none that can be written in another way."""
        part = query_in(statement, kind)
        tree = None if part is None else read(take_query(statement, part))
        if part is None or tree is None:
            return None
        outer = pull_up(Names(execute, tree), root(tree))
        names = Names(execute, outer)
        return cls(statement, part, names, tree, push_down(names, outer))

    def in_order(self, rank: Rank) -> Node:
        """Return the query with its conditions in order."""
        waiting = wait_for_joins(self.names, self.node, lambda part: self.names.columns(self.alone(part)))
        ordered: Node = Order(self.names, rank).tree(waiting)
        return ordered

    def condition_in_order(self, part: Node) -> Node:
        """Return a condition that only has to be true, in order, with calls of ours as they are written."""
        return Order(self.names, lambda _part, _all: 0.0).condition(part)

    def changes(self, node: Node) -> bool:
        """Say if a query differs from what the user wrote."""
        return not same(node, root(self.written))

    def limit(self, node: Node) -> Limited | str | None:
        """Return how the query finds the rows of its LIMIT in steps, or why it cannot, see `limited`."""
        return limited(self.names, node) if node["type"] == "SELECT_NODE" and not self.part.condition else None

    def cut(self, node: Node) -> Iterator[Node]:
        """Return the stages of a query, and the query itself."""
        yield from stages(self.names, node)
        yield node

    def alone(self, node: Node) -> str:
        """Return the text of a query that is part of this one, with the CTEs that it may read."""
        own = node["cte_map"]["map"]
        names = {each["key"] for each in own}
        shared = [] if node is self.node else [each for each in self.node["cte_map"]["map"] if each["key"] not in names]
        return write(with_root(self.written, {**node, "cte_map": {**node["cte_map"], "map": [*shared, *own]}}))

    def count(self, node: Node) -> str:
        """Return the text of a query that counts the rows of another."""
        made = query("SELECT count(*) FROM (SELECT 1) AS _leeroo_rows")
        made["from_table"]["subquery"]["node"] = {**node, "cte_map": query("SELECT 1")["cte_map"]}
        return self.alone({**made, "cte_map": node["cte_map"]})

    def within(self, node: Node) -> str:
        """Return the statement with this query in the place of its own."""
        return put_query(self.statement, self.part, write(with_root(self.written, node)))
