"""The stages of a query in which one answer decides if the next question is asked at all.

A rehearsal takes an answer that is not known for NULL, and then a CASE goes on to its next branch, a COALESCE to its
next value. So a query is first rehearsed without what stands behind its first call, then without what stands behind its
second, and at last as it is.
"""

from __future__ import annotations

from typing import Any

from leeroo.udfs.statements.rewrite.names import Names
from leeroo.udfs.statements.rewrite.tree import Node, expression, walk


def stages(names: Names, query: Node) -> list[Node]:
    """Return the query cut off behind its first call, its second, and so on; none where no call waits for another."""
    most = max((_waiting(names, node) for node in walk(query)), default=0)
    return [_cut(names, query, number) for number in range(1, most + 1)]


def _waiting(names: Names, node: Node) -> int:
    """Return behind how many calls of a node other calls wait."""
    steps = _steps(node)
    ours = [i for i, step in enumerate(steps) if names.calls_ours(step)]
    return sum(any(names.calls_ours(later) for later in _later(node, i)) for i in ours)


def _steps(node: Node) -> list[Node]:
    """Return what is evaluated one after the other: the conditions of a CASE, the values of a COALESCE."""
    if node.get("class") == "CASE":
        inner = node["else_expr"]
        own = [check["when_expr"] for check in node["case_checks"]]
        return [*own, *_steps(inner)] if inner.get("class") == "CASE" else own
    return list(node["children"]) if node.get("type") == "OPERATOR_COALESCE" else []


def _later(node: Node, step: int) -> list[Node]:
    """Return what is evaluated only after a step, but for what the step itself selects."""
    if node.get("class") != "CASE":
        return list(node["children"][step + 1 :])
    checks = node["case_checks"]
    if step >= len(checks):
        return _later(node["else_expr"], step - len(checks))
    behind = checks[step + 1 :]
    return [*(each["when_expr"] for each in behind), *(each["then_expr"] for each in behind), node["else_expr"]]


def _cut(names: Names, node: Any, number: int) -> Any:
    """Return a tree without what stands behind that many calls of each CASE and COALESCE."""
    if isinstance(node, list):
        return [_cut(names, each, number) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("class") == "CASE":
        return _cut_case(names, node, number)
    if node.get("type") == "OPERATOR_COALESCE":
        ours = [i for i, each in enumerate(node["children"]) if names.calls_ours(each)]
        kept = node["children"][: ours[number - 1] + 1] if len(ours) >= number else node["children"]
        return {**node, "children": _cut(names, kept, number)}
    return {name: _cut(names, each, number) for name, each in node.items()}


def _cut_case(names: Names, node: Node, number: int) -> Node:
    kept = []
    for check in node["case_checks"]:
        kept.append(_cut(names, check, number))
        number -= names.calls_ours(check["when_expr"])
        if number == 0:
            return {**node, "case_checks": kept, "else_expr": expression("NULL")}
    return {**node, "case_checks": kept, "else_expr": _cut(names, node["else_expr"], number)}
