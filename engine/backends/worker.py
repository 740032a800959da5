"""The worker process of a backend: loads a model and answers the calls of `subprocess.SubprocessBackend`.

It ends when no process is left to send calls, and takes along the processes that it has started.
It knows nothing of who sends the calls, or why.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection

import psutil
import pyarrow as pa

from leeroo.engine.backends.protocol import Backend
from leeroo.engine.backends.select import load_backend
from leeroo.engine.backends.subprocess import CHECK_S, Message, kill
from leeroo.engine.errors import ExpertUnavailable, LeerooError


class WorkerProcess:
    """The calls that come over a connection, and the backend that answers them one after another."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._next: Message | None = None  # a call that came while requests were awaited
        self._newest = 0  # the number of the last stream that was begun
        threading.Thread(target=self._listen, args=(os.getppid(),), daemon=True).start()

    def serve(self) -> None:
        """Answer calls for ever: `_listen` ends the process."""
        backend: Backend | None = None
        while True:
            stream, kind, value = self._next or self._inbox.get()
            self._next = None
            try:
                if kind == "open":
                    backend = load_backend(value)
                    self._send(stream, "done")
                elif kind == "generate" and backend is not None:
                    self._generate(stream, backend)
                elif kind in ("sleep", "wake"):
                    call = getattr(backend, kind, None)  # not every backend can
                    self._send(stream, "done", call() if call else False)
            except LeerooError as error:
                self._send(stream, "failed", error)
            except Exception as error:  # noqa: BLE001 - whatever it was, other experts can take the rows
                line = (str(error).strip() or "no more is known").splitlines()[0]
                self._send(stream, "failed", ExpertUnavailable(f"{type(error).__name__}: {line}"))

    def _send(self, stream: int, kind: str, value: object = None) -> None:
        self._connection.send(Message(stream, kind, value))

    def _generate(self, stream: int, backend: Backend) -> None:
        with contextlib.closing(backend.generate(self._requests(stream))) as completions:
            for batch in completions:
                self._send(stream, "completions", batch)
                if self._newest > stream:
                    return
        self._send(stream, "done")

    def _requests(self, stream: int) -> Iterator[pa.RecordBatch]:
        """Fetch the requests of a stream, to their end or to the next call."""
        while True:
            self._send(stream, "more")
            message = self._inbox.get()
            if message.stream > stream:
                self._next = message
                return
            if message.value is None:
                return
            yield message.value

    def _listen(self, parent: int) -> None:
        """Read messages while the backend works, and end the process when no caller is left."""
        with contextlib.suppress(EOFError, OSError):
            while os.getppid() == parent:
                if not self._connection.poll(CHECK_S):
                    continue
                message = self._connection.recv()
                if message is None:
                    break
                self._newest = message.stream
                self._inbox.put(message)
        kill(psutil.Process().children(recursive=True))
        os._exit(0)
