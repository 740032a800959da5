"""A browser, and an evaluation of random outcomes, without a router: pictures and reports do not depend on one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from leeroo.engine.orchestrator.analysis.evaluate import Evaluation, Pair
from leeroo.engine.orchestrator.analysis.frontier import (
    SHARES,
    accuracy_at,
    aiq,
    budgets_usd_per_1k,
    expected_calibration_error,
    measure_frontier,
    oracle,
    pair_measures,
    random_mix,
    singles,
)

MakeEvaluation = Callable[..., Evaluation]


@pytest.fixture(scope="session")
def evaluation_of() -> MakeEvaluation:
    """Make one of experts by name, each better and more expensive than the one before, with notes."""

    def make(*names: str, notes: tuple[str, ...] = (), free: bool = False, baselines: bool = True) -> Evaluation:
        random = np.random.default_rng(0)
        skill = np.linspace(0.3, 0.8, len(names))
        expected = np.clip(skill + random.normal(0, 0.15, (400, len(names))), 0.01, 0.99)
        scores = (random.random(expected.shape) < expected).astype(np.float64)
        costs = np.logspace(-5, -3, len(names)) * random.uniform(0.5, 1.5, (400, 1))
        if free:
            costs[:, 0] = 0
        points = singles(scores, costs)
        best = max(range(len(names)), key=lambda j: points[j].accuracy)
        budgets = budgets_usd_per_1k(costs)
        ours = measure_frontier(expected, costs, scores, costs, budgets)
        means = measure_frontier(np.tile(skill, (400, 1)), costs, scores, costs, budgets) if baselines else None
        measures = pair_measures(expected[:, best] - expected[:, 0], scores[:, 0], scores[:, best])
        return Evaluation(
            n=400,
            experts=dict(zip(names, points, strict=True)),
            best=names[best],
            oracle=oracle(scores, costs),
            frontier=ours,
            baselines={"random": random_mix(points, budgets), "subject_mean": means, "knn": means},
            shares={s: accuracy_at(expected, costs, scores, costs, s * points[best].cost_usd_per_1k) for s in SHARES},
            pair=Pair(names[0], names[best], measures),
            aiq=aiq(ours, points),
            ece=expected_calibration_error(expected, scores),
            scores_pred=expected,
            scores=scores,
            notes=list(notes),
        )

    return make


@pytest.fixture(scope="session")
def evaluation(evaluation_of: MakeEvaluation) -> Evaluation:
    """Three experts and a note."""
    return evaluation_of("small", "medium", "large", notes=("a note",))
