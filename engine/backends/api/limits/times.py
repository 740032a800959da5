"""Times: how long requests take at least, under the limits of the accounts of their experts."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

from leeroo.engine.pool import Expert

_MINUTE_S = 60.0
# Options of an expert that make its account another.
_OF_ACCOUNTS = ("provider", "headers", "organization", "project")


def account_of(expert: Expert) -> Hashable:
    """Return what experts that share limits have in common; None for one whose requests nobody counts."""
    if expert.backend != "openai" or expert.batch:
        return None
    options = (str(expert.engine.get(name)) for name in _OF_ACCOUNTS)
    return (expert.base_url, expert.api_key_env, expert.model, *options)


def least_seconds(experts: Sequence[Expert], requests: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return the seconds that each expert's part takes at least [e], 0 where it has no limits.

    Args:
        experts: All experts of a run; of the limits that those of one account have, the least counts.
        requests: [e].
        tokens: Of prompts and answers together [e].

    """
    by_requests = requests / _per_minute(experts, "requests_per_minute")
    by_tokens = tokens / _per_minute(experts, "tokens_per_minute")
    seconds: np.ndarray = _MINUTE_S * np.maximum(by_requests, by_tokens)
    return seconds


def _per_minute(experts: Sequence[Expert], option: str) -> np.ndarray:
    """Return the limit of each expert's account [e], infinite where there is none."""
    accounts = [account_of(expert) for expert in experts]
    own = [float(expert.engine.get(option) or math.inf) for expert in experts]
    least = [min(limit for each, limit in zip(accounts, own, strict=True) if each == account) for account in accounts]
    return np.array([math.inf if account is None else limit for account, limit in zip(accounts, least, strict=True)])
