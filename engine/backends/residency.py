"""Residency: which engines are loaded, so that loads are few.

An engine is loaded when its wave comes, and stays while memory lasts. The next statement, the next batch, or the same
batch when it is chosen anew may need it. The memory it takes is what was measured, else what the pool file says, else
the size of its weights. Since the plan is known, the engine that is needed last gives up its memory first. On CUDA an
engine of vLLM sleeps instead of closing, with its weights on the host, unless waking has been slower than loading.

It knows nothing of rows, budgets or the order of waves.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psutil

from leeroo.engine import weights
from leeroo.engine.backends import device
from leeroo.engine.backends.identity import engine_key
from leeroo.engine.backends.protocol import Backend, Batching, Resident
from leeroo.engine.backends.select import capabilities, connect, resolve
from leeroo.engine.errors import ExpertUnavailable, Interrupted
from leeroo.engine.pool import Expert
from leeroo.engine.store.timings import Measured

_GIB = 2**30
# What a process takes besides the weights, in bytes: Python, its libraries, and a small KV cache.
_OVERHEAD = 1.5 * _GIB
# The share of a GPU's memory that vLLM takes: its own default.
_SHARE = 0.9
# How often a wave that waits for the device checks whether to go on, in seconds.
_CHECK_S = 0.2
# A wave with less than a quarter of the rows of the one at work does not wait for it.
_SMALLER = 4
# Where memory does not hold both models, the one at work first has the device for a minute, and for ten times as long
# as loading it again would take. What it has in flight is computed again each time, several seconds on a CPU: that
# stays below a tenth.
_HOLD_S, _LOADS = 60.0, 10.0


@dataclass
class _Held:
    expert: Expert
    backend: Backend | Batching
    asleep: bool = False
    users: int = 0  # waves that use it now
    dropped: bool = False  # it is closed when the last of them is done
    load_s: float = 0.0


@dataclass(eq=False)
class _Turn:
    """A wave in the queue for the device."""

    expert: Expert
    rows: Callable[[], int]  # how many it has left
    since: float | None = None  # when it got the device; None while it waits


class Engines:
    """The loaded engines, the one used last at the end; threads may share them.

    Args:
        measured: Returns what is known of an engine, by its key.
        opening: Loads an engine, unless the event is set meanwhile.
        alone: Each engine takes what the others need, wherever it runs.

    """

    def __init__(
        self,
        measured: Callable[[str], Measured],
        opening: Callable[[Expert, threading.Event | None], Backend | Batching] = connect,
        *,
        alone: bool = False,
    ) -> None:
        self._measured, self._opening, self._alone = measured, opening, alone
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._sleepless: set[str] = set()  # engines that load as fast as they wake
        self._turns = threading.Condition()
        self._queue: deque[_Turn] = deque()  # waves that wait for the device, and at most two that are at work on it
        self._alone_until = 0.0  # when another wave may go beside the one at work
        self._connecting = threading.Lock()  # held while an engine that holds no memory is opened
        self._counting = threading.Lock()

    @contextlib.contextmanager
    def lend(
        self,
        expert: Expert,
        later: Sequence[Expert] = (),
        stop: threading.Event | None = None,
        rows: Callable[[], int] = int,
    ) -> Iterator[Backend | Batching]:
        """Lend the engine of an expert to one wave; waves whose models hold memory of this device take turns.

        A far smaller wave than the one at work goes beside it, where its model is loaded or memory suffices: through
        the same engine, where its rows come first, or through one of its own. An engine that breaks
        (`ExpertUnavailable` in here) is closed when its last wave is done.

        Args:
            expert: The expert of the wave.
            later: The experts of the waves after it, the next first.
            stop: Ends the wait for the device, or the loading, when it is set.
            rows: Returns how many rows the wave has left; with none it goes beside no other.

        Raises:
            ExpertUnavailable: it does not start, or needs more memory than there is.
            Interrupted: `stop` was set before it was there.

        """
        with self._turn(_Turn(expert, rows), stop) if capabilities(expert).holds_memory else contextlib.nullcontext():
            with contextlib.nullcontext() if capabilities(expert).holds_memory else self._connecting:
                held = self._get(expert, later, stop)
                self._count(held, 1)
            with self._turns:
                self._turns.notify_all()  # smaller waves may come beside a model that is loaded
            try:
                yield held.backend
            except ExpertUnavailable:
                self.drop(expert)
                raise
            finally:
                self._count(held, -1)

    def _get(self, expert: Expert, later: Sequence[Expert], stop: threading.Event | None) -> _Held:
        key = engine_key(expert)
        if not self.is_loaded(expert):
            self._make_room(expert, [engine_key(e) for e in later])
            if key in self._held:
                self._wake(key)
            else:
                began = time.monotonic()
                self._held[key] = _Held(expert, self._opening(expert, stop))
                self._held[key].load_s = time.monotonic() - began
        self._held.move_to_end(key)
        return self._held[key]

    @contextlib.contextmanager
    def _turn(self, turn: _Turn, stop: threading.Event | None) -> Iterator[None]:
        """Wait in the queue until no wave is at work, or one that this one may go beside."""
        with self._turns:
            self._queue.append(turn)
        try:
            with self._turns:
                while not self._may_begin(turn):
                    self._turns.wait(_CHECK_S)
                    if stop is not None and stop.is_set():
                        raise Interrupted
                turn.since = time.monotonic()
            yield
        finally:
            with self._turns:
                self._queue.remove(turn)
                if turn.since is not None and any(turn.since > (each.since or 0.0) for each in self._at_work()):
                    # What it was beside goes on for as long as it may have rested.
                    self._alone_until = 2 * time.monotonic() - turn.since
                self._turns.notify_all()

    def _at_work(self) -> list[_Turn]:
        return [turn for turn in self._queue if turn.since is not None]

    def _waiting(self) -> list[_Turn]:
        return [turn for turn in self._queue if turn.since is None]

    def _may_begin(self, turn: _Turn) -> bool:
        """Return whether a wave is the first of those that wait, or of those that may go beside the one at work."""
        at_work, waiting = self._at_work(), self._waiting()
        if at_work and time.monotonic() < self._alone_until:
            return False
        if len(at_work) == 1:
            waiting = [each for each in waiting if self._fits_beside(each, at_work[0])]
        return len(at_work) < 2 and waiting[:1] == [turn]

    def _fits_beside(self, turn: _Turn, other: _Turn) -> bool:
        """Return whether a wave may go beside one at work: it is far smaller, and both models find memory.

        Waves of a cluster have much in flight, and keep their turn. An engine that starts on a GPU measures its memory,
        and nothing else may be at work on it then.
        """
        if self._alone or not self.is_loaded(other.expert) or not _is_far_smaller(turn, other):
            return False
        if self.is_loaded(turn.expert):
            return True
        return device.on_host() and self._need(turn.expert) <= device.memory().free

    def is_wanted(self, expert: Expert) -> bool:
        """Return whether the wave of this expert, which has the device, should let a far smaller one go first.

        This is for two models that memory does not hold both. The caller leaves `lend` and waits for its next turn.
        What it has in flight is computed again then, so waves of the same size never take the device from each other,
        and those of a cluster, which have much in flight, never.
        """
        if self._alone or not capabilities(expert).holds_memory:
            return False
        with self._turns:
            at_work, waiting = self._at_work(), self._waiting()
            if len(at_work) > 1 or not waiting or self._fits_beside(waiting[0], at_work[0]):
                return False
            mine, other = at_work[0], waiting[0]
        held = self._held.get(engine_key(expert))
        # It stays long enough to make loading it again a small part of its time.
        reload_s = 0.0 if held is None else held.load_s
        if mine.since is None or time.monotonic() - mine.since < max(_HOLD_S, _LOADS * reload_s):
            return False
        return _is_far_smaller(other, mine)

    def is_loaded(self, expert: Expert) -> bool:
        """Return whether the engine of this expert is loaded, and awake."""
        held = self._held.get(engine_key(expert))
        return held is not None and not held.asleep

    def memory_bytes(self, expert: Expert) -> int | None:
        """Return the most of the device's memory that the loaded engine of this expert was seen to take."""
        held = self._held.get(engine_key(expert))  # None where another wave has found it broken
        return held.backend.memory_bytes if held is not None and isinstance(held.backend, Resident) else None

    def drop(self, expert: Expert) -> None:
        """Close the engine of this expert, if it is loaded: it is broken, or its memory is needed."""
        held = self._held.pop(engine_key(expert), None)
        if held is not None:
            self._count(held, 0, dropped=True)

    def _count(self, held: _Held, change: int, *, dropped: bool = False) -> None:
        """Count the waves that use an engine; a dropped one is closed with its last."""
        with self._counting:
            held.users += change
            held.dropped = held.dropped or dropped
            unused = held.dropped and held.users == 0
        if unused:
            held.backend.close()

    def close(self) -> None:
        """Close all engines."""
        for held in list(self._held.values()):
            self.drop(held.expert)

    def _make_room(self, expert: Expert, later: list[str]) -> None:
        """Put engines away, those that are needed last first, until this expert's fits."""
        if not capabilities(expert).holds_memory:
            return
        need, total = self._need(expert), device.memory().total
        if need > total and not self._alone:
            raise ExpertUnavailable(
                f"{expert.model} needs about {need / _GIB:.1f} GiB of memory and there are {total / _GIB:.1f};"
                " give a smaller model, or memory_gib in the pool file if it needs less"
            )
        others = [
            key
            for key, held in list(self._held.items())
            if capabilities(held.expert).holds_memory and not held.asleep and not held.users
        ]
        # First those not needed any more, longest unused first; then from the last that is needed to the next.
        others.sort(key=lambda key: -later.index(key) if key in later else -len(later))
        for key in others:
            if not self._alone and need <= device.memory().free:
                break
            self._put_away(key)

    def _need(self, expert: Expert) -> float:
        """Return the memory that the engine of an expert takes, in bytes."""
        if resolve(expert) == "vllm" and not device.on_host():  # it takes its share, whatever the model
            total = device.memory().total
            wanted = expert.memory_gib * _GIB if expert.memory_gib else _SHARE * total
            return float(expert.engine.get("gpu_memory_utilization", wanted / total)) * total
        measured = self._measured(engine_key(expert)).memory_bytes
        if measured is not None:
            return measured
        return expert.memory_gib * _GIB if expert.memory_gib else _weights(expert) + _OVERHEAD

    def _put_away(self, key: str) -> None:
        """Put an engine to sleep where that pays, else close it."""
        held = self._held[key]
        fits_host = psutil.virtual_memory().available > _weights(held.expert) + _OVERHEAD
        if fits_host and not device.on_host() and key not in self._sleepless and isinstance(held.backend, Resident):
            held.asleep = held.backend.sleep()
        if not held.asleep:
            self.drop(held.expert)

    def _wake(self, key: str) -> None:
        held = self._held[key]
        assert isinstance(held.backend, Resident)
        began = time.monotonic()
        held.backend.wake()
        held.asleep = False
        load_s = self._measured(key).load_s
        if load_s is not None and time.monotonic() - began > load_s:
            self._sleepless.add(key)


def _is_far_smaller(one: _Turn, other: _Turn) -> bool:
    return 0 < _SMALLER * one.rows() < other.rows()


def _weights(expert: Expert) -> int:
    """Return the bytes of an expert's weights, 0 where they are not known."""
    return weights.size(expert.model, expert.engine.get("revision")) or 0
