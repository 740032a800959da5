"""The identity of experts: which of them share an engine, and what makes their answers what they are.

Both names are hashes, because they are kept on disk: addresses and engine options may hold secrets.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from urllib.parse import urlsplit

from leeroo.engine.backends.api.endpoint import OPENAI
from leeroo.engine.backends.select import capabilities, resolve
from leeroo.engine.pool import Expert

# Engine options that change how fast answers come. Any other is taken to change the answers.
_ONLY_SPEED = frozenset(
    {
        *("headers", "organization", "project", "proxy", "ca_file"),
        *("concurrency", "requests_per_minute", "tokens_per_minute", "max_retries", "timeout", "poll_interval"),
        *("context_tokens", "tokens_per_second", "batch_size", "attn_implementation"),
        *("gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens", "tensor_parallel_size"),
        *("pipeline_parallel_size", "enable_prefix_caching", "enable_chunked_prefill", "enable_sleep_mode"),
        *("max_loras", "max_cpu_loras", "max_lora_rank", "enable_lora", "speculative_config"),
        *("enforce_eager", "swap_space", "cpu_offload_gb", "block_size", "disable_log_stats"),
    }
)


def engine_key(expert: Expert) -> str:
    """Return a name for the engine of an expert; experts with the same name share it."""
    return _hash(
        [
            *(resolve(expert), expert.model, _base_url(expert), expert.api_key_env, _recorded_name(expert)),
            expert.engine,
            *expert.adapters,
            *_kind(expert),
        ]
    )


def fingerprint(expert: Expert) -> str:
    """Return a hash of everything that makes an expert's answers what they are, but the limits of each request."""
    return _hash(
        {
            "backend": resolve(expert),
            "model": _identity(expert.model),
            "expert": _recorded_name(expert),
            "base_url": _without_password(_base_url(expert)),
            "system": expert.system,
            "template": expert.template,
            "engine": {name: value for name, value in expert.engine.items() if name not in _ONLY_SPEED},
            **({} if expert.effort is None else {"effort": expert.effort}),
            **({} if expert.adapter is None else {"adapter": _identity(expert.adapter)}),
            **dict.fromkeys(_kind(expert)),
        }
    )


def _kind(expert: Expert) -> tuple[str, ...]:
    """Return the kind of an expert that embeds: the same model may answer, too."""
    return () if expert.kind == "answer" else (expert.kind,)


def _recorded_name(expert: Expert) -> str | None:
    """Return the name under which an expert's outcomes are recorded, None where its model generates."""
    return expert.name if capabilities(expert).recorded else None


def _base_url(expert: Expert) -> str | None:
    """Return the address of an expert's API, None where it needs none or its provider has its own."""
    needs_one = capabilities(expert).runs_elsewhere and "provider" not in expert.engine
    return expert.base_url or (OPENAI if needs_one else None)


def _without_password(url: str | None) -> str | None:
    """Return an address without user and password: the same server gives the same answers to all users."""
    if url is None:
        return None
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def _identity(model: str) -> object:
    """Return a model's name; for one on disk also its files, so that a changed one is another model."""
    path = Path(model)
    if not path.exists():
        return model
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [model, [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]]


def _hash(parts: object) -> str:
    """Return the SHA-256 of some JSON, in hex."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
