"""Identity: names for the engine of an expert, and for everything that makes its answers what they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from urllib.parse import urlsplit

from leeroo.engine.backends.api.endpoint import OPENAI
from leeroo.engine.backends.select import resolve
from leeroo.engine.pool import Expert

# Engine options that change how fast answers come. Any other is taken to change what they say.
_ONLY_SPEED = frozenset(
    {
        *("concurrency", "max_retries", "timeout", "tokens_per_second", "batch_size", "attn_implementation"),
        *("gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens", "tensor_parallel_size"),
        *("pipeline_parallel_size", "enable_prefix_caching", "enable_chunked_prefill", "enable_sleep_mode"),
        *("enforce_eager", "swap_space", "cpu_offload_gb", "block_size", "disable_log_stats"),
    }
)


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
