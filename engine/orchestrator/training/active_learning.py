"""Active learning: choose which expert gets which new question next, so that the router learns most.

It decides by the outcomes in data folders and the router trained on them. Knows nothing of how answers are scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leeroo.engine.arrays import Float64s
from leeroo.engine.orchestrator.outcomes.read import read_outcomes
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.training.explore import Pairs, explore
from leeroo.engine.orchestrator.training.gaussian_process import GaussianProcess, fit_gaussian_process

# The most outcomes that decide: time and memory grow with their number cubed and squared.
_KNOWN = 3000


def choose_requests(
    router: Router,
    data: Sequence[Path],
    experts: Sequence[str],
    usd_per_m: Float64s,
    questions: Sequence[str],
    requests: int,
    rng: np.random.Generator,
    max_cost_usd: float | None = None,
) -> Pairs:
    """Choose pairs of question and expert, see `explore`; an expert without outcomes may turn out to be good.

    Args:
        router: Trained on the data.
        data: Data folders, the oldest first; the newest 3,000 outcomes count.
        experts: Names of those who may be chosen.
        usd_per_m: [e, 2], their prices: USD per million input and output tokens.
        questions: New ones.
        requests: The most pairs to choose.
        rng: Random numbers.
        max_cost_usd: The most that all pairs together may be expected to cost.

    Raises:
        RouterError: the data is not as `read_outcomes` wants it, or the encoder cannot be loaded.
    """
    known = _known(router, data, experts, rng)
    costs = expected_usd(router, experts, usd_per_m, questions)
    return explore(known, _features(router, questions), costs, requests, rng, max_cost_usd=max_cost_usd)


def random_requests(n: int, e: int, requests: int, rng: np.random.Generator) -> Pairs:
    """Choose pairs of n questions and e experts by chance.

    Two experts get the same question, because outcomes on one question show their difference best.
    """
    at = [(int(question), int(expert)) for question in rng.permutation(n) for expert in rng.permutation(e)[:2]]
    return at[:requests]


def expected_usd(router: Router, experts: Sequence[str], usd_per_m: Float64s, questions: Sequence[str]) -> Float64s:
    """Return the expected cost of an answer, USD [n, e]; an expert unknown to the router writes as much as others."""
    prediction = router.predict(questions)
    usd = np.zeros((len(questions), len(experts)))
    for table, price in ((prediction.prompt_tokens, usd_per_m[:, 0]), (prediction.completion_tokens, usd_per_m[:, 1])):
        tokens = np.nan_to_num(table.astype(np.float64))
        mean = tokens.mean(axis=1)
        for j, name in enumerate(experts):
            usd[:, j] += price[j] / 1e6 * (tokens[:, router.experts.index(name)] if name in router.experts else mean)
    return usd


def _known(router: Router, data: Sequence[Path], experts: Sequence[str], rng: np.random.Generator) -> GaussianProcess:
    outcomes = read_outcomes(_newest(data))
    there = [name for name in experts if name in outcomes.experts]
    outcomes = outcomes.only(there)
    rows, columns = np.nonzero(np.isfinite(outcomes.scores))
    some = np.sort(rng.permutation(len(rows))[:_KNOWN])
    rows, columns = rows[some], columns[some]
    distinct = np.unique(rows)
    features = _features(router, [outcomes.prompts[row] for row in distinct])[np.searchsorted(distinct, rows)]
    at = np.array([experts.index(name) for name in there])
    return fit_gaussian_process(features, at[columns], rows, outcomes.scores[rows, columns], len(experts))


def _newest(data: Sequence[Path]) -> list[Path]:
    """Return the last of the folders, as many as are needed for `_KNOWN` outcomes."""
    import pyarrow.parquet as pq

    kept: list[Path] = []
    n = 0
    for folder in reversed(data):
        if n >= _KNOWN:
            break
        kept.insert(0, folder)
        n += pq.read_metadata(folder / "outcomes.parquet").num_rows
    return kept


def _features(router: Router, questions: Sequence[str]) -> np.ndarray:
    features: np.ndarray = router.features.likeness(router.see(questions).blocks) @ router.features.whitening()
    return features
