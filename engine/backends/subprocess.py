"""Apart: a backend in a process of its own, whose memory returns when it ends, and whose death costs one wave.

The process asks for requests when it has room, and hands on completions when it has some, over a pair of sockets; what
is said are pickled pairs of a word and what belongs to it. It ends with the process that started it, whatever ends
that, and takes along those that it has started itself.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from leeroo.engine.backends.local import device
from leeroo.engine.backends.protocol import AMPLE, Backend
from leeroo.engine.backends.select import load_backend
from leeroo.engine.errors import ExpertUnavailable, Interrupted, LeerooError
from leeroo.engine.pool import Expert
from leeroo.engine.schema import COMPLETIONS

# How often it is looked whether the other side is still there, and whether to go on.
_LOOK_S = 0.2
# How long a process may take to end by itself.
_END_S = 10
_END = ("end", None)
_NOTHING = pa.RecordBatch.from_pylist([], schema=COMPLETIONS)
_KILLED = "its process was killed, as happens when memory runs out; it needs more, or a smaller model or context"
# An exception as it is printed, with or without what a logger writes before it.
_PRINTED = re.compile(r"^(?:\(.*\] )?([\w.]+(?:Error|Exception): .{1,400})", re.MULTILINE)


class Apart:
    """A loaded model in a process of its own.

    Attributes:
        memory_bytes: The most of the device's memory that was seen in use by it so far.

    Raises:
        ExpertUnavailable: it does not start.
        Interrupted: `stop` was set while it was loading.
        PoolError: an unknown engine option, or no such model.
    """

    def __init__(self, expert: Expert, stop: threading.Event | None = None) -> None:
        self._model = expert.model
        self._here, there = Pipe()
        # Loading is not a user's business; what was said last is, if the process dies.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process is
        free = device.memory().free
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(there.fileno())],
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
            start_new_session=True,  # Ctrl-C is for the one that started it
        )
        there.close()
        # Threads of their own write and read, which nobody interrupts in the middle of a message.
        self._to_say: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._heard: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=does, daemon=True) for does in (self._say, self._hear)]
        for thread in self._threads:
            thread.start()
        self._left = 0  # how often it was left before it had said all it had to
        self._in_step = True  # whether it has said all it had to
        try:
            self._do("open", expert, stop)
        except BaseException:
            self.close()
            raise
        self.memory_bytes = self._in_use() if device.on_host() else max(free - device.memory().free, 0)

    @property
    def room(self) -> int:
        """Requests are put in order here, and cost nothing."""
        return AMPLE

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """Answer a stream of requests."""
        self._keep_step()
        self._in_step = False
        self._to_say.put(("generate", None))
        try:
            while True:
                said, what = self._receive(waiting=True)
                if said == "waiting":
                    yield _NOTHING
                elif said == "done":
                    self._in_step = True
                    return
                elif said == "more":
                    self._to_say.put(("requests", next(requests, None)))
                else:
                    yield what
        finally:
            if not self._in_step:
                self._to_say.put(("stop", None))
            elif device.on_host():
                self.memory_bytes = max(self.memory_bytes, self._in_use())

    def sleep(self) -> bool:
        """Give the device's memory back and keep the weights on the host; False where that cannot be done."""
        return bool(self._do("sleep"))

    def wake(self) -> None:
        """Take the device's memory again.

        Raises:
            ExpertUnavailable: there is not enough.

        """
        self._do("wake")

    def close(self) -> None:
        """End the process, and wait until its memory is back."""
        family = self._family()
        self._to_say.put(_END)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        end(family)
        for thread in self._threads:
            thread.join(_END_S)
        # Closed under a thread that still uses it, its number could be that of the next process's socket.
        if not any(thread.is_alive() for thread in self._threads):
            self._here.close()
        self._said.close()

    def _do(self, what: str, to: object = None, stop: threading.Event | None = None) -> Any:
        self._keep_step()
        self._in_step = False
        self._to_say.put((what, to))
        while (answer := self._receive(waiting=True))[0] == "waiting":
            if stop is not None and stop.is_set():
                raise Interrupted
        self._in_step = True
        return answer[1]

    def _keep_step(self) -> None:
        """Let it come to the end of a stream that was left, and forget what it says until then."""
        if self._in_step:
            return
        self._left += 1
        self._to_say.put(("step", self._left))
        while self._next() != ("step", self._left):
            pass
        self._in_step = True

    def _receive(self, *, waiting: bool = False) -> tuple[str, Any]:
        said, what = self._next(waiting=waiting)
        if said == "failed":
            self._in_step = True
            raise self._explained(what)
        return said, what

    def _next(self, *, waiting: bool = False) -> tuple[str, Any]:
        """What the process says next; with `waiting`, ("waiting", None) while it says nothing."""
        while True:
            with contextlib.suppress(queue.Empty):
                message = self._heard.get(timeout=_LOOK_S)
                if message != _END:
                    return message
                self._heard.put(_END)  # for those who ask again
                break
            if self._process.poll() is not None and self._heard.empty():
                break
            if waiting and self._heard.empty():
                return "waiting", None
        self._in_step = True
        raise ExpertUnavailable(self._why_it_ended())

    def _say(self) -> None:
        with contextlib.suppress(OSError):  # that it is gone will be told by what it does not answer
            for message in iter(self._to_say.get, _END):
                self._here.send(message)
            self._here.send(_END)

    def _hear(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._heard.put(self._here.recv())
        self._heard.put(_END)

    def _explained(self, error: LeerooError) -> LeerooError:
        """An error that refers to what was printed, with what was printed."""
        if "root cause" not in str(error):
            return error
        # When one of vLLM's processes is killed, the others only tell that they were cancelled.
        printed = [line for line in _PRINTED.findall(self._output()) if not line.endswith(": cancelled")]
        return type(error)(f"{str(error).split(': ')[0]}: {printed[0] if printed else _KILLED}")

    def _output(self) -> str:
        self._said.seek(0)
        return self._said.read().decode(errors="replace")

    def _why_it_ended(self) -> str:
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return f"{self._model} broke: {_KILLED}"
        lines = self._output().strip().splitlines() or ["it said nothing"]
        return f"{self._model} broke, its process ended with code {code}: {lines[-1]}"

    def _in_use(self) -> int:
        """What the process and those that it has started hold, in bytes.

        Of weights that several processes have mapped each is counted its part, where the system tells it.
        """
        held = 0
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                told = process.memory_full_info()
                held += getattr(told, "pss", told.uss)
        return held

    def _family(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self._process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.Error:
            return []


def end(processes: list[psutil.Process]) -> None:
    """Kill these processes, and wait until they are gone."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, _END_S)


class _Inside:
    """The other end: what runs in the process."""

    def __init__(self, there: Connection) -> None:
        self._there = there
        self._heard: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._stopped = threading.Event()
        threading.Thread(target=self._listen, args=(os.getppid(),), daemon=True).start()

    def serve(self) -> None:
        """Do what is said, until nobody is there any more."""
        backend: Backend | None = None
        while True:
            said, what = self._heard.get()
            try:
                if said == "open":
                    backend = load_backend(what)
                    self._there.send(("done", None))
                elif said == "generate" and backend is not None:
                    self._generate(backend)
                elif said == "step":
                    self._there.send((said, what))
                elif said in ("sleep", "wake"):
                    do = getattr(backend, said, None)  # not every backend can
                    self._there.send(("done", do() if do else False))
            except LeerooError as error:
                self._there.send(("failed", error))
            except Exception as error:  # noqa: BLE001 - whatever it was, others can take the rows
                line = (str(error).strip() or "no more is known").splitlines()[0]
                self._there.send(("failed", ExpertUnavailable(f"{type(error).__name__}: {line}")))

    def _generate(self, backend: Backend) -> None:
        self._stopped.clear()
        with contextlib.closing(backend.generate(self._requests())) as completions:
            for batch in completions:
                self._there.send(("completions", batch))
                if self._stopped.is_set():
                    break
        self._there.send(("done", None))

    def _requests(self) -> Iterator[pa.RecordBatch]:
        while True:
            self._there.send(("more", None))
            said, batch = self._heard.get()
            if said == "stop" or batch is None:
                return
            yield batch

    def _listen(self, parent: int) -> None:
        """Hear what is said while something else is done; the process ends when nobody is there any more."""
        with contextlib.suppress(EOFError, OSError):
            while os.getppid() == parent:
                if not self._there.poll(_LOOK_S):
                    continue
                said, what = self._there.recv()
                if (said, what) == _END:
                    break
                if said == "stop":
                    self._stopped.set()
                self._heard.put((said, what))
        end(psutil.Process().children(recursive=True))
        os._exit(0)


if __name__ == "__main__":
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    with contextlib.suppress(OSError):  # when memory runs out, this is to be killed and not the one that started it
        Path("/proc/self/oom_score_adj").write_text("500")
    _Inside(Connection(descriptor)).serve()
