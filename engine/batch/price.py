"""Prices: the cost of answers is tokens times list prices, or what the backend knows better."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from leeroo.engine.money import DECIMALS
from leeroo.engine.pool import Expert

# Bytes of UTF-8 text per token: about four in English, three in scripts with a token for every character.
BYTES_PER_TOKEN = 4.0


def list_cost(completions: pa.RecordBatch, usd_per_m: np.ndarray) -> np.ndarray:
    """Return the list cost in USD of each completion, failed ones too, float64 [n], rounded as costs in tables are.

    Args:
        completions: With the columns of `schema.COMPLETIONS`.
        usd_per_m: [n, 3] `prices` of the expert that answered.

    """
    names = ("prompt_tokens", "completion_tokens", "cached_tokens")
    tokens = np.nan_to_num(np.stack([floats(completions, name) for name in names], axis=1))
    tokens[:, 2] = np.minimum(tokens[:, 2], tokens[:, 0])
    tokens[:, 0] -= tokens[:, 2]
    by_tokens = (tokens * usd_per_m).sum(axis=1) / 1e6
    known = floats(completions, "list_cost_usd")
    cost: np.ndarray = np.where(np.isnan(known), by_tokens, known).round(DECIMALS)
    return cost


def floats(batch: pa.RecordBatch | pa.Table, name: str) -> np.ndarray:
    """Return a column as float64 [n], NaN where it is NULL."""
    values: np.ndarray = batch.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values


def prices(experts: tuple[Expert, ...]) -> np.ndarray:
    """Return USD per million input tokens, output tokens, and input tokens that were cached, float64 [e, 3]."""
    cached = [e.usd_per_m_input if e.usd_per_m_cached is None else e.usd_per_m_cached for e in experts]
    return np.array([[e.usd_per_m_input, e.usd_per_m_output, c] for e, c in zip(experts, cached, strict=True)], float)
