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
WITH played AS (FROM read_parquet($outcomes, union_by_name = true)),
     held_out AS (FROM read_parquet($held_out))
SELECT e.expert, (SELECT count(*) FROM played p WHERE p.expert = e.expert) AS outcomes,
       (SELECT avg(score) FROM played p WHERE p.expert = e.expert) AS mean_score,
       (SELECT avg(score) FROM held_out h WHERE h.expert = e.expert) AS accuracy,
       (SELECT 1000 * avg(cost_usd) FROM held_out h WHERE h.expert = e.expert) AS cost_usd_per_1k
FROM read_parquet($experts) e ORDER BY accuracy DESC NULLS LAST, e.expert
"""
_TOPICS = """
SELECT coalesce(topic, 'own questions') AS topic, count(DISTINCT query_id) AS questions, expert, avg(score) AS accuracy
FROM read_parquet($queries) AS q JOIN read_parquet($held_out) AS h USING (query_id) GROUP BY ALL ORDER BY topic, expert
"""
_JUDGED = """
SELECT judged_by, count(*) FROM read_parquet($outcomes, union_by_name = true) GROUP BY ALL ORDER BY 2 DESC, 1
"""


def read_played(out: Path) -> Played:
    """Read the folder of a loop, which may be playing.

    Raises:
        UsageError: it is not one, or no round of it is done.
    """
    done = [file.parent for file in sorted(out.glob("rounds/*/round.parquet"))]
    if not done:
        raise UsageError(f"{out} has no round of self-play that is done: leeroo selfplay --out {out} plays some")
    rounds = [row for folder in done for row in pq.read_table(folder / "round.parquet").to_pylist()]
    files = {
        "outcomes": [str(folder / "outcomes.parquet") for folder in done],
        "held_out": str(out / "held-out" / "outcomes.parquet"),
        "queries": str(out / "held-out" / "queries.parquet"),
        "experts": str(done[-1] / "experts.parquet"),
    }
    with duckdb.connect() as con:
        experts = _rows_of(con, _EXPERTS, _some(files, "outcomes", "held_out", "experts"))
        topics = _rows_of(con, _TOPICS, _some(files, "queries", "held_out"))
        judged = con.execute(_JUDGED, _some(files, "outcomes")).fetchall()
    traffic = dict(rounds[-1]["traffic"])
    for row in rounds:
        row["traffic"] = dict(row["traffic"])
    for row in experts:
        row["traffic"] = traffic.get(row["expert"])
    return Played(rounds, experts, _by_topic(topics), dict(judged))


def _rows_of(con: duckdb.DuckDBPyConnection, query: str, files: dict[str, Any]) -> list[dict[str, Any]]:
    found = con.execute(query, files)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _some(files: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: files[name] for name in names}


def _by_topic(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    topics: dict[str, dict[str, Any]] = {}
    for row in rows:
        topic = topics.setdefault(row["topic"], {"topic": row["topic"], "questions": row["questions"], "accuracy": {}})
        topic["accuracy"][row["expert"]] = row["accuracy"]
    return list(topics.values())
