"""MMLU: the whole benchmark as one batch, its scores, and the scores of other choices from the same pool."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import duckdb
import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.arrays import Float64s, Int32s
from leeroo.engine.backends.select import capabilities
from leeroo.engine.jobs.mmlu.data import with_requests
from leeroo.engine.listeners import LineListener
from leeroo.engine.orchestrator.analysis.frontier import (
    SHARES,
    Budgeted,
    Interval,
    Point,
    budgets_usd_per_1k,
    chosen_by,
    measure_choice,
    measure_frontier,
    random_mix,
)
from leeroo.engine.orchestrator.statistics import Z_95, wilson_interval

Mode = Literal["choose", "generate"]


# The letter of an answer: after the words that models were trained to write, else the letter that it begins with, else
# the last of those that name a choice and stand alone.
_SCORED = r"""
SELECT * EXCLUDE (ask{recorded_score}), coalesce(
         nullif(upper(regexp_extract(answer, '(?i)answer is:?\s*\(?([A-Z])\b', 1)), ''),
         nullif(regexp_extract(answer, '^\W*([A-Z])(?:[.):,]|\s*$)', 1), ''),
         list_filter(regexp_extract_all(answer, '\b([A-Z])\b', 1),
                     lambda each: ord(each) - ord('A') < len(choices))[-1]) AS letter,
       {score} AS score
FROM answered
"""


@dataclass(frozen=True)
class ScoredPart:
    """A part of the questions, and the share of right answers with its 95 % interval."""

    n: int
    accuracy: Interval


@dataclass(frozen=True)
class Spent:
    """The answers of one expert: their number, accuracy, cost and tokens."""

    n: int
    accuracy: Interval
    list_cost_usd: float
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Strategy:
    """One way of answering everything: its cost, and its accuracy as a whole and by category."""

    name: str
    cost_usd_per_1k: float
    accuracy: Interval
    categories: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """Other ways of answering, computed from the answers of all experts of the pool.

    Attributes:
        experts: Each expert when it answers everything, the best first.
        budgets: The orchestrator's choice at parts of the best expert's cost; empty without a router.
        oracle: The best answer of each question.
        frontier: The orchestrator's choices under many budgets; empty without a router.
        mix: The best random mix of experts, at the same budgets.
        cost_usd: Paid for the comparison.
    """

    experts: list[Strategy]
    budgets: list[Strategy]
    oracle: Strategy
    frontier: list[Budgeted]
    mix: list[Budgeted]
    cost_usd: float


@dataclass(frozen=True)
class Results:
    """The scored answers, and their figures.

    Attributes:
        answers: A row for each question, with its letter and its score.
        accuracy: Over all questions (micro).
        macro: Mean over the subjects.
        categories, subjects: By name.
        experts: By name, the one whose answers were kept for the most questions first.
        failed: Questions that got no answer; they count as wrong.
        comparison: None where only the chosen expert answered.
    """

    answers: pa.Table
    accuracy: Interval
    macro: Interval
    categories: dict[str, ScoredPart]
    subjects: dict[str, ScoredPart]
    experts: dict[str, Spent]
    cost_usd: float
    list_cost_usd: float
    failed: int
    comparison: Comparison | None

    def as_json(self) -> dict[str, Any]:
        """Return the object that `leeroo mmlu --json` prints: everything but the answers."""
        named = {name: {key: asdict(part) for key, part in getattr(self, name).items()} for name in _BY_NAME}
        return {
            "n": len(self.answers),
            "accuracy": asdict(self.accuracy),
            "macro": asdict(self.macro),
            **named,
            "asked_first": [],  # filled by older versions; kept for scripts that read it
            "cost_usd": self.cost_usd,
            "list_cost_usd": self.list_cost_usd,
            "failed": self.failed,
            "comparison": asdict(self.comparison) if self.comparison else None,
        }


_BY_NAME = ("categories", "subjects", "experts")


def run_mmlu(
    engine: Engine,
    questions: pa.Table,
    criteria: Criteria,
    mode: Mode = "choose",
    *,
    chat: bool = False,
    compare: bool | None = None,
    on_progress: LineListener | None = None,
) -> Results:
    """Answer MMLU's questions as one batch and score the answers.

    Call it within `engine.delivery`, until the results are where they should be: a call that is killed before resumes.

    Args:
        engine: With the pool and the router.
        questions: From `data.read_questions`.
        criteria: Budget, weights or expert; column names are set here.
        mode: 'choose' reads the probabilities of the letters after the prompt, as the benchmark is usually run;
            'generate' lets the expert write and takes the letter from its answer.
        chat: Show the prompt as a turn in a chat, in place of text to be continued. APIs always get a chat.
        compare: Have every expert answer everything, too, and compute the outcome of other choices. By default it
            is done where all answers are recorded ones, which cost nothing.
        on_progress: Receives lines about the progress.

    Raises:
        InputError, PoolError, OutputError, UsageError: as `Engine.answer`.

    """
    on_line = on_progress or (lambda _: None)
    table = with_requests(questions, raw=not chat, choose=mode == "choose")
    criteria = replace(criteria, column="question", ask_column="ask", private_column=None, prefix="")
    answers = _score_answers(engine.answer_table(table.to_reader(), criteria))
    if compare is None:
        compare = criteria.expert is None and all(capabilities(e).recorded for e in engine.pool.experts)
    comparison = _compare(engine, table, criteria, on_line) if compare else None
    scores = answers.column("score").to_numpy()
    subjects = _parts(scores, answers.column("subject"))
    return Results(
        answers=answers,
        accuracy=interval(scores),
        macro=_mean([part.accuracy for part in subjects.values()], [part.n for part in subjects.values()]),
        categories=_parts(scores, answers.column("category")),
        subjects=subjects,
        experts=_sum_by_expert(answers),
        cost_usd=_sum(answers, "cost_usd"),
        list_cost_usd=_sum(answers, "list_cost_usd"),
        failed=answers.column("error").length() - answers.column("error").null_count,
        comparison=comparison,
    )


def _score_answers(answered: pa.Table) -> pa.Table:
    """Return answers without `ask`, with `letter` and `score`."""
    replayed = "recorded_score" in answered.column_names
    con = duckdb.connect()
    con.register("answered", answered)
    own = "coalesce(letter = gold, false)::DOUBLE"
    query = _SCORED.format(
        recorded_score=", recorded_score" if replayed else "",
        score=f"coalesce(recorded_score, {own})" if replayed else own,
    )
    return con.sql(query).to_arrow_table()


def _compare(engine: Engine, table: pa.Table, criteria: Criteria, on_line: LineListener) -> Comparison:
    """Compute the outcome of other ways of choosing; failed answers cost nothing and are wrong."""
    names = engine.pool.names
    scores, costs = np.zeros((2, len(table), len(names)))
    paid = 0.0
    for i, name in enumerate(names):
        on_line(f"comparing: {name} answers everything")
        alone = replace(criteria, expert=name, max_cost_usd=None, cost_weight=0.0, latency_weight=0.0)
        answers = _score_answers(engine.answer_table(table.to_reader(), alone))
        scores[:, i], costs[:, i] = answers.column("score"), answers.column("list_cost_usd")
        paid += _sum(answers, "cost_usd")
    categories = np.array(table.column("category").to_pylist(), object)

    def row(name: str, chosen: Int32s) -> Strategy:
        got = np.where(chosen >= 0, np.take_along_axis(scores, np.maximum(chosen, 0)[:, None], 1)[:, 0], 0.0)
        each = {str(c): float(got[categories == c].mean()) for c in dict.fromkeys(categories.tolist())}
        return Strategy(name, measure_choice(chosen, scores, costs).cost_usd_per_1k, interval(got), each)

    def everywhere(i: int) -> Int32s:
        return np.full(len(table), i, np.int32)

    experts = sorted(
        (row(name, everywhere(i)) for i, name in enumerate(names)),
        key=lambda each: (-each.accuracy.value, each.cost_usd_per_1k),
    )
    best = row("oracle", chosen_by(scores, costs))
    expected = engine.expect(table.to_reader(), replace(criteria, expert=None))
    points = [Point(each.cost_usd_per_1k, each.accuracy.value) for each in experts]
    budgets = budgets_usd_per_1k(costs)
    if not expected.known:
        return Comparison(experts, [], best, [], random_mix(points, budgets), paid)
    ours = []
    for share in SHARES:
        budget = share * experts[0].cost_usd_per_1k * len(table) / 1000
        chosen = chosen_by(expected.scores, expected.costs, budget)
        ours.append(row(f"orchestrator, {Fraction(share).limit_denominator(100)}", chosen))
    frontier = measure_frontier(expected.scores, expected.costs, scores, costs, budgets)
    return Comparison(experts, ours, best, frontier, random_mix(points, budgets), paid)


def _parts(scores: Float64s, names: pa.ChunkedArray) -> dict[str, ScoredPart]:
    """Score parts by name, in the order in which they come."""
    of = np.array(names.to_pylist(), object)
    return {
        str(name): ScoredPart(int((of == name).sum()), interval(scores[of == name]))
        for name in dict.fromkeys(of.tolist())
    }


def _sum_by_expert(answers: pa.Table) -> dict[str, Spent]:
    """Sum up the answers of each expert, by name."""
    of = np.array(answers.column("expert").to_pylist(), object)
    scores = answers.column("score").to_numpy()
    found = {}
    for name in {str(name) for name in of.tolist() if name is not None}:
        own = answers.filter(pa.array(of == name))
        tokens = [int(_sum(own, column)) for column in ("prompt_tokens", "completion_tokens")]
        found[name] = Spent(len(own), interval(scores[of == name]), _sum(own, "list_cost_usd"), *tokens)
    return dict(sorted(found.items(), key=lambda item: (-item[1].n, item[0])))


def _sum(table: pa.Table, column: str) -> float:
    return float(np.nan_to_num(table.column(column).cast(pa.float64()).to_numpy()).sum())


def interval(scores: Float64s) -> Interval:
    """Return the mean of scores in [0, 1] with Wilson's interval (1927), which holds for small n."""
    n, mean = len(scores), float(scores.mean())
    return Interval(mean, *wilson_interval(mean, n))


def _mean(parts: Sequence[Interval], counts: Sequence[int]) -> Interval:
    """Return the mean of accuracies, each over `counts` questions, with its normal interval."""
    mean = sum(part.value for part in parts) / len(parts)
    variance = sum(part.value * (1 - part.value) / n for part, n in zip(parts, counts, strict=True)) / len(parts) ** 2
    half = Z_95 * math.sqrt(variance)
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half))
