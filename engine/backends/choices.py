"""Choices: how likely each of the texts is that an answer may be, without generating it.

The texts are a tree of tokens. At every fork the model scores the next token once, among those that go on. Decoding
under that constraint gives each text with the product of its forks' probabilities, and these add up to 1. Where all
texts begin differently - letters, most labels - the end of the prompt is the only fork.

Free text names a choice in many ways, which are read here too. This module knows nothing of models: it is given log
probabilities.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

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
    """Texts of which a model chooses one, or one of each of several lists, and what is known so far of their forks.

    Attributes:
        lists: The texts, a list for each decision.
        forks: Where the texts of a list part.
    """

    def __init__(self, lists: Sequence[Sequence[Tokens]], end: int) -> None:
        self.lists = lists
        self._forks = [{fork.prefix: fork for fork in forks(texts, end)} for texts in lists]
        self.forks = [fork for own in self._forks for fork in own.values()]
        self._end = end
        self._known: list[dict[Tokens, Mapping[int, float]]] = [{} for _ in lists]

    def add(self, prefix: Tokens, branches: Mapping[int, float]) -> list[float] | None:
        """Add the log probabilities of a fork's branches.

        Returns:
            The log probabilities of the texts of all lists, one after the other, once all forks are known; else None.
        """
        for own, known in zip(self._forks, self._known, strict=True):
            if prefix in own and set(own[prefix].branches) <= branches.keys():
                known[prefix] = branches
        if any(len(known) < len(own) for own, known in zip(self._forks, self._known, strict=True)):
            return None
        each = zip(self.lists, self._known, strict=True)
        return [score for texts, known in each for score in logprobs(texts, self._end, known)]


def likeliest(scores: Sequence[float]) -> int:
    """Return the position of the highest score, the first of several."""
    return max(range(len(scores)), key=scores.__getitem__)


def split_lists(scores: Sequence[Any], lists: Sequence[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """Yield the scores of each list, which come one after the other."""
    start = 0
    for each in lists:
        yield scores[start : start + len(each)]
        start += len(each)


# What people and models put around a choice: quotes, brackets, Markdown, and words that introduce it.
_AROUND = " \t\n\"'`*_()[]{}<>.,:;!\u201c\u201d\u2018\u2019"
_BEFORE = re.compile(
    r"^(?:(?:so|thus|therefore|hence),? )?(?:the |my |final |correct |best )*"
    r"(?:answer|choice|option|label|category|class)(?: (?:is|would be|should be))?\b[\s:=*_\-]*",
    re.IGNORECASE,
)
_INTRODUCTIONS = 3  # in a row: "The answer is option (A)"


def find_choice(answer: str, choices: list[str], prompt: str = "") -> str | None:
    """Return the choice that free text names, None where it names none.

    The text begins with it, as a word of its own; the longest counts where several fit. Quotes, brackets and words
    such as "The answer is" may stand before it. A choice that the prompt lists as "A. text" is named by its text too.
    """
    text = answer.strip().casefold()
    if (found := _leading_choice(text, choices)) is not None:
        return found
    bare = _bare(text)
    if (found := _leading_choice(bare, choices)) is not None:
        return found
    texts = {listed: choice for choice in choices if (listed := _bare(_listed_text(choice, prompt)))}
    return texts.get(bare)


def _leading_choice(text: str, choices: list[str]) -> str | None:
    fits = [choice for choice in choices if re.match(re.escape(choice.strip().casefold()) + r"(?!\w)", text)]
    return max(fits, key=len) if fits else None


def _bare(text: str) -> str:
    """Return a text without what is put around a choice."""
    text = text.casefold().strip(_AROUND)
    for _ in range(_INTRODUCTIONS):
        text = _BEFORE.sub("", text, count=1).strip(_AROUND)
    return text


def _listed_text(choice: str, prompt: str) -> str:
    """Return the text that a prompt lists behind a letter."""
    lines = re.findall(rf"^{re.escape(choice)}[.)] (.+)$", prompt, re.MULTILINE)
    return lines[-1] if lines else ""
