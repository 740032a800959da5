"""Aggregate: one answer for the texts of each group, whatever their number.

A group that fits into the context of the expert that would answer is one request. The texts of a larger one are read in
parts, and the answers of parts are merged, level by level, until one is left. Each level of all groups is one run of
the engine. So a thousand groups take as many runs as the largest has levels. Requests do not depend on the order of the
texts: the same group costs nothing again, and one that has grown little costs little. Knows nothing of SQL.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine, Estimate
from leeroo.engine.batch.price import BYTES_PER_TOKEN
from leeroo.engine.jobs.aggregate.prompts import SUMMARY
from leeroo.engine.jobs.aggregate.rooms import TextGroup, find_rooms
from leeroo.engine.jobs.aggregate.texts import count_texts, count_tokens
from leeroo.engine.jobs.aggregate.tree import Node, Tree
from leeroo.engine.jobs.solve.waves import StepRequest, StepResult, StepRunner, StepWave
from leeroo.engine.schema import AGGREGATED

__all__ = ["SUMMARY", "TextGroup", "aggregate", "count_texts", "foresee"]

# What an output token costs in input tokens, about, where a budget is shared between levels.
_OUTPUT = 4


def aggregate(engine: Engine, groups: Sequence[TextGroup], criteria: Criteria) -> tuple[pa.Table, tuple[StepWave, ...]]:
    """Answer the task of each group from its texts.

    A part that fails fails its group, with the reason: no answer leaves out texts without saying so. Other groups are
    answered. Call it within `engine.delivery`, until the rows are where they should be: killed before that, the same
    call resumes and pays for nothing twice.

    Args:
        engine: With the pool; answers are in its store when this returns.
        groups: A row each.
        criteria: The budget is that of all groups together, with all levels.

    Returns:
        A row of `AGGREGATED` for each group, and the runs of the engine.

    Raises:
        InputError, PoolError, OutputError: as `Engine.answer`.

    """
    trees = _plant(engine, groups, criteria)
    runner = StepRunner(engine, criteria)
    while any(tree.open for tree in trees):
        _answer_level(trees, runner)
    return pa.Table.from_pylist([tree.as_row() for tree in trees], schema=AGGREGATED), tuple(runner.waves)


def foresee(engine: Engine, groups: Sequence[TextGroup], criteria: Criteria) -> Estimate:
    """Estimate what `aggregate` would take at most: with answers of parts that are as long as they may be."""
    trees = _plant(engine, groups, criteria)
    requests: list[StepRequest] = []
    while any(tree.open for tree in trees):
        for tree in trees:
            requests += [tree.request(node) for node in tree.open]
            for node in tree.open:
                tree.take(node, StepResult(answer=_as_long_as_may_be(tree, node)))
            tree.climb()
    return StepRunner(engine, criteria).explain(requests)


def _plant(engine: Engine, groups: Sequence[TextGroup], criteria: Criteria) -> list[Tree]:
    rooms = find_rooms(engine, groups, criteria)
    return [Tree(group, room) for group, room in zip(groups, rooms, strict=True)]


def _answer_level(trees: Sequence[Tree], runner: StepRunner) -> None:
    """Have all open nodes answered in one run, and go to the next level where one is done."""
    pairs = [(tree, node) for tree in trees for node in tree.open]
    requests = [tree.request(node) for tree, node in pairs]
    results = runner.run(requests, _later(trees, requests))
    for (tree, node), result in zip(pairs, results, strict=True):
        tree.take(node, result)
    for tree in trees:
        tree.climb()


def _later(trees: Sequence[Tree], requests: Sequence[StepRequest]) -> float:
    """Return how many requests like these the levels above will cost as much as."""
    above = 0.0
    for tree in trees:
        if merges := tree.merges_ahead():
            above += _weight(tree.room.answer * (len(tree.nodes) + merges), tree.room.answer * merges)
    if not above:
        return 0.0
    now = sum(_weight(count_tokens(request.question), request.max_tokens or 0) for request in requests)
    return above * len(requests) / now


def _weight(read: float, written: float) -> float:
    return read + _OUTPUT * written


def _as_long_as_may_be(tree: Tree, node: Node) -> str:
    """Return a text of the length that the answer of a node may have, about what its texts are about."""
    length = int(tree.room.answer * BYTES_PER_TOKEN)
    text = " ".join(item.text for item in node.items[:100])[:length] or "-"
    return (text * (length // len(text) + 1))[:length]
