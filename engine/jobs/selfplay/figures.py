"""The figures of a round of self-play: its row of `ROUND`, notes for people, and the lines that report it.

Knows nothing of how a round is played.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.jobs.feedback import judged, warnings
from leeroo.engine.jobs.selfplay.judge import JudgeAgreement
from leeroo.engine.jobs.selfplay.measure import measure
from leeroo.engine.jobs.selfplay.stages import spent_usd
from leeroo.engine.jobs.selfplay.state import Loop, Round
from leeroo.engine.money import usd
from leeroo.engine.orchestrator.analysis.drift import drifted
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.schema import ROUND


def round_figures(now: Round, router: Router, counts: dict[str, Any], seconds: float, notes: list[str]) -> pa.Table:
    """Return the row of a round, a table of `ROUND`."""
    row = {
        **counts,
        "round": now.number,
        "outcomes_total": sum(expert.outcomes for expert in router.summary.experts.values()),
        "cost_usd": spent_usd(now.folder),
        "cost_usd_total": spent_usd(now.loop.out),
        **measure(router, now.loop.out / "held-out", now.loop.experts),
        "seconds": seconds,
        "notes": notes,
    }
    return pa.Table.from_pylist([row], schema=ROUND)


def notes_on(now: Round, found: JudgeAgreement) -> list[str]:
    """Return notes on a round for people."""
    notes = warnings(judged(now.loop.engine.store)) + _drifts(now.loop)
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
        found = drifted([row["predicted_score"] for _, row in own], [row["score"] for _, row in own])
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
