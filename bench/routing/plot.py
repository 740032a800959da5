"""Pictures of cost against accuracy: our router, simple baselines and the best of the peers."""

from __future__ import annotations

import re

from bench.routing.data import Task
from bench.routing.rivals import SIMPLE, Predicted
from bench.routing.table import OURS, Rivals
from leeroo.engine.orchestrator.analysis.frontier import (
    Budgeted,
    accuracy_at,
    aiq,
    budgets_usd_per_1k,
    measure_frontier,
    oracle,
    random_mix,
)
from leeroo.reports.plot import plot_frontier

_PEERS = 3
# Marks of a peer's variants: how ties in its training were broken, how many neighbours, which questions.
_VARIANT = re.compile(r"-best|-cheapest|(?<=knn)50|-all")


def picture(task: Task, rivals: Rivals) -> str:
    """Draw SVG: our router, simple baselines and the three best kinds of peers.

    Each kind shows its best variant, by the mean over all budgets.
    """
    test, mine = task.test, rivals.ours[OURS]
    budgets = budgets_usd_per_1k(test.costs)
    experts = list(task.points.values())

    def frontier(predicted: Predicted) -> list[Budgeted]:
        return measure_frontier(predicted.scores, predicted.costs, test.scores, test.costs, budgets)

    of_peers = {name: frontier(predicted) for name, predicted in rivals.peers.items()}
    kinds: dict[str, list[Budgeted]] = {}
    for name in sorted(of_peers, key=lambda name: -aiq(of_peers[name], experts)):
        kinds.setdefault(_VARIANT.sub("", name).replace("-", " "), of_peers[name])
    others = {
        "random mix": random_mix(experts, budgets),
        SIMPLE: frontier(rivals.baselines[SIMPLE]),
        **dict(list(kinds.items())[:_PEERS]),
    }
    shown = [
        measure_frontier(mine.scores, mine.costs, test.scores, test.costs, [task.budget(g.share)])[0]
        for g in task.setting.goals
    ]
    bars = [
        (point.cost_usd_per_1k, accuracy_at(mine.scores, mine.costs, test.scores, test.costs, point.budget_usd_per_1k))
        for point in shown
    ]
    return plot_frontier(task.points, frontier(mine), others, oracle(test.scores, test.costs), bars)
