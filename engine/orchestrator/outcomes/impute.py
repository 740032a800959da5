"""Impute the outcomes of calls that were never made, so that experts can be compared.

Tables are [n questions, e experts], NaN where nothing is recorded. Without this an expert that got only easy
questions looks good. One that got questions of its own looks as if it could do what the others cannot. Knows nothing
of routers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leeroo.engine.arrays import Bools, Float64s, Floats
from leeroo.engine.orchestrator.outcomes.read import Outcomes, read_prices
from leeroo.engine.orchestrator.outcomes.recorded import recorded


def impute_scores(scores: Floats) -> Float64s:
    """Return the recorded scores, and elsewhere the chance of success by ability and difficulty alone.

    This is the model of Rasch (1960): the log odds are the expert's ability less the question's difficulty. Both have a
    standard normal prior, so an expert with few outcomes counts as an average one. If all recorded scores are 0, or
    all are 1, the others get the same.
    """
    known = np.isfinite(scores)
    table = np.where(known, scores, 0).astype(np.float64)
    if not known.all():
        table[~known] = _chances(table, known)
    return table


def impute_costs(costs: Floats) -> Float64s:
    """Return the recorded costs, and elsewhere the expert's mean, scaled by the cost of the question to others.

    An expert without any recorded cost has NaN throughout.
    """
    known = np.isfinite(costs)
    whole = np.where(known, costs, 0).astype(np.float64)
    with np.errstate(invalid="ignore"):
        means = whole.sum(axis=0) / known.sum(axis=0)
    usual = (known * np.nan_to_num(means)).sum(axis=1)  # mean cost, on any question, of the experts that got this one
    relative_cost = np.divide(whole.sum(axis=1), usual, out=np.ones(len(costs)), where=usual > 0)
    return np.where(known, whole, relative_cost[:, None] * means)


def costs_usd(outcomes: Outcomes, data: Sequence[Path], notes: list[str]) -> Float64s:
    """Return USD of every call, [n, e], the expected where none is recorded; all NaN if an expert's are unknown."""
    known_costs = recorded(outcomes, outcomes.experts, read_prices(data, outcomes.experts))
    costs = impute_costs(known_costs.costs)
    unpriced = [name for name, of_one in zip(outcomes.experts, costs.T, strict=True) if np.isnan(of_one).any()]
    if unpriced:
        notes.append(
            f"what calls of {', '.join(unpriced)} cost is not known: record tokens in outcomes.parquet and prices in "
            "experts.parquet"
        )
        return np.full_like(costs, np.nan)
    if known_costs.guessed.any():
        notes.append(
            f"{known_costs.guessed.sum():,} outcomes have no recorded tokens; the mean of the other experts on the "
            "question stands in"
        )
    return costs


def count_outcomes(outcomes: Outcomes, notes: list[str]) -> dict[str, int]:
    """Count the questions that each expert has outcomes on; a note says where that makes comparing hard."""
    from scipy.sparse.csgraph import connected_components

    known = np.isfinite(outcomes.scores)
    n = len(known)
    counts: dict[str, int] = dict(zip(outcomes.experts, known.sum(axis=0).tolist(), strict=True))
    sparse = [f"{name} ({count:,})" for name, count in counts.items() if count < n]
    if sparse:
        notes.append(
            f"not asked all {n:,} questions: {', '.join(sparse)}; what can be expected of them stands in for the rest"
        )
    groups, group = connected_components(known.T.astype(np.int64) @ known)
    if groups > 1:
        separate = "; ".join(", ".join(np.array(outcomes.experts)[group == i]) for i in range(groups))
        notes.append(f"these groups of experts share no question, so they are hard to compare: {separate}")
    return counts


def _chances(scores: Float64s, known: Bools) -> Float64s:
    """Return the chances of success in the cells that are not known, in their order."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    n, e = scores.shape

    def one_hot(cells: Bools) -> csr_matrix:
        questions, experts = np.nonzero(cells)
        columns = np.stack([questions, n + experts], axis=1).ravel()
        return csr_matrix((np.ones(len(columns)), columns, np.arange(0, len(columns) + 1, 2)), (len(questions), n + e))

    # A fractional score is a success and a failure that each count in part.
    of_known, design = scores[known], one_hot(known)
    weights = np.concatenate([of_known, 1 - of_known])
    rows, successes = np.flatnonzero(weights), np.repeat([1, 0], len(of_known))
    if len(set(successes[rows])) == 1:
        return np.full(int((~known).sum()), of_known[0])
    twice = np.concatenate([np.arange(len(of_known))] * 2)
    model = LogisticRegression(C=1.0, max_iter=1000).fit(design[twice[rows]], successes[rows], weights[rows])
    chances: Float64s = model.predict_proba(one_hot(~known))[:, 1]
    return chances
