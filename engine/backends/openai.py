"""OpenAI: any server that speaks OpenAI's chat API, many requests at a time.

Providers that speak otherwise (Anthropic, Gemini, Bedrock, SageMaker, ...) are reached through any-llm-sdk: set
`provider` in [expert.engine] to its name for them, and install the extra `any-llm`. Every answer is handed on
the moment it is there, because it was paid for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

import openai
import pyarrow as pa
from openai.types.chat import ChatCompletion
from openai.types.chat.chat_completion import ChoiceLogprobs

from leeroo.engine.backends.completions import Request, completed, failed, named, requests_of
from leeroo.engine.errors import ExpertUnavailable, PoolError
from leeroo.engine.pool import Expert

_OPTIONS = ("concurrency", "max_retries", "timeout", "provider", "extra_body")
# So many rows in a row failing after all their retries, and the rest would fare no better.
_GIVE_UP_AFTER = 8
_WAIT_S = 0.2
# How often a caller looks whether the others have left it some of the concurrency.
_SHARED_WAIT_S = 0.05
_TOP_LOGPROBS = 20  # the most that OpenAI tells
_FINISH = {"stop": "stop", "length": "length"}


class OpenAIBackend:
    """A connection to one model of one API.

    Raises:
        ExpertUnavailable: its key is not there, or any-llm-sdk is needed and not installed.
        PoolError: an unknown engine option.
    """

    def __init__(self, expert: Expert) -> None:
        for name in expert.engine:
            if name not in _OPTIONS:
                raise PoolError(
                    f"expert {expert.name!r}: openai has no engine option {name!r}; it has {', '.join(_OPTIONS)}"
                )
        self._expert = expert
        self._concurrency = int(expert.engine.get("concurrency", 16))
        self._at_once = 0  # requests in flight, of all who ask through this connection
        self._counting = threading.Lock()
        self._failures = 0  # in a row
        self._ask, self._disconnect = _any_llm(expert) if "provider" in expert.engine else _openai(expert)
        # A thread of its own: the caller may be inside an event loop already, as in a notebook.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"leeroo-{expert.name}", daemon=True)
        self._thread.start()

    @property
    def room(self) -> int:
        """How many more requests can leave now."""
        return max(self._concurrency - self._at_once, 0)

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """Answer a stream of requests, each yielded when it is there; all callers share the `concurrency`."""
        waiting: list[Request] = []
        flying: set[Future[dict[str, Any]]] = set()
        more = True
        try:
            while more or waiting or flying:
                while waiting or (more and self.room):
                    if not waiting:
                        batch = next(requests, None)
                        more = batch is not None
                        if batch is None or batch.num_rows == 0:
                            break  # at the end, or nothing to hand out until something is back
                        waiting += requests_of(batch)
                    if not self._may_start():
                        break
                    flying.add(asyncio.run_coroutine_threadsafe(self._complete(waiting.pop(0)), self._loop))
                if flying:
                    done, flying = wait(flying, timeout=_WAIT_S, return_when=FIRST_COMPLETED)
                    self._count(-len(done))
                    yield completed(self._settled(future) for future in done)
                elif more or waiting:  # other callers have all of the concurrency
                    time.sleep(_SHARED_WAIT_S)
                    yield completed(())
        finally:
            self._count(-len(flying))
            for future in flying:
                future.cancel()

    def _may_start(self) -> bool:
        """Count one more request in flight, where the concurrency allows it."""
        with self._counting:
            free = self._at_once < self._concurrency
            self._at_once += free
            return free

    def _count(self, change: int) -> None:
        with self._counting:
            self._at_once += change

    def close(self) -> None:
        """End the connections and their thread."""
        if self._thread.is_alive():
            # Connections that outlive their loop complain of it when they are collected.
            with contextlib.suppress(TimeoutError, openai.OpenAIError):
                asyncio.run_coroutine_threadsafe(self._disconnect(), self._loop).result(timeout=5)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)

    def _settled(self, future: Future[dict[str, Any]]) -> dict[str, Any]:
        """A completion; when failures pile up, the end of this expert."""
        row = future.result()
        if row.get("error") is None or row["bounced"]:
            self._failures = 0
        else:
            self._failures += 1
            if self._failures >= _GIVE_UP_AFTER:
                raise ExpertUnavailable(f"{_GIVE_UP_AFTER} requests in a row failed, the last one so: {row['error']}")
        return row

    async def _complete(self, request: Request) -> dict[str, Any]:
        started = time.perf_counter()
        try:
            reply = await self._ask(request)
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise ExpertUnavailable(f"the API refuses the key: {_sentence(error)}") from error
        except openai.NotFoundError as error:
            raise ExpertUnavailable(f"the API does not know {self._expert.model!r}: {_sentence(error)}") from error
        except openai.BadRequestError as error:
            return failed(request, _sentence(error), bounced=_over_context(error))
        except openai.APITimeoutError:
            return failed(request, "the API did not answer in time")
        except openai.APIConnectionError as error:
            return failed(request, f"the API cannot be reached: {error.__cause__ or error}")
        except openai.APIError as error:
            if getattr(error, "code", None) == "insufficient_quota":
                raise ExpertUnavailable(_sentence(error)) from error
            return failed(request, _sentence(error))
        except (ValueError, TypeError, AttributeError) as error:
            return failed(request, f"the API's reply cannot be read: {error}")
        return _completion(request, reply, (time.perf_counter() - started) * 1e3)


Ask = Callable[[Request], Awaitable[Any]]
Disconnect = Callable[[], Coroutine[Any, Any, None]]


def _openai(expert: Expert) -> tuple[Ask, Disconnect]:
    """Ask through the openai client, which retries 429, 5xx and time-outs with backoff by itself."""
    options = expert.engine
    variable = expert.api_key_env or "OPENAI_API_KEY"
    client = openai.AsyncOpenAI(
        base_url=expert.base_url,
        # A server on this machine may want no key; the client wants one.
        api_key=os.environ.get(variable) or ("none" if expert.api_key_env is None else None),
        max_retries=int(options.get("max_retries", 6)),
        timeout=float(options.get("timeout", 120)),
    )

    refused: set[str] = set()  # parameters that this server or model does not take

    async def ask(request: Request) -> Any:
        form = {name: value for name, value in _form(request).items() if name not in refused}
        try:
            return await client.chat.completions.create(
                model=expert.model,
                messages=request.messages,
                max_tokens=request.max_tokens,
                temperature=request.temperature,
                extra_body=options.get("extra_body"),
                **form,
            )
        except openai.BadRequestError as error:
            blamed = {name for name in form if name in str(error)}
            if not blamed:
                raise
            refused.update(blamed)
            return await ask(request)

    return ask, client.close


def _form(request: Request) -> dict[str, Any]:
    """What the API is told of the form of an answer; the system text says it too, as not every server takes this."""
    if request.choices is not None:
        return {"logprobs": True, "top_logprobs": _TOP_LOGPROBS}
    if request.json_schema is not None:
        form = {"name": "answer", "schema": json.loads(request.json_schema)}
        return {"response_format": {"type": "json_schema", "json_schema": form}}
    return {}


def _any_llm(expert: Expert) -> tuple[Ask, Disconnect]:
    """Ask through any-llm-sdk, whose replies look like OpenAI's."""
    try:
        from any_llm import acompletion
    except ImportError as error:
        raise ExpertUnavailable("providers beside OpenAI need any-llm-sdk: pip install 'leeroo[any-llm]'") from error
    options = expert.engine
    key = os.environ.get(expert.api_key_env) if expert.api_key_env else None

    async def ask(request: Request) -> Any:
        return await acompletion(
            model=expert.model,
            provider=options["provider"],
            messages=request.messages,
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            api_key=key,
            api_base=expert.base_url,
        )

    async def disconnect() -> None:
        """It closes its connections itself."""

    return ask, disconnect


def _completion(request: Request, reply: Any, latency_ms: float) -> dict[str, Any]:
    """The completion of a reply; garbage is this row's error."""
    if not isinstance(reply, ChatCompletion) or not reply.choices or reply.choices[0].message is None:
        return failed(request, f"the API's reply holds no answer: {str(reply)[:80]!r}")
    answer = reply.choices[0].message.content
    reason = _FINISH.get(reply.choices[0].finish_reason)
    if answer is None or reason is None:
        return failed(request, f"the API gave no answer (finish reason {reply.choices[0].finish_reason!r})")
    if request.choices is not None:
        chosen = named(answer, request.choices)
        if chosen is None:
            return failed(request, f"the answer {answer[:80]!r} is none of the choices")
        answer = chosen
    usage = reply.usage
    return {
        "id": request.id,
        "choice_logprobs": _choice_logprobs(request.choices, reply.choices[0].logprobs) if request.choices else None,
        "answer": answer.strip(),
        # Some servers count nothing; four bytes a token is then the estimate.
        "prompt_tokens": usage.prompt_tokens
        if usage
        else _estimate("".join(message["content"] for message in request.messages)),
        "completion_tokens": usage.completion_tokens if usage else _estimate(answer),
        "latency_ms": latency_ms,
        "finish_reason": reason,
    }


def _choice_logprobs(choices: list[str], told: ChoiceLogprobs | None) -> list[float] | None:
    """The log probability of each choice, by its first token; None where that does not tell them apart."""
    if told is None or not told.content:
        return None
    chances = [0.0] * len(choices)
    for candidate in told.content[0].top_logprobs:
        begins = candidate.token.strip().casefold()
        fits = [i for i, choice in enumerate(choices) if begins and choice.casefold().startswith(begins)]
        if len(fits) > 1:
            return None
        for i in fits:
            chances[i] += math.exp(candidate.logprob)
    whole = sum(chances)
    return [math.log(chance / whole) if chance else -math.inf for chance in chances] if whole else None


def _estimate(text: str) -> int:
    return max(1, len(text.encode()) // 4)


def _over_context(error: openai.BadRequestError) -> bool:
    return error.code == "context_length_exceeded" or "context length" in str(error).casefold()


def _sentence(error: openai.APIError) -> str:
    """What the API said, in one line."""
    body = error.body if isinstance(error.body, dict) else {}
    said = str(body.get("message") or error.message).strip().splitlines()
    status = getattr(error, "status_code", None)
    return (f"{status}: " if status else "") + (said[0][:300] if said else type(error).__name__)
