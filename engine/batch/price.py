"""What answers cost: tokens times list prices, or what the backend knows better."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from leeroo.engine.money import DECIMALS
from leeroo.engine.pool import Expert

# Bytes of UTF-8 text per token: about four in English, three in scripts with a token for every character.
BYTES_PER_TOKEN = 4.0


def list_cost(completions: pa.RecordBatch, usd_per_m: np.ndarray) -> np.ndarray:
    """Return the list cost in USD of each completion, float64 [n], rounded as all costs in tables are.

    Args:
        completions: With the columns of `schema.COMPLETIONS`.
        usd_per_m: [n, 2] USD per million input and output tokens of the expert that answered.

    """
    tokens = np.stack([floats(completions, "prompt_tokens"), floats(completions, "completion_tokens")], axis=1)
    by_tokens = (np.nan_to_num(tokens) * usd_per_m).sum(axis=1) / 1e6
    known = floats(completions, "list_cost_usd")
    cost: np.ndarray = np.where(np.isnan(known), by_tokens, known).round(DECIMALS)
    return cost


def floats(batch: pa.RecordBatch | pa.Table, name: str) -> np.ndarray:
    """A column as float64 [n], NaN where it is NULL."""
    values: np.ndarray = batch.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values


def prices(experts: tuple[Expert, ...]) -> np.ndarray:
    """USD per million input and output tokens, float64 [e, 2]."""
    return np.array([[e.usd_per_m_input, e.usd_per_m_output] for e in experts], dtype=np.float64)
