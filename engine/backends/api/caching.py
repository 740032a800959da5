"""Prompt caching: have a provider keep a beginning that many requests share, where that has to be said.

Most providers keep beginnings by themselves. Anthropic keeps what a request marks with `cache_control`: writing costs a
quarter more than other input, reading a tenth of it. OpenRouter passes the mark on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from leeroo.engine.backends.completions import Request
from leeroo.engine.pool import Expert

# Anthropic keeps no shorter beginnings, in tokens: of most models, and of those whose name has this in it.
_LEAST_TOKENS, _SMALL, _LEAST_OF_SMALL = 1024, "haiku", 2048
# Names of any-llm-sdk whose requests go out in Anthropic's form; that of Bedrock leaves marks out.
_ANTHROPIC = ("anthropic", "azureanthropic", "vertexaianthropic")
_MARK = {"cache_control": {"type": "ephemeral"}}
# A beginning can be read once the reply to the request that wrote it begins: others wait this long for it, in seconds.
_WRITING_S = 30.0
# It is kept for this long after its last use, in seconds.
_KEPT_S = 300.0


def least_shared_tokens(expert: Expert) -> int | None:
    """Return the fewest tokens of a shared beginning that an expert's requests mark, None where they mark none."""
    provider = expert.engine.get("provider")
    host = urlsplit(expert.base_url or "").hostname or ""
    routed = provider == "openrouter" or (provider is None and host.endswith("openrouter.ai"))
    if provider not in _ANTHROPIC and not (routed and expert.model.startswith("anthropic/")):
        return None
    return _LEAST_OF_SMALL if _SMALL in expert.model.casefold() else _LEAST_TOKENS


def mark_beginning(messages: list[Any], request: Request) -> list[Any]:
    """Return the messages of a request with the end of its shared beginning marked, where it has one.

    Messages that are marked already, or whose form leaves no place for a mark, are left as they are.
    """
    chars, after = request.shared_chars, json.loads(request.after or "[]")
    if chars is None or any("cache_control" in (text or "") for text in (request.turns, request.after)):
        return messages
    at = len(messages) - 1 - len(after) - (chars == 0)  # the prompt, or what stands before it
    content = messages[at].get("content") if at >= 0 else None
    systems = sum(message["role"] == "system" for message in messages)
    if not isinstance(content, str) or not content or (messages[at]["role"] == "system" and systems > 1):
        return messages
    if chars and not content.startswith(request.prompt[:chars]):
        return messages
    texts = (content[:chars], content[chars:]) if chars else (content, "")
    parts: list[dict[str, Any]] = [{"type": "text", "text": text} for text in texts if text]
    parts[0] |= _MARK
    return [*messages[:at], {**messages[at], "content": parts}, *messages[at + 1 :]]


class SharedBeginnings:
    """The beginnings that were sent to one provider, so that one request writes each and the others read it."""

    def __init__(self) -> None:
        self._written: dict[int, asyncio.Event] = {}
        self._used: dict[int, float] = {}  # when, by the monotonic clock

    @contextlib.asynccontextmanager
    async def one_ahead(self, request: Request) -> AsyncIterator[None]:
        """Let the first request with a shared beginning go ahead of the others."""
        if request.shared_chars is None:
            yield
            return
        beginning = hash((request.system, request.turns, request.prompt[: request.shared_chars]))
        now = time.monotonic()
        kept = now - self._used.get(beginning, -_KEPT_S) < _KEPT_S
        self._used[beginning] = now
        written = self._written.get(beginning)
        if written is None or not kept:
            self._written[beginning] = written = asyncio.Event()
            try:
                yield
            finally:
                written.set()
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(written.wait(), _WRITING_S)
        yield
