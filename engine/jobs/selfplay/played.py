"""A loop of self-play in numbers, read from its folder: its rounds, experts and topics. Knows nothing of reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq

from leeroo.engine.errors import UsageError
from leeroo.engine.orchestrator.analysis.frontier import Point, aiq


@dataclass(frozen=True)
class Played:
    """A loop as it is on disk.

    Attributes:
        rounds: Rows of `ROUND`, in their order.
        experts: The experts of the last round: outcomes with their mean score, accuracy and USD per 1,000 on the
            held-out questions, and share of the traffic.
        topics: For each topic of the held-out questions: how many, and the accuracy of each expert.
        judged_by: Outcomes, by how their scores were found.
    """

    rounds: list[dict[str, Any]]
    experts: list[dict[str, Any]]
    topics: list[dict[str, Any]]
    judged_by: dict[str, int]

    @property
    def held_out(self) -> int:
        """Number of the held-out questions."""
        return sum(topic["questions"] for topic in self.topics)

    @property
    def random_mix(self) -> float:
        """The score of mixing experts at random by their accuracies and costs, whatever the question is."""
        known = [row for row in self.experts if row["accuracy"] is not None and row["cost_usd_per_1k"] is not None]
        points = [Point(row["cost_usd_per_1k"], row["accuracy"]) for row in known]
        return aiq(points, points)

    def standard_error(self, score: float) -> float:
        """Return the standard error of a score as if it were an accuracy."""
        return float(np.sqrt(score * (1 - score) / self.held_out))

    def as_json(self) -> dict[str, Any]:
        """Return what `leeroo selfplay report --json` prints."""
        rounds = [{name: None if value != value else value for name, value in row.items()} for row in self.rounds]
        return {"rounds": rounds, "experts": self.experts, "topics": self.topics, "judged_by": self.judged_by}


_EXPERTS = """
SELECT e.expert, (SELECT count(*) FROM outcomes p WHERE p.expert = e.expert) AS outcomes,
       (SELECT avg(score) FROM outcomes p WHERE p.expert = e.expert) AS mean_score,
       (SELECT avg(score) FROM held_out h WHERE h.expert = e.expert) AS accuracy,
       (SELECT 1000 * avg(cost_usd) FROM held_out h WHERE h.expert = e.expert) AS cost_usd_per_1k
FROM experts e ORDER BY accuracy DESC NULLS LAST, e.expert
"""
_TOPICS = """
SELECT topic, arg_min(questions, expert) AS questions,
       map(list(expert ORDER BY expert), list(accuracy ORDER BY expert)) AS accuracy
FROM (SELECT coalesce(topic, 'own questions') AS topic, count(DISTINCT query_id) AS questions, expert,
             avg(score) AS accuracy
      FROM queries JOIN held_out USING (query_id) GROUP BY ALL)
GROUP BY topic ORDER BY topic
"""
_JUDGED = "SELECT judged_by, count(*) FROM outcomes GROUP BY ALL ORDER BY 2 DESC, 1"


def read_played(out: Path) -> Played:
    """Read the folder of a loop, which may be playing.

    Raises:
        UsageError: it is not one, or no round of it is done.
    """
    done = [file.parent for file in sorted(out.glob("rounds/*/round.parquet"))]
    if not done:
        raise UsageError(f"{out} has no round of self-play that is done: leeroo selfplay --out {out} plays some")
    rounds = [row for folder in done for row in pq.read_table(folder / "round.parquet").to_pylist()]
    outcomes = [str(folder / "outcomes.parquet") for folder in done]
    with duckdb.connect() as con:
        con.read_parquet(outcomes, union_by_name=True).create_view("outcomes")
        con.read_parquet(str(out / "held-out" / "outcomes.parquet")).create_view("held_out")
        con.read_parquet(str(out / "held-out" / "queries.parquet")).create_view("queries")
        con.read_parquet(str(done[-1] / "experts.parquet")).create_view("experts")
        experts, topics = (con.sql(query).to_arrow_table().to_pylist() for query in (_EXPERTS, _TOPICS))
        judged = con.sql(_JUDGED).fetchall()
    for row in rounds:
        row["traffic"] = dict(row["traffic"])
    for row in experts:
        row["traffic"] = rounds[-1]["traffic"].get(row["expert"])
    for row in topics:
        row["accuracy"] = dict(row["accuracy"])
    return Played(rounds, experts, topics, dict(judged))
