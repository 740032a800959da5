"""Choosing with a model of transformers: each prompt is read once, and the forks of its choices go on from there.

Prompts that begin alike share the computing of their beginning.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import torch

from leeroo.engine.backends.choices import ChoiceTree, Fork, Tokens
from leeroo.engine.backends.completions import Request
from leeroo.engine.backends.local.causal import CausalModel, Prefix, TokenRows

# A prefix that rows share is computed once if it has at least this many tokens.
_SHARED_TOKENS = 32

_Ids = TypeVar("_Ids", Tokens, list[int])


class ChoicePrompt(NamedTuple):
    """A request with choices, as the model reads it before it scores some of their forks."""

    request: Request
    ids: list[int]  # the prompt, and what the choices have in common
    forks: list[tuple[Fork, list[int]]]  # each with the tokens up to it
    tree: ChoiceTree
    prompt_tokens: int
    started: float

    @property
    def tokens(self) -> int:
        """How many tokens its rows hold together, where each fork has a row of its own."""
        return sum(len(self.ids) + len(tokens) for _, tokens in self.forks)


def choice_prompts(
    request: Request, prompt: list[int], tree: ChoiceTree | None, *, at_once: bool
) -> list[ChoicePrompt]:
    """Return what the model reads for the choices of a request, nothing where it has none.

    Args:
        request: The request.
        prompt: Its tokens.
        tree: Its choices.
        at_once: The model reads the prompt once and goes on from there to every fork, or reads it for each.

    """
    if tree is None:
        return []
    started = time.perf_counter()
    common = common_start([fork.prefix for fork in tree.forks])
    ids = [*prompt, *common]
    forks = [(fork, list(fork.prefix[len(common) :])) for fork in tree.forks]
    if at_once:
        return [ChoicePrompt(request, ids, forks, tree, len(prompt), started)]
    apart = [([*ids, *tokens], fork) for fork, tokens in forks]
    return [ChoicePrompt(request, each, [(fork, [])], tree, len(prompt), started) for each, fork in apart]


def score(
    model: CausalModel, prefix: Prefix | None, prompts: list[ChoicePrompt]
) -> Iterator[tuple[ChoicePrompt, Fork, torch.Tensor]]:
    """Yield every fork of these prompts with its logits [v]."""
    rows = TokenRows(model, [prompt.ids for prompt in prompts], prefix)
    out = rows.logits()  # [b, v]
    later: list[tuple[int, Fork, list[int]]] = []
    for at, prompt in enumerate(prompts):
        later += [(at, fork, tokens) for fork, tokens in prompt.forks if tokens]
        yield from ((prompt, fork, out[at]) for fork, tokens in prompt.forks if not tokens)
    if later:
        out = rows.branch([at for at, *_ in later], [tokens for *_, tokens in later]).logits()  # [forks, v]
        yield from ((prompts[at], fork, logits) for (at, fork, _), logits in zip(later, out, strict=True))


def fork_scores(tree: ChoiceTree, fork: Fork, logits: torch.Tensor) -> list[float] | None:
    """Add what a model says at a fork, by logits [v]; return the scores of all choices after the last one."""
    among = logits[torch.tensor(fork.branches, device=logits.device)].log_softmax(-1).tolist()
    return tree.add(fork.prefix, dict(zip(fork.branches, among, strict=True)))


def by_prefix(prompts: list[ChoicePrompt]) -> Iterator[tuple[int, list[ChoicePrompt]]]:
    """Yield groups of prompts with the number of tokens that a group shares; each prompt has at least one more."""
    group: list[ChoicePrompt] = []
    shared = 0
    for prompt in sorted(prompts, key=lambda prompt: prompt.ids):
        if group:
            both = _common_prefix(group[-1].ids, prompt.ids)
            # A group takes in one more as long as that saves no less.
            together = both if len(group) == 1 else min(shared, both)
            if both >= _SHARED_TOKENS and together * len(group) >= shared * (len(group) - 1):
                group.append(prompt)
                shared = together
                continue
            yield shared, group
        group, shared = [prompt], 0
    if group:
        yield shared, group


def common_start(texts: list[_Ids]) -> _Ids:
    """Return the tokens with which all of these begin."""
    first, last = min(texts), max(texts)
    return first[: next((i for i, token in enumerate(first) if token != last[i]), len(first))]


def _common_prefix(one: list[int], other: list[int]) -> int:
    """Return how many tokens two prompts share at their beginning, fewer than either has."""
    most = min(len(one), len(other)) - 1
    return next((i for i in range(most) if one[i] != other[i]), most)
