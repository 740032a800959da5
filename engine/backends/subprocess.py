"""A backend in a worker process, whose memory returns when it ends, and whose death costs one wave.

Both sides send pickled messages over a pair of sockets. Every call of the backend is a stream with a number, which its
messages bear. A stream that is begun while another is answered goes first: the other rests between two steps, with all
that it has in flight. A stream ends by itself or by 'stop'; what still comes of it then is dropped.
A worker ends with the process that started it, and takes along the processes that it has started itself.

This module knows nothing of the backend in the worker; `worker` is the other side.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import re
import signal
import subprocess
import threading
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import psutil
import pyarrow as pa

from leeroo.engine.backends import device
from leeroo.engine.backends.protocol import AMPLE, NOTHING
from leeroo.engine.backends.workers.launch import launch
from leeroo.engine.errors import ExpertUnavailable, Interrupted, LeerooError
from leeroo.engine.pool import Expert

# How often each side checks that the other is still there, in seconds.
CHECK_S = 0.2
# How long a process may take to end by itself, in seconds.
_END_S = 10
_KILLED = "its process was killed, as happens when memory runs out; it needs more, or a smaller model or context"
# An exception as it is printed, with or without what a logger writes before it.
_PRINTED = re.compile(r"^(?:\(.*\] )?([\w.]+(?:Error|Exception): .{1,400})", re.MULTILINE)


class Message(NamedTuple):
    """A message from one side to the other.

    Attributes:
        stream: The number of the call that it belongs to.
        kind: To the worker the calls 'open', 'generate', 'sleep' and 'wake', and 'requests' and 'stop' for a stream.
            From the worker 'more' (requests are wanted), 'completions', 'done' and 'failed'.
        value: The expert of 'open', a batch, a result or an error; requests without a batch are the end of them.
    """

    stream: int
    kind: str
    value: Any = None


class SubprocessBackend:
    """A loaded model in a worker process.

    Args:
        expert: The expert whose model it is.
        kind: The kind of backend that loads it.
        stop: Ends the loading when it is set.

    Attributes:
        memory_bytes: The most of the device's memory that it was seen to use so far.

    Raises:
        ExpertUnavailable: it does not start.
        Interrupted: `stop` was set while it was loading.
        PoolError: an unknown engine option, or no such model.
    """

    room = AMPLE  # requests wait here at no cost

    def __init__(self, expert: Expert, kind: str, stop: threading.Event | None = None) -> None:
        self._model = expert.model
        free = device.memory().free
        self._process, self._connection, self._output = launch(kind)
        self._streams = itertools.count(1)
        # Threads of their own write and read, so that nothing interrupts them in the middle of a message.
        # None is the end: of what is to be sent, or of what comes.
        self._outbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._inboxes: dict[int, queue.SimpleQueue[Message | None]] = {}  # by stream
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._send, self._read)]
        for thread in self._threads:
            thread.start()
        try:
            self._call("open", expert, stop)
        except BaseException:
            self.close()
            raise
        self.memory_bytes = self._in_use() if device.on_host() else max(free - device.memory().free, 0)

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """Answer a stream of requests; one that another thread has under way rests meanwhile."""
        with self._begin("generate") as stream:
            while (message := self._receive(stream)) is None or message.kind != "done":
                if message is None:
                    yield NOTHING
                elif message.kind == "more":
                    self._outbox.put(Message(stream, "requests", next(requests, None)))
                else:
                    yield message.value
            if device.on_host():
                self.memory_bytes = max(self.memory_bytes, self._in_use())

    def sleep(self) -> bool:
        """Give the device's memory back and keep the weights on the host; False where that cannot be done."""
        return bool(self._call("sleep"))

    def wake(self) -> None:
        """Take the device's memory again.

        Raises:
            ExpertUnavailable: there is not enough.

        """
        self._call("wake")

    def close(self) -> None:
        """End the process, and wait until its memory is back."""
        family = self._family()
        self._outbox.put(None)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        kill(family)
        for thread in self._threads:
            thread.join(_END_S)
        # Closed under a thread that still uses it, its number could be that of the next process's socket.
        if not any(thread.is_alive() for thread in self._threads):
            self._connection.close()
        self._output.close()

    @contextlib.contextmanager
    def _begin(self, kind: str, value: object = None) -> Iterator[int]:
        """Begin a stream, which ends with the block; yield its number."""
        stream = next(self._streams)
        self._inboxes[stream] = queue.SimpleQueue()
        try:
            self._outbox.put(Message(stream, kind, value))
            yield stream
        finally:
            self._outbox.put(Message(stream, "stop"))
            del self._inboxes[stream]

    def _call(self, kind: str, value: object = None, stop: threading.Event | None = None) -> Any:
        """Make a call that has one result, and return it."""
        with self._begin(kind, value) as stream:
            while (message := self._receive(stream)) is None:
                if stop is not None and stop.is_set():
                    raise Interrupted
            return message.value

    def _receive(self, stream: int) -> Message | None:
        """Return the next message of a stream, None when none comes for a moment.

        Raises:
            ExpertUnavailable: the process has ended.
            LeerooError: the call failed.

        """
        inbox = self._inboxes[stream]
        try:
            message = inbox.get(timeout=CHECK_S)
        except queue.Empty:
            if self._process.poll() is None or not inbox.empty():
                return None
            message = None  # a process that it started may hold the socket open
        if message is None:
            raise ExpertUnavailable(self._why_it_ended())
        if message.kind == "failed":
            raise self._explain(message.value)
        return message

    def _send(self) -> None:
        with contextlib.suppress(OSError):  # a worker that is gone shows in what does not come back
            for message in iter(self._outbox.get, None):
                self._connection.send(message)
            self._connection.send(None)

    def _read(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                message = self._connection.recv()
                if (inbox := self._inboxes.get(message.stream)) is not None:
                    inbox.put(message)
        for inbox in list(self._inboxes.values()):
            inbox.put(None)

    def _explain(self, error: LeerooError) -> LeerooError:
        """Return an error with its cause where it only refers to what was printed."""
        if "root cause" not in str(error):
            return error
        # When one of vLLM's processes is killed, the others only report that they were cancelled.
        printed = [line for line in _PRINTED.findall(self._read_printed()) if not line.endswith(": cancelled")]
        return type(error)(f"{str(error).split(': ')[0]}: {printed[0] if printed else _KILLED}")

    def _read_printed(self) -> str:
        self._output.seek(0)
        return self._output.read().decode(errors="replace")

    def _why_it_ended(self) -> str:
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return f"{self._model} broke: {_KILLED}"
        lines = self._read_printed().strip().splitlines() or ["it said nothing"]
        return f"{self._model} broke, its process ended with code {code}: {lines[-1]}"

    def _in_use(self) -> int:
        """Return the bytes of memory that the process holds, and those that it has started.

        Weights that several processes have mapped are divided among them, where the system says how many these are.
        """
        held = 0
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                memory = process.memory_full_info()
                held += getattr(memory, "pss", memory.uss)
        return held

    def _family(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self._process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.Error:
            return []


def kill(processes: list[psutil.Process]) -> None:
    """Kill these processes, and wait until they are gone."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, _END_S)
