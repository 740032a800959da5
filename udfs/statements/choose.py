"""Choose the order of a query's conditions: the cheapest call first, by what a sample of its questions would cost.

A call that costs c and lets the share s of the rows pass is placed by c / (1 - s) in an AND, by c / s in an OR.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from leeroo.udfs.statements.rehearsal import Rehearsal
from leeroo.udfs.statements.rewrite.limits import Limited
from leeroo.udfs.statements.rewrite.order import all_of, conditions, flat
from leeroo.udfs.statements.rewrite.query import Query
from leeroo.udfs.statements.rewrite.tree import Node, expression, root, text_of, walk

# Where a LIMIT stops, calls are compared over this many rows.
_COMPARED_ROWS = 1000


@dataclass(frozen=True)
class Call:
    """A condition with calls of ours, over the rows that pass all conditions that cost nothing.

    Attributes:
        text: The condition.
        questions: How many of them have no answer here yet.
        usd: What answering them would cost.
        tokens: What would be read and written for them.
        share: How many of the rows with a known value pass; a half where none is known.
    """

    text: str
    questions: int
    usd: float
    tokens: float
    share: float

    def rank(self, *, all_hold: bool) -> float:
        """Return its place among others, the lowest first."""
        # Tokens decide between calls that cost nothing.
        return (self.usd + 1e-12 * self.tokens) / ((1 - self.share) if all_hold else self.share)


@dataclass(frozen=True)
class Choice:
    """The query as it is run.

    Attributes:
        node: The query.
        chains: For each AND or OR with several calls of ours, these in their order.
    """

    node: Node
    chains: list[list[Call]] = field(default_factory=list)


def choose_order(found: Query, rehearsal: Rehearsal) -> Choice:
    """Return the query of a statement with its conditions in order, or as it is where that asks for no less."""
    known: dict[str, Call] = {}
    chains = []
    for node in walk(found.node):
        for all_hold, parts, others in _chains(found, node):
            calls = [_look_at(found, rehearsal, node, found.condition_in_order(part), others) for part in parts]
            known |= {_key(part): call for part, call in zip(parts, calls, strict=True) if call}
            if all(calls):
                chains.append(sorted(filter(None, calls), key=lambda call: call.rank(all_hold=all_hold)))

    def rank(part: Node, all_hold: bool) -> float:
        return known[_key(part)].rank(all_hold=all_hold) if _key(part) in known else 0.0

    written, ordered = root(found.written), found.in_order(rank)
    if not found.changes(ordered) or rehearsal.plan(found.within(ordered)) is None:
        return Choice(written)
    joins = any(each.get("type") == "JOIN" for each in walk(ordered))
    # Above a join, conditions are evaluated for more rows.
    if joins and rehearsal.questions(found.alone(ordered)) >= rehearsal.questions(found.alone(written)):
        return Choice(written)
    return Choice(ordered, chains)


def _chains(found: Query, node: Node) -> Iterator[tuple[bool, list[Node], list[Node]]]:
    """Return where a SELECT has several calls in one AND or OR: if all must hold, these, and what costs nothing."""
    if node.get("type") != "SELECT_NODE" or found.part.condition:
        return
    parts = conditions(node["where_clause"])
    ours = [each for each in parts if found.names.calls_ours(each)]
    others = [each for each in parts if not found.names.calls_ours(each)]
    either = [[part for part in flat(each) if found.names.calls_ours(part)] for each in ours if _is_or(each)]
    for all_hold, calls in ((True, ours), *((False, each) for each in either)):
        if len(calls) > 1:
            yield all_hold, calls, others


def _look_at(found: Query, rehearsal: Rehearsal, node: Node, part: Node, others: list[Node]) -> Call | None:
    """Return the questions of a condition and what is known of its values, None where it cannot stand alone."""
    limit = found.limit(node)
    node = limit.first(_COMPARED_ROWS) if isinstance(limit, Limited) else node
    shown = [expression("count(*) FILTER (WHERE part)", part=part), expression("count(part)", part=part)]
    bare: Node = {"modifiers": [], "group_expressions": [], "group_sets": [], "having": None, "qualify": None}
    row = rehearsal.row(found.alone({**node, **bare, "select_list": shown, "where_clause": all_of(others)}))
    questions, usd, tokens = rehearsal.expect_collected()
    if row is None:
        return None
    passed, there = row
    return Call(_bare(text_of(part)), questions, usd, tokens, (passed + 1) / (there + 2))


def saved(found: Query, node: Node, rehearsal: Rehearsal) -> tuple[int, int] | None:
    """Return how many questions the query asks first as written, and as it is run; None where that is the same."""
    if not found.changes(node):
        return None
    return rehearsal.questions(found.alone(root(found.written))), rehearsal.questions(found.alone(node))


def _bare(text: str) -> str:
    """Return the text of a condition without the parentheses that DuckDB writes around it."""
    depth = list(accumulate((letter == "(") - (letter == ")") for letter in text))
    return text[1:-1] if text[:1] == "(" and 0 not in depth[:-1] else text


def _is_or(node: Node) -> bool:
    return node.get("type") == "CONJUNCTION_OR"


def _key(node: Node) -> str:
    return json.dumps(node, sort_keys=True)
