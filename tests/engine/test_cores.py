"""Local models use as many threads as other programs leave cores."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from leeroo.engine.process import cores
from leeroo.engine.process.cores import Cores

Clock = Callable[[float, float, float], None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let some seconds pass, in which cores were idle for some, and worked for this process for some."""
    now = [0.0, 0.0, 0.0]

    def go_on(*seconds: float) -> None:
        now[:] = [before + more for before, more in zip(now, seconds, strict=True)]

    monkeypatch.setattr(cores, "_read", lambda: cores._Reading(*now))
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return go_on


@pytest.mark.parametrize(
    ("idle", "own", "threads"),
    [
        (8, 0, 8),  # nothing runs
        (0, 8, 8),  # this process has them all
        (0, 7.1, 7),  # another program takes one from eight threads
        (1, 4, 5),
        (0, 2, 2),  # four processes of eight threads
        (0, 0.3, 1),  # never none
        (20, 0, 8),  # never more than wanted
    ],
)
def test_threads_are_cores_that_were_idle_or_its_own(clock: Clock, idle: float, own: float, threads: int) -> None:
    """What other programs took in the last moment is left to them."""
    counted = Cores()
    clock(1, idle, own)
    assert counted.share(8) == threads


def test_cores_are_counted_anew(clock: Clock) -> None:
    """When the other program has ended, its core is used, and not before there is enough to count."""
    counted = Cores()
    clock(0.3, 0, 0.3)
    assert counted.share(2) == 1
    clock(0.2, 0.4, 0)
    assert counted.share(2) == 1
    clock(0.2, 0.2, 0.2)
    assert counted.share(2) == 2


def test_cores_are_counted_sooner_after_a_long_time(clock: Clock) -> None:
    """A program that took a core while nothing was computed here may have ended long ago."""
    counted = Cores()
    clock(60, 60, 0)
    assert counted.share(2) == 1
    clock(0.05, 0.05, 0.05)
    assert counted.share(2) == 1
    clock(0.06, 0.06, 0.06)
    assert counted.share(2) == 2


def test_cores_are_counted_at_once_where_that_is_asked_for(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other programs took before does not count."""
    counted = Cores()
    clock(60, 0, 0)
    monkeypatch.setattr("time.sleep", lambda seconds: clock(seconds, 2 * seconds, 0))
    counted.count_anew()
    assert counted.share(2) == 2


def test_threads_change_where_a_library_has_replaced_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once vLLM is loaded on a CPU, `torch.set_num_threads` does nothing any more."""
    before = torch.get_num_threads()
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    try:
        for threads in (1, 2):
            monkeypatch.setattr(cores._CORES, "share", lambda _, threads=threads: threads)
            cores.use_idle_cores(2)
            assert torch.get_num_threads() == threads
    finally:
        torch._C.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="macOS binds no process to cores")
def test_cores_that_it_may_not_use_are_not_counted() -> None:
    """A process that is bound to one core has no second one, however idle the machine is."""
    code = """
import os, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from leeroo.engine.process.cores import Cores
counted = Cores()
time.sleep(0.5)
print(counted.share(8), counted._free <= 1.1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "True"]
