"""Embeddings of an API: texts go to `/embeddings` of any server with OpenAI's API, many in one request.

Limits, retries, secrets and bills are those of chats. A request that the server refuses for one of its texts is sent
again in halves, so that the others get their vectors.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import math
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import openai

from leeroo.engine.arrays import pack_vector
from leeroo.engine.backends.api.bills import Bill, estimate_tokens, read_usage
from leeroo.engine.backends.api.calls import Disconnect, call_through, client_of
from leeroo.engine.backends.api.endpoint import Endpoint
from leeroo.engine.backends.api.faults import Fault, storable
from leeroo.engine.backends.api.limits.pace import Pace
from leeroo.engine.backends.api.openai import OpenAIBackend
from leeroo.engine.backends.api.sender import Sender, Tries
from leeroo.engine.backends.completions import Request, failed_completion
from leeroo.engine.backends.options import OpenAIOptions
from leeroo.engine.errors import PoolError
from leeroo.engine.pool import Expert

# Texts of a request at most, and about how many tokens; providers take from 96 texts up, and 8,192 tokens of each.
_TEXTS, _TOKENS = 96, 64_000
# Statuses of refusals that one of the texts may have caused.
_OF_A_TEXT = (400, 413, 422)


class EmbeddingsBackend(OpenAIBackend):
    """A connection to one embedding model of one API. Raises as `OpenAIBackend`."""

    def __init__(self, expert: Expert) -> None:
        if "provider" in expert.engine:
            raise PoolError(
                f"expert {expert.name!r}: provider is for experts that answer;"
                " give the base_url of a server with OpenAI's API"
            )
        super().__init__(expert)

    @property
    def room(self) -> int:
        """How many more texts can leave now."""
        return _TEXTS * super().room

    def _connect(
        self, expert: Expert, options: OpenAIOptions, endpoint: Endpoint, pace: Pace
    ) -> tuple[Sender, Disconnect]:
        client = client_of(options, endpoint)
        call = call_through(functools.partial(_create, client, options), expert, options, endpoint)
        return EmbeddingsSender(expert, options, endpoint, call, pace), client.close

    def _start(self, waiting: list[Request]) -> Future[list[dict[str, Any]]]:
        """Send as many of the waiting texts as one request takes."""
        assert isinstance(self._sender, EmbeddingsSender)
        texts = _first_texts(waiting)
        del waiting[: len(texts)]
        return asyncio.run_coroutine_threadsafe(self._sender.embed(texts), self._loop)


def _create(client: openai.AsyncOpenAI, options: OpenAIOptions, sent: dict[str, Any], headers: dict[str, Any]) -> Any:
    body = {"encoding_format": "float", **sent, **options.extra_body}
    known = {"model": sent["model"], "input": sent["input"]}
    return client.embeddings.with_raw_response.create(**known, extra_body=body, extra_headers=headers)


def _first_texts(waiting: list[Request]) -> list[Request]:
    tokens = np.cumsum([estimate_tokens(request.prompt) for request in waiting[:_TEXTS]])
    return waiting[: max(1, int(np.searchsorted(tokens, _TOKENS, side="right")))]


class EmbeddingsSender(Sender):
    """Sends texts for their vectors; the completion of each holds its vector as text (`pack_vector`)."""

    def __init__(self, expert: Expert, *given: Any) -> None:
        super().__init__(expert, *given)
        self._dimensions = expert.dimensions

    async def embed(self, requests: list[Request]) -> list[dict[str, Any]]:
        """Send texts in one request until they have vectors, or a fault that does not pass; return the completions."""
        tries, bills = Tries(), [Bill(self._list_price) for _ in requests]
        while True:
            try:
                rows = await self._vectors(requests, bills)
            except Fault as fault:
                if len(requests) > 1 and fault.status in _OF_A_TEXT and not fault.ends:
                    return await self._in_halves(requests)
                for bill, request in list(zip(bills, requests, strict=True))[: 1 if fault.usage else None]:
                    bill.add_fault(fault, replace(request, max_tokens=0))  # one reply has one usage
                last = await self._before_next_try(fault, tries)
                if last is not None:
                    return self._fail_all(requests, last, bills)
            else:
                self._judge(None)
                return rows

    async def _in_halves(self, requests: list[Request]) -> list[dict[str, Any]]:
        middle = len(requests) // 2
        return await self.embed(requests[:middle]) + await self.embed(requests[middle:])

    def _fail_all(self, requests: list[Request], fault: Fault, bills: list[Bill]) -> list[dict[str, Any]]:
        fault.message = self._endpoint.redact(fault.message)
        self._judge(fault)
        bounced = fault.blames != "row"
        return [
            {**failed_completion(request, fault.message, bounced=bounced), **bill.columns}
            for request, bill in zip(requests, bills, strict=True)
        ]

    async def _vectors(self, requests: list[Request], bills: list[Bill]) -> list[dict[str, Any]]:
        texts = [storable(request.prompt) for request in requests]
        whole = replace(requests[0], prompt="".join(texts), max_tokens=0)  # for the pace, which counts tokens
        reply, latency_ms = await self._send_in_turn(whole, {"model": self._model, "input": texts})
        vectors = _read_vectors(reply, len(texts))
        self._add(bills, texts, reply)
        return [
            {**self._completion(request, vector), **bill.columns, "latency_ms": latency_ms}
            for request, vector, bill in zip(requests, vectors, bills, strict=True)
        ]

    def _completion(self, request: Request, vector: np.ndarray) -> dict[str, Any]:
        if self._dimensions is not None and len(vector) != self._dimensions:
            why = (
                f"the vector has {len(vector):,} numbers, and the pool file says {self._dimensions:,}:"
                f" set dimensions = {len(vector)}"
            )
            return failed_completion(request, why)
        return {"id": request.id, "answer": pack_vector(vector), "finish_reason": "stop"}

    def _add(self, bills: list[Bill], texts: list[str], reply: dict[str, Any]) -> None:
        """Divide the tokens that the reply reports among the texts, by their lengths."""
        reported = read_usage(reply.get("usage"))
        total = reported.whole_prompt_tokens or reported.total_tokens
        guesses = np.array([estimate_tokens(text) for text in texts], np.float64)
        shares = guesses if total is None else guesses * (total / guesses.sum())
        ends = np.round(np.cumsum(shares)).astype(int)
        for bill, tokens in zip(bills, np.diff(ends, prepend=0).tolist(), strict=True):
            bill.add_input(tokens, estimated=total is None)


def _read_vectors(reply: dict[str, Any], n: int) -> list[np.ndarray]:
    """Return the vectors of a reply, in the order of the texts.

    Raises:
        Fault: they are not there, or not all.

    """
    found: dict[int, np.ndarray] = {}
    data: list[Any] = given if isinstance(given := reply.get("data"), list) else []
    for at, item in enumerate(data):
        if isinstance(item, dict) and (vector := _vector(item.get("embedding"))) is not None:
            index = item.get("index")
            found[index if isinstance(index, int) and len(data) == n else at] = vector
    if sorted(found) != list(range(n)):
        said = f"{len(found)} vectors for {n} text{'s' * (n > 1)}"
        raise Fault(f"the API's reply has {said}", passes=True, unsure=True, usage=reply.get("usage"))
    return [found[at] for at in range(n)]


def _vector(given: Any) -> np.ndarray | None:
    """Return a vector from a list of numbers, or from base64 of float32 numbers; None for anything else."""
    try:
        if isinstance(given, str):
            vector = np.frombuffer(base64.b64decode(given, validate=True), "<f4")
        else:
            vector = np.asarray(given, np.float32)
    except (ValueError, TypeError, binascii.Error):
        return None
    fits = vector.ndim == 1 and len(vector) > 0 and math.isfinite(float(np.abs(vector).sum()))
    return vector if fits else None
