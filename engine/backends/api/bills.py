"""Bills: what a provider bills for a row, as its replies report or as we estimate.

Tokens of one row are added up over its calls. List prices are computed for each call, since they may depend on the
length of its prompt, on the hour, and on the class of service that the reply names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field

from leeroo.engine.backends.api.faults import Fault
from leeroo.engine.backends.completions import Request
from leeroo.engine.prices import CallTokens, ListPrice

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


def _text_or_none(value: Any) -> str | None:
    """Return a value that is text, None for any other."""
    return value if isinstance(value, str) else None


Count = Annotated[int | None, BeforeValidator(_count)]


def _named(*names: str) -> Any:
    """Return a field that may have any of these names."""
    return Field(default=None, validation_alias=AliasChoices(*names))


class _InputDetails(BaseModel):
    cached_tokens: Count = None
    cache_write_tokens: Count = None
    audio_tokens: Count = None


class _OutputDetails(BaseModel):
    reasoning_tokens: Count = None
    audio_tokens: Count = None


class ReplyUsage(BaseModel):
    """The usage that a reply reports; None for what it does not report.

    OpenAI's names stand first. Some servers pass on those of Anthropic, Gemini, DeepSeek or Moonshot.
    """

    prompt_tokens: Count = _named("prompt_tokens", "promptTokenCount")
    input_tokens: Count = None
    completion_tokens: Count = _named("completion_tokens", "output_tokens", "candidatesTokenCount")
    total_tokens: Count = _named("total_tokens", "totalTokenCount")
    prompt_tokens_details: Annotated[_InputDetails, BeforeValidator(table_or_empty)] = _InputDetails()
    completion_tokens_details: Annotated[_OutputDetails, BeforeValidator(table_or_empty)] = _OutputDetails()
    cache_hits: Count = _named("prompt_cache_hit_tokens", "cachedContentTokenCount", "cached_tokens")
    cache_read_input_tokens: Count = None
    cache_creation_input_tokens: Count = None
    service_tier: Annotated[str | None, BeforeValidator(_text_or_none)] = None

    @property
    def whole_prompt_tokens(self) -> int | None:
        """All tokens of the prompt: Anthropic reports what was read from a cache or written to it beside the rest."""
        beside = (self.cache_read_input_tokens or 0) + (self.cache_creation_input_tokens or 0)
        if self.prompt_tokens is not None and beside <= self.prompt_tokens:
            return self.prompt_tokens
        rest = _first(self.prompt_tokens, self.input_tokens)
        return None if rest is None else rest + beside

    @property
    def cached_tokens(self) -> int | None:
        """Prompt tokens that were read from a cache."""
        return _first(self.prompt_tokens_details.cached_tokens, self.cache_read_input_tokens, self.cache_hits)

    @property
    def cache_write_tokens(self) -> int | None:
        """Prompt tokens that were written to a cache."""
        return _first(self.prompt_tokens_details.cache_write_tokens, self.cache_creation_input_tokens)


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)


def read_usage(reported: Any, service_tier: Any = None) -> ReplyUsage:
    """Read the usage of a reply, whatever it holds, and the class of service that the reply names."""
    return ReplyUsage.model_validate({**table_or_empty(reported), "service_tier": service_tier})


@dataclass
class Bill:
    """What is billed for one row, over all its calls.

    Attributes:
        price: The list price of the expert, None where its pool file gives prices.
        estimated: Some of the tokens are our estimate, because the server did not report them.
        list_cost_usd: None where the pool file gives prices.

    """

    price: ListPrice | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int | None = None
    estimated: bool = False
    list_cost_usd: float | None = None

    def add(self, usage: ReplyUsage, request: Request, answer: str, thoughts: str = "") -> None:
        """Add a call by the usage of its reply; what the reply leaves out is estimated from the texts."""
        prompt, completion, total = usage.whole_prompt_tokens, usage.completion_tokens, usage.total_tokens
        text = thoughts + answer
        self.estimated |= not prompt or completion is None or (completion == 0 and text != "")
        if not prompt:
            prompt = estimate_prompt_tokens(request)
            prompt = prompt if total is None or not total else min(prompt, total)
        if not completion:
            completion = estimate_tokens(text) if text else 0
        # Some servers leave hidden reasoning out of the completion, and count it in the total.
        completion = max(completion, (total or 0) - prompt)
        thought = usage.completion_tokens_details.reasoning_tokens
        if thought is None and thoughts:
            thought = estimate_tokens(thoughts)
        if thought is not None:
            thought = min(thought, completion)
            self.reasoning_tokens = (self.reasoning_tokens or 0) + thought
        read, written = usage.cached_tokens, usage.cache_write_tokens
        if read is not None:
            read = min(read, prompt)
            self.cached_tokens = (self.cached_tokens or 0) + read
        if written is not None:
            written = min(written, prompt - (read or 0))
            self.cache_write_tokens = (self.cache_write_tokens or 0) + written
        self._count(
            CallTokens(
                prompt,
                completion,
                read or 0,
                written or 0,
                thought or 0,
                min(usage.prompt_tokens_details.audio_tokens or 0, prompt),
                min(usage.completion_tokens_details.audio_tokens or 0, completion),
            ),
            usage.service_tier,
        )

    def add_input(self, tokens: int, *, estimated: bool) -> None:
        """Add a call that read this many tokens and wrote none."""
        self._count(CallTokens(tokens, 0))
        self.estimated |= estimated

    def add_fault(self, fault: Fault, request: Request) -> None:
        """Add a call that failed: the usage of its reply, or the most that it can cost where that is unknown."""
        if table_or_empty(fault.usage):
            self.add(read_usage(fault.usage), request, "")
        elif fault.unsure:
            self._count(CallTokens(estimate_prompt_tokens(request), request.max_tokens))
            self.estimated = True

    def _count(self, tokens: CallTokens, service_tier: str | None = None) -> None:
        """Add the tokens of a call, and its list price."""
        self.prompt_tokens += tokens.input
        self.completion_tokens += tokens.output
        if self.price is not None:
            self.list_cost_usd = (self.list_cost_usd or 0.0) + self.price.usd(tokens, service_tier=service_tier)

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of a completion."""
        columns = {name: value for name, value in vars(self).items() if name != "price"}
        return columns if self.prompt_tokens or self.completion_tokens else {}


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has."""
    return max(1, len(text.encode(errors="replace")) // _BYTES_PER_TOKEN)


def estimate_prompt_tokens(request: Request) -> int:
    """Return about how many tokens the prompt of a request has."""
    contents = (message.get("content") for message in request.messages)
    text = estimate_tokens("".join(c if isinstance(c, str) else json.dumps(c) for c in contents))
    return text + request.image_tokens
