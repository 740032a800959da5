"""Choices: how likely each of the texts is that an answer may be, without generating it.

The texts are a tree of tokens. Where it forks, the model is asked once for the next token, among those that go on; an
answer that is decoded under that constraint is then each text with the product of its forks' probabilities, and these
add up to 1. Where all texts begin differently - letters, most labels - the end of the prompt is the only fork.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

Tokens = tuple[int, ...]


class Fork(NamedTuple):
    """A place where the texts go on differently."""

    prefix: Tokens  # what they have in common up to there
    branches: Tokens  # the tokens that may come next


def forks(texts: Sequence[Tokens], end: int) -> list[Fork]:
    """Where these texts part, the end of a text being the token `end`; at least one fork."""
    nodes: dict[Tokens, dict[int, None]] = {}
    for text in texts:
        whole = (*text, end)
        for depth, token in enumerate(whole):
            nodes.setdefault(whole[:depth], {})[token] = None
    parted = [Fork(prefix, tuple(nexts)) for prefix, nexts in nodes.items() if len(nexts) > 1]
    return parted or [Fork((), (texts[0] or (end,))[:1])]


def logprobs(texts: Sequence[Tokens], end: int, told: Mapping[Tokens, Mapping[int, float]]) -> list[float]:
    """The log probability of each text.

    Args:
        texts: As given to `forks`.
        end: Likewise.
        told: By the prefix of every fork, the log probability of each branch, among the branches.

    """
    scores = []
    for text in texts:
        whole = (*text, end)
        scores.append(sum(told[whole[:i]][token] for i, token in enumerate(whole) if whole[:i] in told))
    return scores


class Choosing:
    """Some texts, of which a model chooses one, while it is asked at their forks."""

    def __init__(self, texts: Sequence[Tokens], end: int) -> None:
        self.texts = texts
        self.forks = forks(texts, end)
        self._end = end
        self._told: dict[Tokens, Mapping[int, float]] = {}

    def tell(self, prefix: Tokens, branches: Mapping[int, float]) -> list[float] | None:
        """The log probability of each branch at a fork is known; of each text, once all forks are, None before."""
        self._told[prefix] = branches
        return logprobs(self.texts, self._end, self._told) if len(self._told) == len(self.forks) else None


def likeliest(scores: Sequence[float]) -> int:
    """The position of the likeliest, the first of several."""
    return max(range(len(scores)), key=scores.__getitem__)
