"""Cores that other programs leave to this process, counted anew while models compute.

The threads of an operation wait for each other. Beside another program the slowest of them decides, and those that wait
keep their cores busy, so that a model with a thread for every core takes many times as long. With as many threads as
there are idle cores, nobody waits.
"""

from __future__ import annotations

import os
import threading
import time
from typing import NamedTuple

import psutil

# How often cores are counted, in seconds: the system's clock of idle cores has steps of 0.01.
_EVERY_S = 0.25
# How soon after a longer time, in seconds: other programs may have ended since, or begun. In less than this, the steps
# of the clock would matter.
_SOON_S = 0.1
# How much of a core others may take before it counts as theirs: there is always some work of the system.
_OTHERS = 0.25


class _Reading(NamedTuple):
    """Seconds until now: by the clock, of cores without work, and of cores that worked for this process."""

    clock: float
    idle: float
    own: float


class Cores:
    """The cores that this process had to itself, or could have had, since they were last counted."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._before = _read()
        self._due = self._before.clock + _EVERY_S
        self._free = float("inf")  # until there is something to count

    def share(self, most: int) -> int:
        """Return how many threads find a core each, from 1 to `most`."""
        with self._turn:
            if time.monotonic() > self._due:
                self._count()
        return max(1, int(min(self._free + _OTHERS, most)))

    def count_anew(self) -> None:
        """Take a moment to count what is idle now, whatever was before: what follows may take seconds."""
        with self._turn:
            self._before = _read()
            time.sleep(_SOON_S)
            self._count()

    def _count(self) -> None:
        now = _read()
        passed, idle, own = (after - before for after, before in zip(now, self._before, strict=True))
        self._before, self._free = now, (idle + own) / passed
        self._due = now.clock + (_EVERY_S if passed < 2 * _EVERY_S else _SOON_S)


def _read() -> _Reading:
    times = psutil.cpu_times(percpu=True)
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {*range(len(times))}
    if max(usable) < len(times):  # else these are a container's own numbers, and all are its cores
        times = [times[core] for core in usable]
    idle = sum(core.idle + getattr(core, "iowait", 0.0) for core in times)
    return _Reading(time.monotonic(), idle, time.process_time())


_CORES = Cores()
count_anew = _CORES.count_anew


def use_idle_cores(most: int, parts: int = 1) -> None:
    """Let torch compute with as many threads as find a core each, in operations that this thread starts from now on.

    Args:
        most: As many as there are cores, or as the user allows.
        parts: How many operations run side by side, and share these cores.
    """
    import torch

    threads = max(1, _CORES.share(most) // parts)
    if threads != torch.get_num_threads():
        torch._C.set_num_threads(threads)  # vLLM replaces `torch.set_num_threads` by a function that does nothing
