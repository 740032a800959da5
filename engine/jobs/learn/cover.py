"""Cover a table: an order of its questions in which every beginning is like the whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leeroo.engine.arrays import Floats, Int64s
from leeroo.engine.errors import PoolError
from leeroo.engine.listeners import LineListener
from leeroo.engine.orchestrator.encoders.encode import encode

# Questions drawn at random, of which those are sent first that cover them; and the number of kinds of questions.
_DRAWN, _KINDS = 2000, 32


def encode_questions(texts: Sequence[str], say: LineListener) -> Floats | None:
    """Return the vectors of questions [n, d]; None where no encoder is on this machine, which is said."""
    try:
        return encode(texts)
    except PoolError as error:
        say(f"the pilot is drawn at random, and nothing is learned of single questions: {error}")
        return None


def sample_order(n: int, vectors: Floats | None, first: Sequence[int], rng: np.random.Generator) -> Int64s:
    """Return n questions in the order in which a pilot sends them.

    Args:
        n: Their number.
        vectors: [n, d]; without them the order is random.
        first: Those with a known right answer, which come first.
        rng: Draws at random.

    """
    order = rng.permutation(n)
    known = np.isin(order, np.array(first, np.int64))
    drawn, later = order[~known][:_DRAWN], order[~known][_DRAWN:]
    covering = drawn if vectors is None else drawn[spread(vectors[drawn], rng)]
    return np.concatenate([order[known], covering, later])


def spread(vectors: Floats, rng: np.random.Generator) -> Int64s:
    """Return an order of vectors [n, d] whose every beginning has each kind of them in proportion.

    Kinds are clusters. In the order of their kinds, places are taken in the order of van der Corput's sequence, which
    spreads evenly from its beginning (Niederreiter, "Random Number Generation and Quasi-Monte Carlo Methods", 1992).
    """
    from sklearn.cluster import MiniBatchKMeans

    n = len(vectors)
    if n < 2 * _KINDS:
        return np.arange(n)
    kinds = MiniBatchKMeans(_KINDS, random_state=int(rng.integers(2**31)), n_init="auto").fit_predict(vectors)
    by_kind = np.lexsort((rng.random(n), kinds))
    start = rng.random()
    places = np.argsort(np.argsort((_van_der_corput(n) + start) % 1.0, kind="stable"), kind="stable")
    return np.asarray(by_kind[places], np.int64)


def _van_der_corput(n: int) -> Floats:
    value, part, left = np.zeros(n), 0.5, np.arange(n)
    while left.any():
        value += part * (left & 1)
        left, part = left >> 1, part / 2
    return value
