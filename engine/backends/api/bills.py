"""Bills: the tokens that a provider bills for a row, as its replies say, or as we must suppose."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator

from leeroo.engine.backends.api.faults import Fault
from leeroo.engine.backends.completions import Request

# Bytes of a text for a token, where the server does not count.
_BYTES_PER_TOKEN = 4
# A count beyond this is nonsense, and sums of such do not fit a column.
_MOST_TOKENS = 2**56


def _count(value: Any) -> int | None:
    """Return a number of tokens as an integer; None for anything that is none."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if 0 <= number <= _MOST_TOKENS else None


def table(value: Any) -> Any:
    """Return a table of JSON; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


Count = Annotated[int | None, BeforeValidator(_count)]


class _Details(BaseModel):
    cached_tokens: Count = None


class Usage(BaseModel):
    """What a reply says that it used; None where it does not say so."""

    prompt_tokens: Count = None
    completion_tokens: Count = None
    total_tokens: Count = None
    prompt_tokens_details: Annotated[_Details, BeforeValidator(table)] = _Details()
    prompt_cache_hit_tokens: Count = None  # DeepSeek's name of it


def usage_of(said: Any) -> Usage:
    """Read the usage of a reply, whatever stands there."""
    return Usage.model_validate(table(said))


@dataclass
class Bill:
    """What the calls for one row are billed, all of them together.

    Attributes:
        estimated: Some of it is our estimate, as the server did not say.

    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    estimated: bool = False

    def add(self, usage: Usage, request: Request, answer: str) -> None:
        """Add a call whose reply said this; what it did not say is estimated from the texts."""
        prompt, completion, total = usage.prompt_tokens, usage.completion_tokens, usage.total_tokens
        self.estimated |= not prompt or completion is None or (completion == 0 and answer != "")
        if not prompt:
            prompt = tokens_of_messages(request)
            prompt = prompt if total is None or not total else min(prompt, total)
        if not completion:
            completion = estimate(answer) if answer else 0
        # Some servers leave hidden reasoning out of the completion, and count it in the total.
        completion = max(completion, (total or 0) - prompt)
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        hit = usage.prompt_tokens_details.cached_tokens
        hit = usage.prompt_cache_hit_tokens if hit is None else hit
        if hit is not None:
            self.cached_tokens = (self.cached_tokens or 0) + min(hit, prompt)

    def add_fault(self, fault: Fault, request: Request) -> None:
        """Add a call that failed: what its reply said, or the most that it can cost where nobody says."""
        if table(fault.usage):
            self.add(usage_of(fault.usage), request, "")
        elif fault.unsure:
            self._add_most(request)

    def _add_most(self, request: Request) -> None:
        self.prompt_tokens += tokens_of_messages(request)
        self.completion_tokens += request.max_tokens
        self.estimated = True

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of a completion."""
        return vars(self) if self.prompt_tokens or self.completion_tokens else {}


def estimate(text: str) -> int:
    """Return about how many tokens a text has."""
    return max(1, len(text.encode(errors="replace")) // _BYTES_PER_TOKEN)


def tokens_of_messages(request: Request) -> int:
    """Return about how many tokens the prompt of a request has."""
    contents = (message.get("content") for message in request.messages)
    return estimate("".join(c if isinstance(c, str) else json.dumps(c) for c in contents))
