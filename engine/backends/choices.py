"""Choices: how likely each of the texts is that an answer may be, without generating it.

The texts are a tree of tokens. At every fork the model scores the next token once, among those that go on. Decoding
under that constraint gives each text with the product of its forks' probabilities, and these add up to 1. Where all
texts begin differently - letters, most labels - the end of the prompt is the only fork.

This module knows nothing of models: it is given log probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

Tokens = tuple[int, ...]


class Fork(NamedTuple):
    """A place where texts go on differently."""

    prefix: Tokens  # what they have in common up to there
    branches: Tokens  # the tokens that may come next


def forks(texts: Sequence[Tokens], end: int) -> list[Fork]:
    """Return where these texts part, at least one fork; the token `end` ends each text."""
    nodes: dict[Tokens, dict[int, None]] = {}
    for text in texts:
        whole = (*text, end)
        for depth, token in enumerate(whole):
            nodes.setdefault(whole[:depth], {})[token] = None
    parted = [Fork(prefix, tuple(nexts)) for prefix, nexts in nodes.items() if len(nexts) > 1]
    return parted or [Fork((), (texts[0] or (end,))[:1])]


def logprobs(texts: Sequence[Tokens], end: int, known: Mapping[Tokens, Mapping[int, float]]) -> list[float]:
    """Return the log probability of each text.

    Args:
        texts: The texts that were given to `forks`.
        end: The token that ends each text.
        known: By the prefix of every fork, the log probability of each branch, among the branches.

    """
    scores = []
    for text in texts:
        whole = (*text, end)
        scores.append(sum(known[whole[:i]][token] for i, token in enumerate(whole) if whole[:i] in known))
    return scores


class ChoiceTree:
    """Texts of which a model chooses one, and what is known so far of their forks."""

    def __init__(self, texts: Sequence[Tokens], end: int) -> None:
        self.texts = texts
        self.forks = forks(texts, end)
        self._end = end
        self._known: dict[Tokens, Mapping[int, float]] = {}

    def add(self, prefix: Tokens, branches: Mapping[int, float]) -> list[float] | None:
        """Add the log probabilities of a fork's branches; return the texts' own once all forks are known, else None."""
        self._known[prefix] = branches
        return logprobs(self.texts, self._end, self._known) if len(self._known) == len(self.forks) else None


def likeliest(scores: Sequence[float]) -> int:
    """Return the position of the highest score, the first of several."""
    return max(range(len(scores)), key=scores.__getitem__)
