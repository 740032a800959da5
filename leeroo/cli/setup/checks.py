"""What `leeroo doctor` looks at. No check loads a model, sends a key, or writes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from leeroo import __version__
from leeroo.cli.setup.providers import providers
from leeroo.engine import weights
from leeroo.engine.backends.api.endpoint import endpoint_of
from leeroo.engine.backends.select import capabilities, unavailable
from leeroo.engine.errors import PoolError
from leeroo.engine.paths import default_store
from leeroo.engine.pool import Expert

_GIB = 2**30
# A host that takes longer to answer than this, in seconds, counts as out of reach.
_PATIENCE_S = 3.0
_HUB = "https://huggingface.co"
_PROXY = "export HTTPS_PROXY=http://HOST:PORT  (where the network has a proxy)"
# Extras, what each is for, and packages by which it is known.
_EXTRAS = (
    ("local", "models on this machine, and training", ("torch", "transformers", "sentence_transformers", "sklearn")),
    ("api", "models of providers", ("openai", "aiolimiter")),
    ("gpu", "fast models on a GPU", ("vllm",)),
    ("serve", "the HTTP server", ("fastapi", "uvicorn", "jinja2", "structlog")),
)

# Other packages of these extras that code imports where it needs them.
_OTHERS = {
    "local": ("accelerate", "gguf", "huggingface_hub", "llguidance", "model2vec", "peft", "safetensors", "scipy"),
    "api": ("any_llm",),
    "serve": ("prometheus_client", "python_multipart"),
}


class Check(NamedTuple):
    """One finding.

    Attributes:
        name: What was looked at.
        state: 'no' where something is missing that people may want; 'info' for what is neither good nor bad.
        found: What was found.
        mend: The command that would mend it, None where there is none.
    """

    name: str
    state: Literal["ok", "no", "info"]
    found: str
    mend: str | None = None


def check_machine() -> list[Check]:
    """Look at versions, cores, memory and GPUs."""
    version = f"{__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    memory = psutil.virtual_memory()
    cores = f"{os.cpu_count()} cores, {memory.total / _GIB:.0f} GiB of memory, {memory.available / _GIB:.0f} GiB free"
    gpus = _gpus()
    found = "; ".join(gpus) if gpus else "none: local models run on the CPU"
    return [
        Check("Leeroo", "ok", version),
        Check("machine", "ok", cores),
        Check("GPU", "ok" if gpus else "info", found),
    ]


def _gpus() -> list[str]:
    """Return name and memory of each GPU that vLLM can run on."""
    if shutil.which("nvidia-smi") is not None:
        command = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip():
            return [f"{line.strip()} free" for line in done.stdout.strip().splitlines()]
    return ["AMD (ROCm)"] if Path("/dev/kfd").exists() else []


def extra_of(package: str | None) -> str | None:
    """Return the extra that installs a package, None where none does."""
    name = (package or "").split(".")[0]
    return next((extra for extra, _, known in _EXTRAS if name in (*known, *_OTHERS.get(extra, ()))), None)


def check_extras(*, gpu: bool) -> list[Check]:
    """Look for the packages of each extra; those for GPUs are missed only where there is one."""
    checks = []
    for extra, use, modules in _EXTRAS:
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        if not missing:
            checks.append(Check(f"extra {extra}", "ok", f"installed: {use}"))
        elif extra == "gpu" and not gpu:
            checks.append(Check(f"extra {extra}", "info", "not installed, and there is no GPU to use it"))
        else:
            found = f"not installed ({', '.join(missing)}): {use}"
            checks.append(Check(f"extra {extra}", "no", found, f"{_pip()} install 'leeroo[{extra}]'"))
    return checks


def _pip() -> str:
    """Return the command that installs into this environment."""
    return "pip" if importlib.util.find_spec("pip") is not None else "uv pip"


def check_embedded(model: str, *, hub: bool | None) -> Check:
    """Look for the files of the embedded model.

    Args:
        model: Its name.
        hub: Whether the hub can be reached, None where it was not tried.
    """
    if weights.is_here(model):
        return Check("embedded model", "ok", f"{model} is on this machine")
    if hub:
        return Check("embedded model", "info", f"{model} is fetched from the hub when it is first used")
    return Check("embedded model", "no", f"{model} is not on this machine", weights.how_to_install(model))


def check_keys(experts: Iterable[Expert]) -> Check:
    """Look which API keys are set, by their names: those of known providers and of a pool."""
    names = dict.fromkeys([*(e.api_key_env for e in experts if e.api_key_env), *(p.key for p in providers().values())])
    found = [name for name in names if os.environ.get(name, "").strip()]
    if found:
        return Check("API keys", "ok", f"set: {', '.join(found)}")
    first = next(iter(names))
    return Check("API keys", "info", "none is set: models of providers cannot answer", f"export {first}=...")


def check_store(store: Path | None) -> Check:
    """Look whether the answer store can be written, and how much room there is for it."""
    folder = store or default_store()
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Check("answer store", "no", f"{folder} cannot be written", "export LEEROO_STORE=FOLDER")
    free = shutil.disk_usage(there).free
    if free < _GIB:
        found = f"{folder}, only {free / 2**20:,.0f} MiB free"
        return Check("answer store", "no", found, "leeroo store prune --older-than 90")
    return Check("answer store", "ok", f"{folder}, {free / _GIB:.0f} GiB free")


def check_hub() -> Check:
    """Try to reach the hub that weights are fetched from, unless the environment forbids it."""
    if os.environ.get("HF_HUB_OFFLINE") not in (None, "", "0"):
        return Check("hub", "info", "HF_HUB_OFFLINE forbids to fetch models", "unset HF_HUB_OFFLINE")
    url = os.environ.get("HF_ENDPOINT") or _HUB
    return check_servers({url: "hub"})[url]


def check_servers(servers: Mapping[str, str]) -> dict[str, Check]:
    """Try to reach servers, all at the same time; each gets one request without a key.

    Args:
        servers: Names by address.

    Returns:
        What was found, by address.
    """
    with ThreadPoolExecutor(max(len(servers), 1)) as pool:
        faults = list(pool.map(_fault, servers))
    return {
        url: Check(name, "ok", f"{url} answers") if fault is None else Check(name, "no", f"{url} {fault}", _PROXY)
        for (url, name), fault in zip(servers.items(), faults, strict=True)
    }


def servers_of(experts: Iterable[Expert]) -> dict[str, str]:
    """Return the addresses that rows of experts go to, each with the name of its first expert."""
    found: dict[str, str] = {}
    for expert in experts:
        if capabilities(expert).runs_elsewhere:
            with contextlib.suppress(PoolError):  # the list of experts says what is wrong with it
                found.setdefault(endpoint_of(expert).url, f"server of {expert.name}")
    return {url: name for url, name in found.items() if url}  # any-llm-sdk knows other addresses


def why_not(expert: Expert, hub: Check | None, servers: Mapping[str, Check]) -> str | None:
    """Return why an expert cannot answer now, None where it can.

    Args:
        expert: The expert.
        hub: What was found of the hub, None where nobody looked.
        servers: What was found of servers, by address.
    """
    if (lacks := unavailable(expert)) is not None:
        return lacks
    if capabilities(expert).runs_elsewhere:
        server = servers.get(endpoint_of(expert).url)
        return None if server is None or server.state == "ok" else server.found
    if (
        capabilities(expert).holds_memory
        and hub is not None
        and hub.state == "no"
        and not weights.is_here(expert.model)
    ):
        return f"the model {expert.model!r} is not on this machine, and the hub cannot be reached"
    return None


def _fault(url: str) -> str | None:
    """Return why a server cannot be reached, None where it answers anything."""
    try:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": f"leeroo/{__version__}"})
        urllib.request.urlopen(request, timeout=_PATIENCE_S).close()
    except urllib.error.HTTPError:
        return None  # it asks for a key, or has no page there
    except (OSError, ValueError) as error:
        return f"cannot be reached: {getattr(error, 'reason', None) or error}"
    return None
