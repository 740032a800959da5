"""Bills: the tokens that a provider bills for a row, as its replies report or as we estimate; it knows no prices."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator

from leeroo.engine.backends.api.faults import Fault
from leeroo.engine.backends.completions import Request

# Bytes of text per token, where the server does not count.
_BYTES_PER_TOKEN = 4
# Counts beyond this are nonsense, and their sums do not fit a column.
_MOST_TOKENS = 2**56


def _count(value: Any) -> int | None:
    """Return a number of tokens as an integer; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if 0 <= number <= _MOST_TOKENS else None


def table_or_empty(value: Any) -> Any:
    """Return a table of JSON; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


Count = Annotated[int | None, BeforeValidator(_count)]


class _Details(BaseModel):
    cached_tokens: Count = None


class _CompletionDetails(BaseModel):
    reasoning_tokens: Count = None


class ReplyUsage(BaseModel):
    """The usage that a reply reports; None for what it does not report."""

    prompt_tokens: Count = None
    completion_tokens: Count = None
    total_tokens: Count = None
    prompt_tokens_details: Annotated[_Details, BeforeValidator(table_or_empty)] = _Details()
    completion_tokens_details: Annotated[_CompletionDetails, BeforeValidator(table_or_empty)] = _CompletionDetails()
    prompt_cache_hit_tokens: Count = None  # DeepSeek's name for the cached tokens


def read_usage(reported: Any) -> ReplyUsage:
    """Read the usage of a reply, whatever it holds."""
    return ReplyUsage.model_validate(table_or_empty(reported))


@dataclass
class Bill:
    """The tokens billed for one row, over all its calls.

    Attributes:
        estimated: Some of them are our estimate, because the server did not report them.

    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    estimated: bool = False

    def add(self, usage: ReplyUsage, request: Request, answer: str, thoughts: str = "") -> None:
        """Add a call by the usage of its reply; what the reply leaves out is estimated from the texts."""
        prompt, completion, total = usage.prompt_tokens, usage.completion_tokens, usage.total_tokens
        written = thoughts + answer
        self.estimated |= not prompt or completion is None or (completion == 0 and written != "")
        if not prompt:
            prompt = estimate_prompt_tokens(request)
            prompt = prompt if total is None or not total else min(prompt, total)
        if not completion:
            completion = estimate_tokens(written) if written else 0
        # Some servers leave hidden reasoning out of the completion, and count it in the total.
        completion = max(completion, (total or 0) - prompt)
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        thought = usage.completion_tokens_details.reasoning_tokens
        if thought is None and thoughts:
            thought = estimate_tokens(thoughts)
        if thought is not None:
            self.reasoning_tokens = (self.reasoning_tokens or 0) + min(thought, completion)
        hit = usage.prompt_tokens_details.cached_tokens
        hit = usage.prompt_cache_hit_tokens if hit is None else hit
        if hit is not None:
            self.cached_tokens = (self.cached_tokens or 0) + min(hit, prompt)

    def add_fault(self, fault: Fault, request: Request) -> None:
        """Add a call that failed: the usage of its reply, or the most that it can cost where that is unknown."""
        if table_or_empty(fault.usage):
            self.add(read_usage(fault.usage), request, "")
        elif fault.unsure:
            self.prompt_tokens += estimate_prompt_tokens(request)
            self.completion_tokens += request.max_tokens
            self.estimated = True

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of a completion."""
        return vars(self) if self.prompt_tokens or self.completion_tokens else {}


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has."""
    return max(1, len(text.encode(errors="replace")) // _BYTES_PER_TOKEN)


def estimate_prompt_tokens(request: Request) -> int:
    """Return about how many tokens the prompt of a request has."""
    contents = (message.get("content") for message in request.messages)
    return estimate_tokens("".join(c if isinstance(c, str) else json.dumps(c) for c in contents))
