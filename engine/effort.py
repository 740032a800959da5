"""Effort: how hard a model thinks before it answers, as a level or as a number of tokens."""

from __future__ import annotations

# The levels that providers know, and the tokens that each may take: those that Google gives for OpenAI's levels.
LEVELS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}

# Where nothing is known of an expert, this part of what it may think is expected. A guess: few questions take all.
EXPECTED_PART = 0.25


def thinking_tokens(effort: str) -> int:
    """Return the most tokens that a model may think.

    Raises:
        ValueError: it is neither a level nor a number.

    >>> thinking_tokens("low"), thinking_tokens("4000")
    (1024, 4000)
    """
    return LEVELS[effort] if effort in LEVELS else int(effort)


def level_of(effort: str) -> str:
    """Return the level of an effort; for a number of tokens, the lowest level that takes as many.

    >>> level_of("high"), level_of("4000"), level_of("0"), level_of("1000000")
    ('high', 'medium', 'none', 'high')
    """
    if effort in LEVELS:
        return effort
    return next((level for level in ("none", "low", "medium") if LEVELS[level] >= int(effort)), "high")
