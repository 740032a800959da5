"""Prices: the cost of answers is tokens times prices, or what the backend knows better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from leeroo.engine.arrays import Float64s
from leeroo.engine.money import DECIMALS
from leeroo.engine.pool import Expert
from leeroo.engine.prices import Rates

# Bytes of UTF-8 text per token: about four in English, three in scripts with a token for every character.
BYTES_PER_TOKEN = 4.0


class Prices:
    """USD per million tokens of experts, by the length of the prompt.

    Attributes:
        usd_per_m: [e, t, 4] of input, output, cached input and cache writes, in t classes of length.

    """

    def __init__(self, rates: Sequence[tuple[Rates, ...]]) -> None:
        longest = max(map(len, rates))
        # An expert with fewer classes has its last one again, which no prompt is long enough for.
        self.usd_per_m = np.array([[*(r[1:] for r in each), *[each[-1][1:]] * (longest - len(each))] for each in rates])
        self._above = np.full((len(rates), longest), np.inf)
        for i, each in enumerate(rates):
            self._above[i, : len(each)] = [r.above for r in each]

    def of(self, experts: np.ndarray | int, prompt_tokens: np.ndarray) -> Float64s:
        """Return what these experts [n] charge for requests with prompts of these lengths [n], float64 [n, 4]."""
        if self._above.shape[1] == 1:
            return np.asarray(np.broadcast_to(self.usd_per_m[experts, 0], (len(prompt_tokens), 4)))
        at = (prompt_tokens[:, None] > self._above[experts]).sum(axis=1) - 1
        return np.asarray(self.usd_per_m[experts, at])


def prices(experts: Sequence[Expert]) -> Prices:
    """Return the prices of experts, now."""
    return Prices([expert.rates for expert in experts])


def highest_prices(experts: Sequence[Expert]) -> Prices:
    """Return the highest prices that experts may have in the coming day."""
    return Prices([expert.highest_rates for expert in experts])


def list_cost(completions: pa.RecordBatch, experts: np.ndarray, charged: Prices) -> np.ndarray:
    """Return the list cost in USD of each completion, failed ones too, float64 [n], rounded as costs in tables are.

    Args:
        completions: With the columns of `schema.COMPLETIONS`.
        experts: The position of the expert that answered, [n].
        charged: By the experts.

    """
    names = ("prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens")
    tokens = np.nan_to_num(np.stack([floats(completions, name) for name in names], axis=1))
    usd_per_m = charged.of(experts, tokens[:, 0])
    tokens[:, 2] = np.minimum(tokens[:, 2], tokens[:, 0])
    tokens[:, 0] -= tokens[:, 2]
    tokens[:, 3] = np.minimum(tokens[:, 3], tokens[:, 0])
    tokens[:, 0] -= tokens[:, 3]
    by_tokens = (tokens * usd_per_m).sum(axis=1) / 1e6
    known = floats(completions, "list_cost_usd")
    cost: np.ndarray = np.where(np.isnan(known), by_tokens, known).round(DECIMALS)
    return cost


def floats(batch: pa.RecordBatch | pa.Table, name: str) -> np.ndarray:
    """Return a column as float64 [n], NaN where it is NULL."""
    values: np.ndarray = batch.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values
