"""Embeddings by vLLM: its pooling models, on CUDA and on CPU. Texts go to the engine in batches, ordered by it."""

from __future__ import annotations

import gc
import time
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from leeroo.engine.arrays import pack_vector
from leeroo.engine.backends.completions import (
    Request,
    completion_batch,
    failed_completion,
    requests_of,
    too_long_completion,
)
from leeroo.engine.backends.local.vllm import defaults, find_model, first_cause, load_llm, set_environment
from leeroo.engine.backends.protocol import AMPLE
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert

# Options of engines that generate.
_OF_GENERATION = ("enable_prefix_caching", "logprobs_mode", "max_logprobs", "enable_sleep_mode")


class PoolingBackend:
    """One vLLM engine with a model that embeds.

    Raises:
        ExpertUnavailable: it does not start.
        PoolError: an unknown engine option, or no such model.
    """

    room = AMPLE  # it orders requests, which cost nothing

    def __init__(self, expert: Expert) -> None:
        set_environment()
        folder = find_model(expert)
        usual = {name: value for name, value in defaults().items() if name not in _OF_GENERATION}
        given = {**usual, "runner": "pooling", **expert.engine, "model": str(folder)}
        self._llm: Any = load_llm(expert, given)
        self._tokenizer: Any = self._llm.get_tokenizer()
        self._context = int(self._llm.llm_engine.vllm_config.model_config.max_model_len)

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """Embed a stream of texts, a batch at a time; nothing is in flight between two batches."""
        for batch in requests:
            yield completion_batch(self._embed(requests_of(batch)))

    def _embed(self, requests: list[Request]) -> list[dict[str, Any]]:
        if not requests:
            return []
        tokens = self._tokenizer([request.prompt for request in requests])["input_ids"]
        lengths = [len(ids) for ids in tokens]
        fits = [at for at, length in enumerate(lengths) if length <= self._context]
        done = [
            too_long_completion(request, length, self._context)
            for request, length in zip(requests, lengths, strict=True)
            if length > self._context
        ]
        began = time.perf_counter()
        outputs = self._run([tokens[at] for at in fits])
        latency_ms = (time.perf_counter() - began) * 1e3
        for at, output in zip(fits, outputs, strict=True):
            row = {"prompt_tokens": lengths[at], "completion_tokens": 0, "latency_ms": latency_ms}
            done.append({**row, **_completion(requests[at], np.asarray(output.outputs.embedding, np.float32))})
        return done

    def _run(self, tokens: list[list[int]]) -> list[Any]:
        try:
            prompts = [{"prompt_token_ids": ids} for ids in tokens]
            return list(self._llm.embed(prompts, use_tqdm=False)) if prompts else []
        except Exception as error:
            raise ExpertUnavailable(f"the vLLM engine broke: {first_cause(error)}") from error

    def close(self) -> None:
        """End the engine and free what it held."""
        if self._llm is not None:
            self._llm.llm_engine.engine_core.shutdown()
            self._llm = self._tokenizer = None
            gc.collect()


def _completion(request: Request, vector: np.ndarray) -> dict[str, Any]:
    if not np.isfinite(vector).all():
        return failed_completion(request, "the model gives no finite vector for this text")
    return {"id": request.id, "answer": pack_vector(vector), "finish_reason": "stop"}
