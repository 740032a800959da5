"""The figures of a round of self-play: how its router chooses on the held-out questions, and notes for people.

Knows nothing of how a round is played.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.batch.price import prices
from leeroo.engine.jobs.feedback import judge_feedback, warnings
from leeroo.engine.jobs.judge import JudgeAgreement
from leeroo.engine.jobs.selfplay.state import Loop, Round, spent_usd
from leeroo.engine.money import usd
from leeroo.engine.orchestrator.analysis.drift import find_drift
from leeroo.engine.orchestrator.analysis.evaluate import Evaluation, evaluate
from leeroo.engine.orchestrator.analysis.frontier import chosen_by
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.statistics import log_loss
from leeroo.engine.orchestrator.training.active_learning import expected_usd
from leeroo.engine.pool import Expert
from leeroo.engine.schema import ROUND

_SHARES = {"accuracy_at_quarter": 1 / 4, "accuracy_at_half": 1 / 2, "accuracy_at_full": 1.0}


def round_figures(now: Round, router: Router, counts: dict[str, Any], seconds: float, notes: list[str]) -> pa.Table:
    """Return the row of a round, a table of `ROUND`."""
    row = {
        **counts,
        "round": now.number,
        "outcomes_total": sum(expert.outcomes for expert in router.summary.experts.values()),
        "cost_usd": spent_usd(now.folder),
        "cost_usd_total": spent_usd(now.loop.out),
        **_measures(router, now.loop.out / "held-out", now.loop.experts),
        "seconds": seconds,
        "notes": notes,
    }
    return pa.Table.from_pylist([row], schema=ROUND)


def notes_on(now: Round, found: JudgeAgreement) -> list[str]:
    """Return notes on a round for people."""
    notes = warnings(judge_feedback(now.loop.engine.store)) + _drifts(now.loop)
    if not found.trusted:
        notes.append(
            f"what {now.loop.judge} judged is left out: on {found.n:,} computed outcomes its agreement beyond chance "
            f"is only {found.kappa:.2f}; name a better one with --judge"
        )
    return notes


def _drifts(loop: Loop) -> list[str]:
    """Return a line about each expert whose outcomes have drifted from what routers expect."""
    files = sorted(loop.out.glob("rounds/*/outcomes.parquet"))
    outcomes = [(number, row) for number, file in enumerate(files) for row in pq.read_table(file).to_pylist()]
    lines = []
    for name in loop.names:
        own = [each for each in outcomes if each[1]["expert"] == name and each[1]["predicted_score"] is not None]
        found = find_drift([row["predicted_score"] for _, row in own], [row["score"] for _, row in own])
        if found is not None:
            lines.append(
                f"expert {name}: since round {own[found.since][0]} answers come out {abs(found.shift):.2f} "
                f"{'below' if found.shift < 0 else 'above'} what the router expects (n={found.n})"
            )
    return lines


def report_round(now: Round) -> None:
    """Report a round in lines for people."""
    [row] = pq.read_table(now.folder / "round.parquet").to_pylist()
    for note in row["notes"]:
        now.say(note)
    now.say(
        f"{row['outcomes']:,} outcomes, {row['outcomes_total']:,} in all; held-out score {row['score']:.3f}, "
        f"{row['best_expert']} alone is right on {row['best_accuracy']:.1%}; {usd(row['cost_usd_total'])} spent so far"
    )


def _measures(router: Router, held_out: Path, experts: Sequence[Expert]) -> dict[str, Any]:
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
    costs = expected_usd(router, names, prices(experts).usd_per_m[:, 0], questions)
    scores = router.predict(questions).scores[:, [router.experts.index(name) for name in names]]
    chosen = chosen_by(scores, costs, costs.sum(axis=0).max() / 2)
    return {name: float((chosen == j).mean()) for j, name in enumerate(names)}
