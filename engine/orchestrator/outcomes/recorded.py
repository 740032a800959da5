"""Recorded scores and dollars of some experts, completed where tokens are missing.

Knows nothing of routers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from leeroo.engine.arrays import Bools, Float32s, Float64s, Int64s
from leeroo.engine.errors import RouterError
from leeroo.engine.orchestrator.heads import TOKENS_PER_BYTE
from leeroo.engine.orchestrator.outcomes.read import Outcomes, read_prices


@dataclass(frozen=True)
class Recorded:
    """Scores and costs of e experts on n questions.

    Attributes:
        prompts, subjects, categories: [n], as in `Outcomes`.
        scores: [n, e], in [0, 1]; NaN where an expert has no outcome.
        costs: [n, e], USD; NaN where unknown.
        guessed: [n, e], True where an outcome has no recorded tokens: the mean tokens of the other experts on the
            question replace them.
    """

    prompts: list[str]
    subjects: list[str | None]
    categories: list[str | None]
    scores: Float64s
    costs: Float64s
    guessed: Bools

    def at(self, rows: Int64s) -> Recorded:
        """Keep some of the questions."""
        kept: dict[str, Any] = {
            name: values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]
            for name, values in vars(self).items()
        }
        return Recorded(**kept)


def recorded(outcomes: Outcomes, experts: Sequence[str], prices: Float32s) -> Recorded:
    """Return scores and costs of the named experts, in that order; one without any outcome has NaN throughout.

    Args:
        outcomes: Outcomes of these and perhaps other experts, whose tokens count where some are missing.
        experts: Names.
        prices: [2, experts], as by `prices_of`.
    """
    whole = replace(
        outcomes,
        prompt_tokens=fill_tokens(outcomes.prompt_tokens),
        completion_tokens=fill_tokens(outcomes.completion_tokens),
    )
    as_recorded = _columns(outcomes, experts)
    known = np.isfinite(as_recorded.scores)
    costs = np.where(known, _columns(whole, experts).costs(prices), np.nan)
    return Recorded(
        prompts=outcomes.prompts,
        subjects=outcomes.subjects,
        categories=outcomes.categories,
        scores=as_recorded.scores.astype(np.float64),
        costs=costs.astype(np.float64),
        guessed=known & np.isnan(as_recorded.costs(prices)),
    )


def prices_of(data: Sequence[Path], experts: Sequence[str]) -> Float32s:
    """Read prices from data folders, USD per million tokens, [2, experts]; see `read_prices`.

    Raises:
        RouterError: an expert has none, or a file is wrong.
    """
    prices = read_prices(data, experts)
    unpriced = [name for name, price in zip(experts, prices.T, strict=True) if not np.isfinite(price).all()]
    if unpriced:
        raise RouterError(
            f"experts.parquet of {', '.join(map(str, data))} gives no price for {', '.join(unpriced)}: "
            "add one, or leave those experts out"
        )
    return prices


def with_tokens(outcomes: Outcomes, prices: Float32s) -> Outcomes:
    """Return the same with completion tokens that follow from costs, where only those are recorded.

    Args:
        outcomes: Outcomes of e experts.
        prices: [2, e], USD per million tokens; NaN where unknown.
    """
    measures = np.array([[len(prompt.encode("utf-8", "replace"))] for prompt in outcomes.prompts], np.float32)
    read = np.where(np.isfinite(outcomes.prompt_tokens), outcomes.prompt_tokens, measures * TOKENS_PER_BYTE)
    price = np.where(prices[1] > 0, prices[1], np.nan)  # the cost of free answers says nothing of their tokens
    tokens = np.maximum((outcomes.cost_usd * 1e6 - read * prices[0]) / price, 1)
    recorded_tokens = outcomes.completion_tokens
    whole = np.where(np.isfinite(recorded_tokens), recorded_tokens, tokens).astype(np.float32)
    return replace(outcomes, completion_tokens=whole)


def _columns(outcomes: Outcomes, experts: Sequence[str]) -> Outcomes:
    def of(table: Float32s) -> Float32s:
        nothing = np.full((len(table), 1), np.nan, np.float32)
        wide: Float32s = np.concatenate([table, nothing], axis=1)
        return wide[:, [outcomes.experts.index(e) if e in outcomes.experts else -1 for e in experts]]

    tables: dict[str, Any] = {
        name: of(values) for name, values in vars(outcomes).items() if isinstance(values, np.ndarray)
    }
    return replace(outcomes, experts=tuple(experts), **tables)


def fill_tokens(tokens: Float32s) -> Float32s:
    """Fill unknown tokens with the question's mean, or with the mean of all where no expert's are known."""
    known = np.isfinite(tokens)
    if not known.any():
        return tokens
    total, count = np.where(known, tokens, 0).sum(axis=1), known.sum(axis=1)
    means = np.where(count > 0, total / np.maximum(count, 1), tokens[known].mean())
    return np.where(known, tokens, means[:, None]).astype(np.float32)
