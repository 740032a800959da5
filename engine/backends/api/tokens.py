"""Tokens of a reply, with what else might have come: how likely the choices were that an answer could name.

A choice is known by the token with which it begins. Where two begin with the same one, nothing is known of them.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, TypeAdapter, ValidationError

from leeroo.engine.backends.api.bills import table_or_empty
from leeroo.engine.backends.api.faults import storable
from leeroo.engine.backends.decisions import Decisions, as_json


def _bytes(value: Any) -> list[int] | None:
    fits = isinstance(value, list) and all(isinstance(each, int) and 0 <= each < 256 for each in value)
    return value if fits else None


class Candidate(BaseModel):
    """A token that might have come, and how likely it was."""

    token: Annotated[str, AfterValidator(storable)]
    logprob: float
    bytes: Annotated[list[int] | None, BeforeValidator(_bytes)] = None


class Token(Candidate):
    """A token that came."""

    top_logprobs: list[Candidate] = []


_TOKENS = TypeAdapter(list[Token])


def read_tokens(logprobs: Any) -> list[Token]:
    """Return the tokens of an answer as far as they can be understood."""
    try:
        return _TOKENS.validate_python(table_or_empty(logprobs).get("content"))
    except ValidationError:
        return []


def write_tokens(tokens: Sequence[Token]) -> str | None:
    """Return the tokens of an answer as JSON, in OpenAI's form."""
    finite = all(math.isfinite(each.logprob) for token in tokens for each in (token, *token.top_logprobs))
    return json.dumps([token.model_dump() for token in tokens]) if tokens and finite else None


def choice_logprobs(choices: Sequence[str], answer: str, tokens: Sequence[Token]) -> list[float] | None:
    """Return the log probability of each choice, by its first token; None where two begin with the same."""
    if not tokens:
        return None
    candidates = [(each.token.strip(), each.logprob) for each in tokens[0].top_logprobs]
    return _share(choices, choices.index(answer), candidates)


def decision_logprobs(decisions: Decisions, answer: str, tokens: Sequence[Token]) -> list[float | None] | None:
    """Return the log probability of each choice of all decisions, by the token with which its value begins.

    None for the choices of a decision of which nothing is known, and None alone where nothing is known of any.
    """
    text, chosen = "".join(token.token for token in tokens), json.loads(answer)
    ends = list(itertools.accumulate(len(token.token) for token in tokens))
    scores: list[float | None] = []
    for name, choices in decisions.items():
        texts = [each if isinstance(each, str) else as_json(each) for each in choices]
        at = [as_json(each) for each in choices].index(as_json(chosen[name]))
        found = re.search(re.escape(as_json(name)) + r'\s*:\s*"?', text)
        known = found and _share(texts, at, _candidates(tokens, ends, found.end()))
        scores += known or [None] * len(texts)
    return scores if any(score is not None for score in scores) else None


def _candidates(tokens: Sequence[Token], ends: Sequence[int], start: int) -> list[tuple[str, float]]:
    """Return what might have stood at a place of a reply, up to a quote, with log probabilities."""
    at = next((i for i, end in enumerate(ends) if end > start), None)
    if at is None:
        return []
    before = start - (ends[at] - len(tokens[at].token))  # characters of the token that stand before the place
    lead = tokens[at].token[:before]
    might = [each for each in tokens[at].top_logprobs if each.token.startswith(lead)]
    return [(re.split(r'["},\s]', each.token[before:])[0], each.logprob) for each in might]


def _share(choices: Sequence[str], chosen: int, candidates: Sequence[tuple[str, float]]) -> list[float] | None:
    """Return the log probability of each choice among all, by the texts with which they begin; None as above."""
    chances = [0.0] * len(choices)
    known = [(begins.casefold(), math.exp(min(logprob, 0.0))) for begins, logprob in candidates]
    known = [(begins, chance) for begins, chance in known if chance]
    for begins, chance in known:
        fits = [i for i, choice in enumerate(choices) if begins and choice.casefold().startswith(begins)]
        if len(fits) > 1:
            return None
        for i in fits:
            chances[i] += chance
    if not chances[chosen]:
        return None
    # A choice that is not among the likeliest tokens is no likelier than the last of them, or than all but the first.
    likely = [chance for _, chance in known]
    least = min(*likely, max(1 - max(likely), sys.float_info.min))
    whole = [chance or least for chance in chances]
    return [math.log(chance / sum(whole)) for chance in whole]
