"""Explore: which expert to ask about which question, so that the next choices are better; not all about all.

By committee (Seung, Opper & Sompolinsky, "Query by Committee", COLT 1992): several heads are drawn from what is known
of the experts, and each makes the choice for the whole batch under the same budget. Where two of them choose
differently, what is not known would change the choice, and both experts are asked about that question: outcomes on
the same question tell two experts apart better than those on two.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from leeroo.engine.orchestrator.choose import choose
from leeroo.engine.orchestrator.coregional import Coregional
from leeroo.engine.orchestrator.heads import Float32s
from leeroo.engine.orchestrator.market import Float64s

# Heads drawn, and budgets as parts of what the dearest expert would cost: the choice should be good under any.
_DRAWS = 16
_SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)

Pairs = list[tuple[int, int]]


def explore(
    known: Coregional,
    features: Float32s,
    costs: Float64s,
    asks: int,
    rng: np.random.Generator,
    *,
    max_cost_usd: float | None = None,
    allowed: npt.NDArray[np.bool_] | None = None,
) -> Pairs:
    """Pairs of question and expert to ask, the first first.

    Where the committee agrees on too many of the questions, the rest is asked at random.

    Args:
        known: What the outcomes so far tell of e experts.
        features: [n, k], of new questions.
        costs: [n, e], USD that an answer is expected to cost.
        asks: So many pairs at most.
        rng: Of everything random.
        max_cost_usd: Their expected cost is at most that.
        allowed: [n, e], pairs that may be asked; all without.
    """
    n, e = costs.shape
    open_ = np.ones((n, e), bool) if allowed is None else allowed.copy()
    left = np.inf if max_cost_usd is None else max_cost_usd
    pairs: Pairs = []

    def ask(question: int, expert: int) -> None:
        nonlocal left
        if len(pairs) < asks and open_[question, expert] and costs[question, expert] <= left:
            open_[question, expert] = False
            left -= float(costs[question, expert])
            pairs.append((question, expert))

    chosen = _committee(known, features, costs, rng)
    for question in rng.permutation(n).tolist():
        told = chosen[rng.integers(len(_SHARES)), rng.permutation(_DRAWS), question]
        first, *others = dict.fromkeys(told[told >= 0].tolist()) or [-1]
        if others:
            ask(question, first)
            ask(question, others[0])
    for at in rng.permutation(n * e).tolist():
        if len(pairs) == asks:
            break
        ask(at // e, at % e)
    return pairs


def _committee(
    known: Coregional, features: Float32s, costs: Float64s, rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """The choices of each draw under each budget, [budgets, draws, n]."""
    weights, biases = known.draws(_DRAWS, rng)
    scores = [features @ weight + bias for weight, bias in zip(weights, biases, strict=True)]
    dearest = float(costs.sum(axis=0).max())
    return np.array(
        [[choose(drawn, costs, budget_usd=share * dearest).expert for drawn in scores] for share in _SHARES], np.int32
    )
