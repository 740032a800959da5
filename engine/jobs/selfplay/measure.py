"""Measures of a round of self-play: the choices of its router on the held-out questions. Knows nothing of rounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from leeroo.engine.batch.price import prices
from leeroo.engine.orchestrator.analysis.evaluate import Evaluation, evaluate
from leeroo.engine.orchestrator.choose import choose
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.statistics import log_loss
from leeroo.engine.orchestrator.training.active_learning import expected_usd
from leeroo.engine.pool import Expert

_SHARES = {"accuracy_at_quarter": 1 / 4, "accuracy_at_half": 1 / 2, "accuracy_at_full": 1.0}


def measure(router: Router, held_out: Path, experts: Sequence[Expert]) -> dict[str, Any]:
    """Measure a router on the held-out questions, for the experts that it knows; a row of `schema.MEASURES`.

    Raises:
        RouterError, UsageError: as `evaluate`.
    """
    known = [e for e in experts if e.name in router.experts]
    found = evaluate(router, [held_out], "test", [e.name for e in known])
    there = np.isfinite(found.scores_pred)
    return {
        "score": found.aiq,
        **{name: _accuracy_at(found, share) for name, share in _SHARES.items()},
        "log_loss": log_loss(found.scores_pred[there], found.scores[there], np.ones(int(there.sum()))),
        "ece": found.ece,
        "best_expert": found.best,
        "best_accuracy": found.experts[found.best].accuracy,
        "oracle_accuracy": found.oracle.accuracy,
        "traffic": list(_traffic(router, held_out, known).items()),
    }


def _accuracy_at(found: Evaluation, share: float) -> float:
    budget = share * max(point.cost_usd_per_1k for point in found.experts.values())
    return min(found.frontier, key=lambda point: abs(point.budget_usd_per_1k - budget)).accuracy


def _traffic(router: Router, held_out: Path, experts: Sequence[Expert]) -> dict[str, float]:
    names = [e.name for e in experts]
    questions = pq.read_table(held_out / "queries.parquet")["question"].to_pylist()
    costs = expected_usd(router, names, prices(tuple(experts)), questions)
    scores = router.predict(questions).scores[:, [router.experts.index(name) for name in names]]
    chosen = choose(scores, costs, budget_usd=costs.sum(axis=0).max() / 2).expert
    return {name: float((chosen == j).mean()) for j, name in enumerate(names)}
