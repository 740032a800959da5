"""The memory that models live in: that of the GPU where there is one, else the host's."""

from __future__ import annotations

import functools
import shutil
import subprocess
from typing import NamedTuple

import psutil

_MIB = 2**20


class Memory(NamedTuple):
    """In bytes; of several GPUs the first, since an engine that spans more takes the same of each."""

    free: int
    total: int


def memory() -> Memory:
    """How much there is and how much of it is free, now."""
    if on_host():
        host = psutil.virtual_memory()
        return Memory(host.available, host.total)
    free, total = _nvidia_smi()[0]
    return Memory(free * _MIB, total * _MIB)


@functools.cache
def on_host() -> bool:
    """Whether there is no GPU whose memory can be told."""
    return not _nvidia_smi()


def _nvidia_smi() -> list[tuple[int, int]]:
    """Free and total MiB of each GPU; a context of CUDA in this process would take memory of its own."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=memory.free,memory.total", "--format=csv,noheader,nounits"]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    lines = told.stdout.strip().splitlines() if told.returncode == 0 else []
    try:
        return [(int(free), int(total)) for free, total in (line.split(",") for line in lines)]
    except ValueError:  # a GPU that does not tell
        return []
