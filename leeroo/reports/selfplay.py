"""The report of a loop of self-play: its rounds, the learning curve, and who answers what, as tables and a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq

from leeroo.engine.errors import UsageError
from leeroo.engine.money import plain_usd
from leeroo.engine.orchestrator.analysis.frontier import Point, aiq
from leeroo.reports.findings import BASELINES, Table, percent
from leeroo.reports.page import page, paragraph, section, table
from leeroo.reports.plot import EXPERT, ORACLE, OTHERS, OURS, as_svg, in_percent, new_axes, styled


@dataclass(frozen=True)
class Played:
    """A loop as its folder tells it.

    Attributes:
        rounds: Rows of `ROUND`, in their order.
        experts: Of each expert of the last round: outcomes, mean score of these, accuracy and USD per 1,000 on the
            held-out questions, and share of the traffic of the last round.
        topics: Of each topic of the held-out questions: how many, and the accuracy of each expert.
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
        """The score of mixing experts at random, knowing how good and how dear they are, and nothing of a question."""
        told = [row for row in self.experts if row["accuracy"] is not None and row["cost_usd_per_1k"] is not None]
        points = [Point(row["cost_usd_per_1k"], row["accuracy"]) for row in told]
        return aiq(points, points)

    def standard_error(self, score: float) -> float:
        """As of an accuracy; between two routers on the same questions chance makes less of a difference."""
        return float(np.sqrt(score * (1 - score) / self.held_out))

    def as_json(self) -> dict[str, Any]:
        """What `leeroo selfplay report --json` prints."""
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


def headline(played: Played) -> str:
    """How far the router has come."""
    first, last, n = played.rounds[0], played.rounds[-1], len(played.rounds) - 1
    return (
        f"After {n} round{'' if n == 1 else 's'} and {last['outcomes_total']:,} outcomes the router's score on "
        f"{played.held_out:,} held-out questions is {last['score']:.3f} (standard error "
        f"{played.standard_error(last['score']):.3f}); at the start it was {first['score']:.3f}, and a "
        f"{BASELINES['random']} of the experts comes to {played.random_mix:.3f}. {last['best_expert']} alone is right "
        f"on {percent(last['best_accuracy'])} % of them, choosing with hindsight on "
        f"{percent(last['oracle_accuracy'])} %."
    )


def tables(played: Played) -> list[Table]:
    """Rounds, experts, topics, and how answers were judged."""
    return [_rounds(played), _experts(played), _topics(played), _judged(played)]


def _rounds(played: Played) -> Table:
    return Table(
        title="Rounds",
        about="On the held-out questions: the score is AIQ, the mean accuracy over the range of the experts' costs; "
        "then accuracy in % at parts of what the dearest expert costs, and the log loss of what is predicted. Money in "
        "USD, with what the held-out questions cost.",
        columns=(*("round", "outcomes", "in all", "USD in all", "score", "at 1/4", "at 1/2", "at 1", "log loss", "s"),),
        rows=[
            (
                str(row["round"]) if row["round"] else "start",
                f"{row['outcomes']:,}",
                f"{row['outcomes_total']:,}",
                plain_usd(row["cost_usd_total"]),
                f"{row['score']:.3f}",
                percent(row["accuracy_at_quarter"]),
                percent(row["accuracy_at_half"]),
                percent(row["accuracy_at_full"]),
                f"{row['log_loss']:.3f}",
                f"{row['seconds']:.0f}",
            )
            for row in played.rounds
        ],
    )


def _experts(played: Played) -> Table:
    return Table(
        title="Experts",
        about="Outcomes in all rounds with their mean score, which is of questions chosen to tell experts apart; "
        "accuracy and USD per 1,000 on the held-out questions; and the share of these that the router gives to each "
        "now, at half of what the dearest costs.",
        columns=("expert", "outcomes", "mean score", "accuracy %", "USD per 1,000", "traffic %"),
        rows=[
            (
                row["expert"],
                f"{row['outcomes']:,}",
                _or_dash(row["mean_score"], "{:.2f}"),
                _or_dash(row["accuracy"], "{:.1%}").rstrip("%"),
                "-" if row["cost_usd_per_1k"] is None else plain_usd(row["cost_usd_per_1k"]),
                _or_dash(row["traffic"], "{:.0%}").rstrip("%"),
            )
            for row in played.experts
        ],
    )


def _topics(played: Played) -> Table:
    names = [row["expert"] for row in played.experts]
    return Table(
        title="Topics of the held-out questions",
        about="Accuracy of each expert in %.",
        columns=("topic", "questions", *names),
        rows=[
            (
                topic["topic"],
                f"{topic['questions']:,}",
                *(_or_dash(topic["accuracy"].get(name), "{:.0%}").rstrip("%") for name in names),
            )
            for topic in played.topics
        ],
    )


def _judged(played: Played) -> Table:
    last = played.rounds[-1]
    about = "Outcomes of all rounds, by how their scores were found."
    if last["judge_n"]:
        about += (
            f" On {last['judge_n']:,} answers whose scores are computed the judge agrees on "
            f"{percent(last['judge_agreement'])} %; beyond chance (Cohen's kappa) that is {last['judge_kappa']:.2f}."
        )
    return Table(
        title="How answers were judged",
        about=about,
        columns=("by", "outcomes"),
        rows=[(how, f"{n:,}") for how, n in played.judged_by.items()],
    )


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def plot_played(played: Played) -> str:
    """The learning curve as one SVG element: outcomes against the score and the accuracy at half of the dearest's cost.

    Raises:
        UsageError: matplotlib is not installed.
    """
    last = played.rounds[-1]
    outcomes = [row["outcomes_total"] for row in played.rounds]
    with styled():
        figure, axes = new_axes(7.5, 4.5)
        scores = np.array([row["score"] for row in played.rounds])
        errors = np.array([played.standard_error(score) for score in scores])
        axes.plot(outcomes, scores, "o-", color=OURS, linewidth=2.2, label="score (AIQ), with its standard error")
        axes.fill_between(outcomes, scores - errors, scores + errors, color=OURS, alpha=0.12, linewidth=0)
        half = [row["accuracy_at_half"] for row in played.rounds]
        axes.plot(outcomes, half, "o--", color=OTHERS[2], linewidth=1.4, label="accuracy at half of the dearest's cost")
        axes.axhline(played.random_mix, color=OTHERS[0], linewidth=1, linestyle=":", label=BASELINES["random"])
        axes.axhline(
            last["best_accuracy"], color=EXPERT, linewidth=1, linestyle=":", label=f"{last['best_expert']} alone"
        )
        axes.axhline(last["oracle_accuracy"], color=ORACLE, linewidth=1, linestyle=":", label="with hindsight")
        axes.set(xlabel="outcomes that the router has learned from", ylabel="held-out questions", xlim=(0, None))
        in_percent(axes.yaxis)
        axes.grid(color="#eeeeee", zorder=0)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return as_svg(figure, "learning")


def report_page(played: Played, name: str) -> str:
    """The report as a page of HTML.

    Raises:
        UsageError: matplotlib is not installed.
    """
    notes = [f"round {row['round']}: {note}" for row in played.rounds for note in row["notes"]]
    return page(
        f"Self-play in {name}",
        [
            paragraph(headline(played)),
            section("Learning curve", f"<figure>{plot_played(played)}</figure>"),
            *map(table, tables(played)),
            section("Notes", "".join(map(paragraph, notes))) if notes else "",
        ],
    )
