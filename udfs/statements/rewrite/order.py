"""The order of conditions: those that cost nothing first, then our calls, each for the rows that the ones before kept.

DuckDB may evaluate the parts of AND and OR in any order, and brings each as close to its table as it can. A CASE keeps
its order. So `c AND a`, where only c calls us, becomes `a AND CASE WHEN a THEN c END`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from leeroo.udfs.statements.rewrite.names import Names
from leeroo.udfs.statements.rewrite.tree import Node, expression, text_of

# How early a call is made, the lowest first: for a part of an AND (True) or an OR.
Rank = Callable[[Node, bool], float]

# Where only true counts: NULL is the same as false.
_TRUTHS = ("where_clause", "having", "qualify", "condition", "when_expr", "filter")
_AND, _OR = "CONJUNCTION_AND", "CONJUNCTION_OR"


class Order:
    """Puts the conditions of a query in order.

    Args:
        names: Says which calls are ours.
        rank: Says which of our calls are made first.

    """

    def __init__(self, names: Names, rank: Rank) -> None:
        self._names = names
        self._rank = rank

    def tree(self, node: Any) -> Any:
        """Return a tree with all its conditions in order."""
        if isinstance(node, list):
            return [self.tree(each) for each in node]
        if not isinstance(node, dict) or not self._names.calls_ours(node):
            return node
        if node.get("class") == "CONJUNCTION":
            return self._value(node)
        return {
            name: self.condition(each) if name in _TRUTHS and each else self._item(name, each)
            for name, each in node.items()
        }

    def _item(self, name: str, part: Any) -> Any:
        """Return a part of a node; what is selected keeps its name."""
        if name != "select_list" or not isinstance(part, list):
            return self.tree(part)
        ordered = [(each, self.tree(each)) for each in part]
        return [new if new == old or old["alias"] else {**new, "alias": text_of(old)} for old, new in ordered]

    def condition(self, node: Node) -> Node:
        """Return a condition in order, of which nothing counts but if it is true."""
        if not self._names.calls_ours(node):
            return node
        if node.get("type") == "OPERATOR_NOT":
            return self._negated(node)
        if node.get("class") != "CONJUNCTION":
            return self.tree(node)  # type: ignore[no-any-return]
        all_hold = node["type"] == _AND
        plain, ours = self._parts(node)
        ours = [self.condition(each) for each in ours]
        if all_hold:
            return self._all(plain, ours)
        first = [_join(_OR, plain)] if plain else []
        return reduce(
            lambda rest, each: expression("CASE WHEN first THEN true ELSE rest END", first=each, rest=rest),
            reversed([*first, *ours]),
        )

    def _all(self, plain: Sequence[Node], ours: Sequence[Node]) -> Node:
        called = reduce(lambda rest, each: _if(each, rest), ours[::-1])
        if not plain:
            return called
        # DuckDB still uses what costs nothing where it reads the tables.
        kept = [each for each in plain if self._names.repeatable(each)]
        return _join(_AND, [*kept, _if(_join(_AND, copy.deepcopy(plain)), called)])

    def _negated(self, node: Node) -> Node:
        """Return NOT of a condition in order, with NOT before each of its parts."""
        (inner,) = node["children"]
        if inner.get("type") == "OPERATOR_NOT":
            return self.condition(inner["children"][0])
        if inner.get("class") != "CONJUNCTION":
            return self.tree(node)  # type: ignore[no-any-return]
        parts = [expression("NOT part", part=each) for each in inner["children"]]
        return self.condition({**inner, "type": _OR if inner["type"] == _AND else _AND, "children": parts})

    def _value(self, node: Node) -> Node:
        """Return an AND or OR in order, whose value may be true, false or NULL."""
        plain, ours = self._parts(node)
        parts = [*([_join(node["type"], plain)] if plain else []), *(self.tree(each) for each in ours)]
        first_decides = (
            "CASE WHEN NOT first THEN false WHEN first THEN rest ELSE first AND rest END"
            if node["type"] == _AND
            else "CASE WHEN first THEN true WHEN NOT first THEN rest ELSE first OR rest END"
        )
        if len(parts) > 3 or any(self._names.has_effects(each) for each in parts):  # it would be written very often
            return {**node, "children": parts}
        return reduce(lambda rest, each: expression(first_decides, first=each, rest=rest), parts[::-1])

    def _parts(self, node: Node) -> tuple[list[Node], list[Node]]:
        """Return the parts of an AND or OR: those that cost nothing, and those that call us, as they are ranked."""
        parts = flat(node)
        ours = [each for each in parts if self._names.calls_ours(each)]
        plain = [each for each in parts if not self._names.calls_ours(each)]
        return plain, sorted(ours, key=lambda each: self._rank(each, node["type"] == _AND))


def _if(first: Node, rest: Node) -> Node:
    return expression("CASE WHEN first THEN rest END", first=first, rest=rest)


def flat(node: Node) -> list[Node]:
    """Return the parts that the same AND or OR joins, also those in parentheses."""
    if node.get("class") != "CONJUNCTION":
        return [node]
    return [part for each in node["children"] for part in (flat(each) if each.get("type") == node["type"] else [each])]


def conditions(node: Node | None) -> list[Node]:
    """Return the conditions that must all hold, none for none."""
    return [] if node is None else flat(node) if node.get("type") == _AND else [node]


def all_of(parts: Sequence[Node]) -> Node | None:
    """Return the condition that all of some hold, None for none."""
    return _join(_AND, parts) if parts else None


def _join(kind: str, parts: Sequence[Node]) -> Node:
    if len(parts) == 1:
        return parts[0]
    return {**expression("a AND b" if kind == _AND else "a OR b"), "children": list(parts)}
