"""The worker process of a backend: loads a model and answers the calls of `subprocess.SubprocessBackend`.

It ends when no process is left to send calls, and takes along the processes that it has started.
It knows nothing of who sends the calls, or why.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection

import psutil
import pyarrow as pa

from leeroo.engine.backends.protocol import Backend
from leeroo.engine.backends.select import load_backend
from leeroo.engine.backends.subprocess import CHECK_S, Message, kill
from leeroo.engine.errors import ExpertUnavailable, LeerooError


class WorkerProcess:
    """The calls that come over a connection, and the backend that answers them in one thread.

    A call that comes while a stream is answered goes first, and the stream goes on from where it was.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._backend: Backend | None = None
        self._broken: Exception | None = None  # why a stream failed: those that rest fail with it
        self._news = threading.Condition()
        self._calls: deque[Message] = deque()
        self._requests: dict[int, deque[pa.RecordBatch | None]] = {}  # by stream, while it is wanted
        threading.Thread(target=self._listen, args=(os.getppid(),), daemon=True).start()

    def serve(self) -> None:
        """Answer calls for ever: `_listen` ends the process."""
        while True:
            with self._news:
                self._news.wait_for(lambda: self._calls)
            self._answer(self._calls.popleft())

    def _answer(self, call: Message) -> None:
        stream, kind, value = call
        try:
            if kind == "open":
                self._backend = load_backend(value)
                self._send(stream, "done")
            elif kind == "generate" and self._backend is not None:
                self._generate(stream, self._backend)
            elif kind in ("sleep", "wake"):
                do = getattr(self._backend, kind, None)  # not every backend can
                self._send(stream, "done", do() if do else False)
        except LeerooError as error:
            self._broken = error
            self._send(stream, "failed", error)
        except Exception as error:  # noqa: BLE001 - whatever it was, other experts can take the rows
            line = (str(error).strip() or "no more is known").splitlines()[0]
            self._broken = ExpertUnavailable(f"{type(error).__name__}: {line}")
            self._send(stream, "failed", self._broken)
        finally:
            self._requests.pop(stream, None)

    def _send(self, stream: int, kind: str, value: object = None) -> None:
        self._connection.send(Message(stream, kind, value))

    def _generate(self, stream: int, backend: Backend) -> None:
        with contextlib.closing(backend.generate(self._fetch_requests(stream))) as completions:
            for batch in completions:
                if batch.num_rows:
                    self._send(stream, "completions", batch)
                if not self._goes_on(stream):
                    return
        self._send(stream, "done")

    def _goes_on(self, stream: int) -> bool:
        """Answer the calls that have come meanwhile; return whether the stream is still wanted."""
        while True:
            called = bool(self._calls)  # looked at first: a call that came after the end of the stream does not nest
            if stream not in self._requests:
                return False
            if not called:
                return True
            self._broken = None
            self._answer(self._calls.popleft())
            if self._broken is not None:
                raise self._broken

    def _fetch_requests(self, stream: int) -> Iterator[pa.RecordBatch]:
        """Fetch the requests of a stream, to their end or to its own."""
        self._send(stream, "more")
        while self._goes_on(stream):
            with self._news:
                self._news.wait_for(lambda: bool(self._calls or stream not in self._requests or self._requests[stream]))
                sent = self._requests.get(stream)
            if sent:
                batch = sent.popleft()
                if batch is None:
                    return
                yield batch
                self._send(stream, "more")

    def _listen(self, parent: int) -> None:
        """Read messages while the backend works, and end the process when no caller is left."""
        with contextlib.suppress(EOFError, OSError):
            while os.getppid() == parent:
                if not self._connection.poll(CHECK_S):
                    continue
                message = self._connection.recv()
                if message is None:
                    break
                with self._news:
                    self._sort(message)
                    self._news.notify()
        kill(psutil.Process().children(recursive=True))
        os._exit(0)

    def _sort(self, message: Message) -> None:
        stream, kind, value = message
        if kind == "stop":
            self._requests.pop(stream, None)
        elif kind == "requests":
            if stream in self._requests:
                self._requests[stream].append(value)
        else:
            self._requests[stream] = deque()
            self._calls.append(message)
