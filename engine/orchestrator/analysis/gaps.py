"""Gaps: find topics on which no expert is good, and topics on which only the most expensive one is.

They show what the next expert should learn. Knows nothing of how the results are shown.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.errors import UsageError
from leeroo.engine.listeners import LineListener
from leeroo.engine.orchestrator.analysis.clusters import clusters_of, most_frequent, typical_terms
from leeroo.engine.orchestrator.analysis.frontier import Interval
from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER, encode
from leeroo.engine.orchestrator.outcomes.impute import costs_usd
from leeroo.engine.orchestrator.outcomes.read import Outcomes, read_outcomes
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.statistics import wilson_interval

GapKind = Literal["nobody", "only the most expensive"]

# The least questions of a cluster, and the least outcomes by which an expert is judged in it.
_FEW = 20
# By default: the questions of a cluster, and the most clusters.
_USUAL, _MOST = 60, 40
# A lead is clear when it is, with 97.5 % confidence, at least this much.
_CLEAR_LEAD = 0.05
_Z = 1.96
# An answer counts as right from this score on.
_RIGHT = 0.5
_EXAMPLES, _EXAMPLE_LENGTH = 3, 200
_NAME_TERMS = 3


@dataclass(frozen=True)
class Standing:
    """An expert's results on a topic: mean score on n questions, with its 95 % Wilson interval."""

    expert: str
    n: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Topic:
    """Questions that are near each other, and the experts' results on them.

    Attributes:
        name: Its most typical terms, and its most frequent subject.
        n: Questions.
        kind: 'nobody': no expert is good, because even the upper ends of their intervals are below `good`.
            'only the most expensive': that expert is good, no other surely is, and it leads them clearly. None:
            neither.
        to_gain: Questions that a perfect expert would answer right and the best one does not.
        best: The expert of the best accuracy.
        best_other: The best of all but the most expensive expert; None when there is no other.
        most_expensive: The most expensive expert; None where costs are not known.
        lead: Its lead over `best_other` on questions that both have outcomes on, with its 95 % interval.
        mean_accuracy: Over the experts.
        oracle_accuracy: Mean of the best score of each question.
        nobody_right: Share of the questions on which the best score is below one half.
        routed_accuracy: Accuracy of the router's choices, where they have outcomes; None without a router.
        terms, subjects: Most typical and most frequent first.
        examples: Questions near its centre that the best expert did not get right.
    """

    name: str
    n: int
    kind: GapKind | None
    to_gain: float
    best: Standing
    best_other: Standing | None
    most_expensive: Standing | None
    lead: Interval | None
    mean_accuracy: float
    oracle_accuracy: float
    nobody_right: float
    routed_accuracy: float | None
    terms: list[str]
    subjects: dict[str, int]
    examples: list[str]


@dataclass(frozen=True)
class Gaps:
    """Topics of n questions; those with the most to gain first.

    Attributes:
        good: The accuracy from which on an expert is good.
        most_expensive: The most expensive expert; None where costs are not known.
        topics: All of them; the gaps are those that have a kind.
        notes: Caveats about these numbers, a line each.
    """

    n: int
    good: float
    most_expensive: str | None
    topics: list[Topic]
    notes: list[str]

    def of(self, kind: GapKind) -> list[Topic]:
        """Return the gaps of one kind."""
        return [topic for topic in self.topics if topic.kind == kind]

    def as_json(self) -> dict[str, Any]:
        """Return the object that `leeroo gaps --json` prints.

        {"n", "good", "most_expensive", "topics": [{"name", "n", "kind", "to_gain", "best": {"expert", "n", "accuracy",
        "low", "high"}, "best_other": the same, "most_expensive": the same, "lead": {"value", "low", "high"},
        "mean_accuracy", "oracle_accuracy", "nobody_right", "routed_accuracy", "terms": [..], "subjects": {subject:
        questions}, "examples": [..]}], "notes": [line]}. "kind" is "nobody", "only the most expensive" or null; unknown
        values are null.
        """
        return asdict(self)


def find_gaps(
    data: Sequence[Path],
    router: Router | None = None,
    split: str = "train",
    good: float = 0.5,
    clusters: int | None = None,
    on_progress: LineListener | None = None,
) -> Gaps:
    """Group the questions of data folders by topic, and find the topics that the experts lack.

    Topics depend on the questions alone (MiniLM's vectors, k-means), not on the outcomes. So outcomes judge them
    fairly, and a topic is called a gap only where an interval of 95 % says so. An expert is judged on a topic when it
    has at least 20 outcomes there.

    Args:
        data: Data folders, taken together.
        router: Its predictions replace outcomes that are not recorded; the accuracy of its choices is reported too.
        split: 'train', 'test', or 'all'.
        good: The accuracy from which on an expert is good.
        clusters: The number of topics; default: one for each 60 questions, but at most 40. Small ones are joined to
            others.
        on_progress: Called with progress, in lines for people.

    Raises:
        RouterError: the data is not as `read_outcomes` wants it, or the encoder cannot be loaded.
        UsageError: good is not in (0, 1]; there are not questions enough for that number of clusters; or router and
            data have no expert in common.
        PoolError: the encoder is nowhere to be found.
    """
    say = on_progress or (lambda _: None)
    if not 0 < good <= 1:
        raise UsageError(f"good must be an accuracy above 0 and up to 1, but it is {good:g}")
    say(f"reading {', '.join(map(str, data))}")
    outcomes, notes = read_outcomes(data, split), list[str]()
    few = min(_FEW, len(outcomes.prompts))
    count = _cluster_count(clusters, len(outcomes.prompts), few)
    most_expensive = _most_expensive(outcomes, data, notes)
    scores = outcomes.scores.astype(np.float64)
    routed = None
    if router:
        say(f"predicting {len(outcomes.prompts):,} questions")
        scores, routed = _predicted(router, outcomes, scores, notes)
        if split != "test":
            notes.append("the router may have learned from these very questions, so its accuracy flatters it")
    say(f"encoding {len(outcomes.prompts):,} questions")
    cluster, nearness = clusters_of(encode(outcomes.prompts, DEFAULT_ENCODER), count, few)
    topics = []
    for number, terms in enumerate(typical_terms(outcomes.prompts, cluster)):
        rows = np.flatnonzero(cluster == number)
        rows = rows[np.argsort(-nearness[rows], kind="stable")]
        topics.append(_topic(_TopicRows(outcomes, scores, routed, rows, few), terms, most_expensive, good))
    judged = sorted(filter(None, topics), key=lambda topic: (-topic.to_gain, topic.name))
    if len(judged) < len(topics):
        notes.append(f"left out: {len(topics) - len(judged)} topics on which no expert has {few} outcomes")
    return Gaps(len(scores), good, None if most_expensive is None else outcomes.experts[most_expensive], judged, notes)


@dataclass(frozen=True)
class _TopicRows:
    """The questions `rows` of a topic, the most central first; scores [n, e] and routed scores [n] are of all."""

    outcomes: Outcomes
    scores: Float64s
    routed: Float64s | None
    rows: Int64s
    few: int

    @cached_property
    def standings(self) -> dict[int, Standing]:
        """The experts with enough outcomes, by column."""
        scores = self.scores[self.rows]
        counts = np.isfinite(scores).sum(axis=0)
        judged = {}
        for j in np.flatnonzero(counts >= self.few).tolist():
            accuracy = float(np.nanmean(scores[:, j]))
            judged[j] = Standing(
                self.outcomes.experts[j], int(counts[j]), accuracy, *wilson_interval(accuracy, int(counts[j]), _Z)
            )
        return judged

    def best(self, but: int | None = None) -> int | None:
        """Return the column of the best accuracy of all but one."""
        judged = {j: standing for j, standing in self.standings.items() if j != but}
        return max(judged, key=lambda j: judged[j].accuracy, default=None)

    def lead(self, one: int, other: int) -> Interval | None:
        """Return one expert's lead over another where both have outcomes, by the normal approximation."""
        gains = self.scores[self.rows, one] - self.scores[self.rows, other]
        gains = gains[np.isfinite(gains)]
        if len(gains) < self.few:
            return None
        mean, half = float(gains.mean()), _Z * float(gains.std(ddof=1)) / len(gains) ** 0.5
        return Interval(mean, mean - half, mean + half)

    def examples(self, expert: int) -> list[str]:
        """Return questions that the expert did not get right."""
        missed = self.rows[self.scores[self.rows, expert] < _RIGHT][:_EXAMPLES]
        return [textwrap.shorten(self.outcomes.questions[row], _EXAMPLE_LENGTH, placeholder=" ...") for row in missed]


def _topic(topic_rows: _TopicRows, terms: list[str], most_expensive: int | None, good: float) -> Topic | None:
    """Describe a topic; None where no expert has enough outcomes."""
    best = topic_rows.best()
    if best is None:
        return None
    judged, rows = topic_rows.standings, topic_rows.rows
    other = topic_rows.best(but=most_expensive) if most_expensive in judged else None
    lead = None if most_expensive is None or other is None else topic_rows.lead(most_expensive, other)
    kind: GapKind | None = None
    if max(standing.high for standing in judged.values()) < good:
        kind = "nobody"
    elif most_expensive is not None and lead and lead.low >= _CLEAR_LEAD:
        others_low = max(standing.low for j, standing in judged.items() if j != most_expensive)
        kind = "only the most expensive" if judged[most_expensive].accuracy >= good > others_low else None
    highest = np.nanmax(topic_rows.scores[rows], axis=1)
    outcomes = topic_rows.outcomes
    subjects = most_frequent([outcomes.subjects[row] or outcomes.categories[row] for row in rows])
    return Topic(
        name=_name(terms, subjects),
        n=len(rows),
        kind=kind,
        to_gain=len(rows) * (1 - judged[best].accuracy),
        best=judged[best],
        best_other=None if other is None else judged[other],
        most_expensive=None if most_expensive is None else judged.get(most_expensive),
        lead=lead,
        mean_accuracy=float(np.mean([standing.accuracy for standing in judged.values()])),
        oracle_accuracy=float(highest.mean()),
        nobody_right=float((highest < _RIGHT).mean()),
        routed_accuracy=None if topic_rows.routed is None else _mean(topic_rows.routed[rows]),
        terms=terms,
        subjects=subjects,
        examples=topic_rows.examples(best),
    )


def _name(terms: list[str], subjects: dict[str, int]) -> str:
    """Name a topic, for example 'tort, negligence, duty (professional law)'."""
    subject = next(iter(subjects), "").replace("_", " ")
    words = ", ".join(terms[:_NAME_TERMS])
    return f"{words} ({subject})" if words and subject else words or subject or "no words"


def _mean(values: Float64s) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _cluster_count(clusters: int | None, n: int, few: int) -> int:
    """Return how many clusters to make of n questions."""
    if clusters is None:
        return min(max(n // _USUAL, 1), _MOST)
    if not 1 <= clusters <= n // few:
        raise UsageError(
            f"clusters is {clusters}, but must be from 1 to {n // few}, as there are {n:,} questions and a cluster has "
            f"at least {few}"
        )
    return clusters


def _most_expensive(outcomes: Outcomes, data: Sequence[Path], notes: list[str]) -> int | None:
    """Return the column of the expert whose calls cost most; None where that is not known."""
    costs = costs_usd(outcomes, data, notes).mean(axis=0)
    if np.isnan(costs).any():
        notes.append("so topics on which only the most expensive expert is good are not known")
        return None
    return int(costs.argmax())


def _predicted(router: Router, outcomes: Outcomes, scores: Float64s, notes: list[str]) -> tuple[Float64s, Float64s]:
    """Return scores [n, e] with predictions where nothing is recorded, and recorded scores [n] of the choices."""
    columns = [j for j, name in enumerate(outcomes.experts) if name in router.experts]
    if not columns:
        raise UsageError(
            f"router and data have no expert in common: the router knows {', '.join(router.experts)}, "
            f"the data has {', '.join(outcomes.experts)}"
        )
    prediction = router.predict(outcomes.prompts, outcomes.contexts).scores
    expected = np.full_like(scores, np.nan)
    expected[:, columns] = prediction[:, [router.experts.index(outcomes.experts[j]) for j in columns]]
    chosen = np.nanargmax(expected, axis=1)
    stands_in = np.isnan(scores) & np.isfinite(expected)
    if stands_in.any():
        notes.append(f"{stands_in.sum():,} outcomes are not recorded; what the router expects stands in for them")
    return np.where(stands_in, expected, scores), scores[np.arange(len(scores)), chosen]
