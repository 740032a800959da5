"""The memory that models are loaded into: that of the GPU where there is one, else the host's."""

from __future__ import annotations

import functools
import shutil
import subprocess
from typing import NamedTuple

import psutil

_MIB = 2**20


class Memory(NamedTuple):
    """Memory in bytes; that of the first of several GPUs, since an engine that spans more takes the same of each."""

    free: int
    total: int


def memory() -> Memory:
    """Return how much memory there is and how much of it is free, now."""
    if on_host():
        host = psutil.virtual_memory()
        return Memory(host.available, host.total)
    free, total = _nvidia_smi()[0]
    return Memory(free * _MIB, total * _MIB)


@functools.cache
def on_host() -> bool:
    """Return whether models are loaded on the host: no GPU here reports its memory."""
    return not _nvidia_smi()


def _nvidia_smi() -> list[tuple[int, int]]:
    """Return free and total MiB of each GPU; a CUDA context in this process would take memory of its own."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=memory.free,memory.total", "--format=csv,noheader,nounits"]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    lines = result.stdout.strip().splitlines() if result.returncode == 0 else []
    try:
        return [(int(free), int(total)) for free, total in (line.split(",") for line in lines)]
    except ValueError:  # a GPU that does not report its memory
        return []
