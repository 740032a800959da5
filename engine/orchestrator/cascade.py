"""Cascade: ask some experts first, and let what they agree on decide who else is asked.

Two answers that agree are likelier to be right, and where cheap experts contradict each other a dear one is worth its
money (Yue et al. 2024, "Large Language Model Cascades with Mixture of Thoughts Representations", ICLR). Whether that
pays depends on the pool and on the budget: asking first costs money that is then missing. So it is tried on recorded
outcomes, under the same budget, and done only where it does surely better there than choosing once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np

from leeroo.engine.arrays import Float64s, Floats, Int32s, Int64s
from leeroo.engine.orchestrator.choose import choose

# So many experts may be asked first, out of so many of the best of those that cost less than this part of the budget.
_MOST_FIRST, _CANDIDATES, _CHEAP = 2, 4, 0.8
# The gain over choosing once must be so many times its standard error: it is the best of many that are tried.
_SURE = 3.0
# Weakness of the pull of the weights towards nothing (scikit-learn's C).
_FREEDOM = 1.0
# Rows are parted so that what is measured was not learned from.
_FOLDS = 5


@dataclass(frozen=True)
class Table:
    """What is expected and what was recorded of e experts on n questions.

    Attributes:
        scores_pred, costs_pred: [n, e], expected score and USD; not learned from the question itself.
        answers: [n, e], the answer that each gave as a number, -1 where it gave none.
        scores, costs: [n, e], recorded.
    """

    scores_pred: Floats
    costs_pred: Floats
    answers: Int64s
    scores: Floats
    costs: Floats

    def at(self, rows: Int64s) -> Table:
        """Some of the questions."""
        return Table(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Precedents:
    """Questions as they were expected by a router that had not learned from them, and what became of them; [n, e].

    Attributes:
        log_odds: Of success, as expected.
        tokens: Of the completions, as expected.
        answers, scores: As in `Table`; scores are NaN where nothing is recorded.
        prompt_tokens, completion_tokens: Recorded.
    """

    log_odds: Floats
    tokens: Floats
    answers: Int64s
    scores: Floats
    prompt_tokens: Floats
    completion_tokens: Floats

    def arrays(self) -> dict[str, np.ndarray]:
        """All the numbers, by the names of `NAMES`, as small as they may be."""
        kinds = {"log_odds": np.float16, "scores": np.float16, "answers": np.int32}
        return {
            f"precedents_{field.name}": getattr(self, field.name).astype(kinds.get(field.name, np.float32))
            for field in fields(self)
        }

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Precedents | None:
        """Out of `arrays`, if they are there."""
        if not arrays.keys() >= NAMES:
            return None
        return cls(*(arrays[f"precedents_{field.name}"] for field in fields(cls)))

    def table(self, experts: Sequence[int], prices: Floats) -> Table:
        """Of the experts in these columns, at prices [2, e] in USD per million tokens in and out; no row lacks one."""
        columns = list(experts)
        there = np.flatnonzero(np.isfinite(self.scores[:, columns]).all(axis=1))
        rows = there[:, None], columns
        log_odds = self.log_odds[rows].astype(np.float64)
        read = self.prompt_tokens[rows] * prices[0]
        return Table(
            scores_pred=1 / (1 + np.exp(-log_odds)),
            costs_pred=(read + self.tokens[rows] * prices[1]) / 1e6,
            answers=self.answers[rows].astype(np.int64),
            scores=self.scores[rows].astype(np.float64),
            costs=(read + self.completion_tokens[rows] * prices[1]) / 1e6,
        )


NAMES = frozenset(f"precedents_{field.name}" for field in fields(Precedents))


@dataclass(frozen=True)
class Cascade:
    """Experts that are asked first, and what their agreement says of everybody's answers.

    Attributes:
        first: Columns of the experts that answer everything.
        weight: [e, 1 + f], of the expected log-odds and of what is seen of the first answers.
        bias: [e].
    """

    first: tuple[int, ...]
    weight: Float64s
    bias: Float64s

    def scores(self, scores_pred: Floats, answers: Int64s) -> Float64s:
        """What to expect of everybody's answers now, [n, e]; of `answers` only those of `first` are looked at."""
        own = _log_odds(scores_pred)  # [n, e]
        seen = _seen(own, answers, self.first)  # [n, f]
        log_odds = own * self.weight[:, 0] + seen @ self.weight[:, 1:].T + self.bias
        return np.asarray(1 / (1 + np.exp(-log_odds)), np.float64)


def learn_cascade(table: Table, first: Sequence[int]) -> Cascade:
    """Learn what the agreement of `first` says, a logistic regression for each expert.

    Where an expert was always or never right there is nothing to learn, and what is expected of it stays.
    """
    from sklearn.linear_model import LogisticRegression

    own = _log_odds(table.scores_pred)
    seen = _seen(own, table.answers, tuple(first))
    e = own.shape[1]
    weight, bias = np.zeros((e, 1 + seen.shape[1])), np.zeros(e)
    weight[:, 0] = 1
    for j in range(e):
        right = table.scores[:, j] > 0.5
        if right.any() and not right.all():
            features = np.column_stack([own[:, j], seen])
            fitted: Any = LogisticRegression(C=_FREEDOM, max_iter=1000).fit(features, right)
            weight[j], bias[j] = fitted.coef_[0], fitted.intercept_[0]
    return Cascade(tuple(first), weight, bias)


def choose_in_rounds(cascade: Cascade, table: Table, budget_usd: float) -> tuple[Int32s, Float64s] | None:
    """Whose answers are kept [n] and what each row cost in all [n], under a budget; None where it does not reach.

    All first experts are asked about everything; then it is chosen for all rows at once whether to keep one of their
    answers, which is paid for, or to ask another expert. Of the recorded values only the answers and the costs of
    experts that were asked are looked at.
    """
    n, first = len(table.answers), list(cascade.first)
    paid = table.costs[:, first].sum(axis=1, dtype=np.float64)
    left = budget_usd - paid.sum()
    if left < 0:
        return None
    chosen = keep_or_ask(cascade, table.scores_pred, table.costs_pred, table.answers, left)
    more = np.where(np.isin(chosen, first), 0.0, table.costs[np.arange(n), chosen])
    return chosen, paid + more


def keep_or_ask(
    cascade: Cascade, scores_pred: Floats, costs_pred: Floats, answers: Int64s, left_usd: float | None
) -> Int32s:
    """When the first experts have answered: whose answers are kept, or who else is asked, with what is left; [n]."""
    costs = np.array(costs_pred, np.float64)
    costs[:, list(cascade.first)] = 0
    return choose(cascade.scores(scores_pred, answers), costs, budget_usd=left_usd).expert


def plan_rounds(table: Table, budget_usd: float) -> Cascade | None:
    """The experts to ask first under a budget for these questions; None where choosing once does as well.

    Sets of up to two of the cheap and good experts are tried: learned on four fifths of the questions, measured on the
    last. What is gained over choosing once must be beyond chance.

    Args:
        table: Of questions like those to come, and as many as `budget_usd` is for.
        budget_usd: For all of them.
    """
    n = len(table.answers)
    fold = np.random.default_rng(0).integers(_FOLDS, size=n)
    chosen = choose(table.scores_pred, table.costs_pred, budget_usd=budget_usd).expert
    once = np.where(chosen >= 0, table.scores[np.arange(n), np.maximum(chosen, 0)], 0)
    best, best_gain = None, 0.0
    for first in _sets(table, budget_usd):
        gains = _held_out(table, first, budget_usd, fold) - once
        if gains.mean() > max(best_gain, _SURE * gains.std() / np.sqrt(n)):
            best, best_gain = first, float(gains.mean())
    return None if best is None else learn_cascade(table, best)


def _sets(table: Table, budget_usd: float) -> list[tuple[int, ...]]:
    """Of experts that could be asked first."""
    costs = table.costs.sum(axis=0)
    good = np.argsort(-table.scores.mean(axis=0), kind="stable")
    cheap = [int(j) for j in good if costs[j] < _CHEAP * budget_usd][:_CANDIDATES]
    every = (first for size in range(1, _MOST_FIRST + 1) for first in combinations(cheap, size))
    return [first for first in every if costs[list(first)].sum() < budget_usd]


def _held_out(table: Table, first: tuple[int, ...], budget_usd: float, fold: Int64s) -> Float64s:
    """Scores [n] of choosing in rounds; 0 where the budget does not reach."""
    got = np.zeros(len(fold))
    for k in range(_FOLDS):
        rest, these = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        part = table.at(these)
        done = choose_in_rounds(learn_cascade(table.at(rest), first), part, budget_usd * len(these) / len(fold))
        if done is not None:
            got[these] = part.scores[np.arange(len(these)), done[0]]
    return got


def _log_odds(scores: Floats) -> Float64s:
    p = np.clip(np.asarray(scores, np.float64), 1e-4, 1 - 1e-4)
    return np.asarray(np.log(p / (1 - p)), np.float64)


def _seen(log_odds: Float64s, answers: Int64s, first: tuple[int, ...]) -> Float64s:
    """What is seen of the first answers, [n, f]: of each whether there is one; of each two whether they agree.

    Agreement also counts by how good the two are expected to be.
    """
    columns = [answers[:, i] < 0 for i in first]
    for i, j in combinations(first, 2):
        agree = (answers[:, i] == answers[:, j]) & (answers[:, i] >= 0)
        columns += [agree, agree * (log_odds[:, i] + log_odds[:, j]) / 2]
    return np.column_stack(columns).astype(np.float64)
