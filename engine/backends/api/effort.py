"""Effort over APIs: each provider has its own parameters for how hard a model thinks.

Names and values are those of the providers' documentation of November 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

from leeroo.engine.effort import level_of, thinking_tokens

# From an effort and the parameters that the server refuses to the parameters that are sent.
EffortForm = Callable[[str, Set[str]], dict[str, Any]]

# All parameters that set an effort, by which its refusal is known.
EFFORT_NAMES = (
    *("reasoning_effort", "thinking", "thinking_budget", "enable_thinking", "reasoning", "output_config"),
    *("thinking_config", "chat_template_kwargs"),
)
# The fewest tokens that Anthropic takes for thoughts.
_LEAST_BUDGET = 1024


def effort_form(host: str | None, provider: str | None) -> EffortForm:
    """Return the form in which an effort is sent to a host, or through any-llm-sdk to a provider that it knows."""
    if provider is not None:
        return _level
    known = (form for name, form in _FORMS.items() if host and f".{host}".endswith(f".{name}"))
    return next(known, _unknown)


def _level(effort: str, _: Set[str]) -> dict[str, Any]:
    """OpenAI's parameter, which many others have too."""
    return {"reasoning_effort": level_of(effort)}


def _level_or_tokens(effort: str, _: Set[str]) -> dict[str, Any]:
    return {"reasoning_effort": int(effort) if effort.isdigit() else effort}


def _anthropic(effort: str, refused: Set[str]) -> dict[str, Any]:
    """Give thoughts a number of tokens; newer models refuse that and set the tokens themselves, by a level."""
    if level_of(effort) == "none":
        return {"thinking": {"type": "disabled"}}
    if "thinking" in refused:
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": level_of(effort)}}
    return {"thinking": {"type": "enabled", "budget_tokens": max(thinking_tokens(effort), _LEAST_BUDGET)}}


def _deepseek(effort: str, _: Set[str]) -> dict[str, Any]:
    level = level_of(effort)
    if level == "none":
        return {"thinking": {"type": "disabled"}}
    return {"thinking": {"type": "enabled"}, "reasoning_effort": level}


def _gemini(effort: str, refused: Set[str]) -> dict[str, Any]:
    if not effort.isdigit():
        return _level(effort, refused)
    return {"extra_body": {"google": {"thinking_config": {"thinking_budget": int(effort)}}}}


def _openrouter(effort: str, _: Set[str]) -> dict[str, Any]:
    return {"reasoning": {"max_tokens": int(effort)} if effort.isdigit() else {"effort": effort}}


def _qwen(effort: str, _: Set[str]) -> dict[str, Any]:
    if level_of(effort) == "none":
        return {"enable_thinking": False}
    return {"enable_thinking": True, "thinking_budget": thinking_tokens(effort)}


def _unknown(effort: str, refused: Set[str]) -> dict[str, Any]:
    """OpenAI's parameter, and the switches in chat templates, which vLLM, SGLang and llama.cpp pass on."""
    thinks = level_of(effort) != "none"
    switches = {"chat_template_kwargs": {"enable_thinking": thinks, "thinking": thinks}}
    return {**_level(effort, refused), **({} if "chat_template_kwargs" in refused else switches)}


_FORMS: dict[str, EffortForm] = {
    "openai.com": _level,
    "azure.com": _level,
    "x.ai": _level,
    "groq.com": _level,
    "mistral.ai": _level,
    "together.xyz": _level,
    "together.ai": _level,
    "fireworks.ai": _level_or_tokens,
    "anthropic.com": _anthropic,
    "deepseek.com": _deepseek,
    "googleapis.com": _gemini,
    "openrouter.ai": _openrouter,
    "aliyuncs.com": _qwen,
}
