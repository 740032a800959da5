"""The Ray backend: an expert as a pool of actors, on this machine or on those of a cluster.

The plan, the money and the answer store stay with the process that runs the batch; actors only generate, each with one
model loaded. They are handed requests as they have room, so that a budget holds as it does locally. A worker that dies
costs the calls that it had in flight, which go to another.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import threading
from collections import deque
from collections.abc import Generator, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pyarrow as pa

from leeroo.engine.backends.protocol import AMPLE
from leeroo.engine.backends.select import capabilities, load_backend
from leeroo.engine.errors import ExpertUnavailable, UsageError
from leeroo.engine.pool import Expert
from leeroo.engine.schema import REQUESTS

# Requests in a call, and calls that an actor has in flight: what is sent again when it dies.
_CALL_ROWS, _CALLS = 32, 4
# The most times in a row that an actor which does not start, or dies, is replaced without an answer between.
_TRIES = 3
_WAIT_S = 0.5
_NOTHING = pa.RecordBatch.from_pylist([], schema=REQUESTS)


class RayBackend:
    """The actors of one expert; the first starts at once, others while requests wait and resources are left.

    Ray decides where it runs: the cluster of RAY_ADDRESS, or one of its own on this machine.

    Raises:
        ExpertUnavailable: Ray cannot be started or reached.
    """

    room = AMPLE  # its actors order requests, which cost nothing

    def __init__(self, expert: Expert) -> None:
        self._expert = expert
        self._ray = _connect()
        self._actors: dict[Any, int] = {}  # calls in flight
        self._most = expert.ray.replicas
        self._broken = 0
        self._start()

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """Answer a stream of requests, handed to whichever actor has room."""
        waiting: deque[pa.RecordBatch] = deque()
        in_flight: dict[Any, tuple[Any, pa.RecordBatch]] = {}
        more = True
        try:
            while more or waiting or in_flight:
                while more and not waiting:
                    batch = next(requests, None)
                    more = batch is not None
                    if batch is None or batch.num_rows == 0:
                        break  # the end, or nothing more until something comes back
                    waiting.extend(batch.slice(at, _CALL_ROWS) for at in range(0, batch.num_rows, _CALL_ROWS))
                self._send(waiting, in_flight)
                if in_flight:
                    yield from self._receive(waiting, in_flight)
        finally:
            for call in in_flight:
                with contextlib.suppress(self._ray.exceptions.RayError):
                    self._ray.cancel(call, recursive=False)

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors.clear()

    def _start(self) -> None:
        needs, gpus = self._expert.ray, self._expert.ray.num_gpus
        if gpus is None:
            # Where 'auto' is transformers here, it is vLLM on a machine with a GPU.
            for_gpus = self._expert.backend != "transformers" and capabilities(self._expert).holds_memory
            gpus = float(for_gpus and self._ray.cluster_resources().get("GPU", 0) > 0)
        options = {"num_cpus": needs.num_cpus, "num_gpus": gpus, "resources": needs.resources}
        worker = self._ray.remote(**options, max_concurrency=_CALLS + 1)(Worker)
        self._actors[worker.remote(self._expert.model_dump_json())] = 0

    def _send(self, waiting: deque[pa.RecordBatch], in_flight: dict[Any, tuple[Any, pa.RecordBatch]]) -> None:
        """Hand out what waits; where no actor has room for more, start another."""
        while waiting:
            actor = min(self._actors, key=lambda each: self._actors[each])
            if self._actors[actor] >= _CALLS:
                if len(self._actors) < self._most:
                    self._start()
                    continue
                return
            batch = waiting.popleft()
            in_flight[actor.answer.remote(with_bytes(batch))] = actor, batch
            self._actors[actor] += 1

    def _receive(
        self, waiting: deque[pa.RecordBatch], in_flight: dict[Any, tuple[Any, pa.RecordBatch]]
    ) -> Generator[pa.RecordBatch]:
        """Yield what has come back; calls of an actor that died wait again."""
        done, _ = self._ray.wait(list(in_flight), timeout=_WAIT_S)
        for call in done:
            actor, batch = in_flight.pop(call)
            if actor in self._actors:
                self._actors[actor] -= 1
            try:
                yield self._ray.get(call)
            except self._ray.exceptions.RayTaskError as error:
                raise ExpertUnavailable(str(error.cause)) from error
            except self._ray.exceptions.RayError as error:
                waiting.appendleft(batch)
                self._replace(actor, error)
            else:
                self._broken = 0

    def _replace(self, actor: Any, error: Exception) -> None:
        """Start another in the place of an actor that died."""
        if actor not in self._actors:
            return  # another of its calls has shown it already
        del self._actors[actor]
        self._broken += 1
        if self._broken >= _TRIES:
            raise ExpertUnavailable(f"its workers die, the last one so: {str(error).splitlines()[0]}") from error
        self._start()


class Worker:
    """The actor: a loaded backend, whose one stream of requests is fed by all calls."""

    def __init__(self, expert: str) -> None:
        self._backend = load_backend(Expert.model_validate_json(expert))
        self._fed: Queue[pa.RecordBatch] = Queue()
        self._back = threading.Condition()
        self._open: dict[int, pa.RecordBatch | None] = {}  # by id of a request: its completion
        self._broke: BaseException | None = None
        threading.Thread(target=self._generate, daemon=True).start()

    def answer(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the completions of some requests, when all of them are there.

        Raises:
            ExpertUnavailable: the backend broke.

        """
        ids = batch.column("id").to_pylist()
        with self._back:
            self._open.update(dict.fromkeys(ids))
        self._fed.put(batch)
        with self._back:
            self._back.wait_for(lambda: self._broke is not None or all(self._open[i] is not None for i in ids))
            if self._broke is not None:
                raise ExpertUnavailable(str(self._broke))
            rows = [self._open.pop(i) for i in ids]
        return pa.Table.from_batches(rows).combine_chunks().to_batches()[0]

    def _generate(self) -> None:
        try:
            for batch in self._backend.generate(self._requests()):
                with self._back:
                    for at, request in enumerate(batch.column("id").to_pylist()):
                        self._open[request] = batch.slice(at, 1)
                    self._back.notify_all()
        except BaseException as error:  # noqa: BLE001 - raised again in every call that waits
            with self._back:
                self._broke = error
                self._back.notify_all()

    def _requests(self) -> Iterator[pa.RecordBatch]:
        """Yield the requests of the calls as they come, and an empty batch while there are only others in flight."""
        while True:
            with self._back:
                in_flight = any(answer is None for answer in self._open.values())
            try:
                yield self._fed.get(block=not in_flight)
            except Empty:
                yield _NOTHING


def with_bytes(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return requests with the bytes of their images in place of files, which other machines do not have."""
    at = batch.schema.get_field_index("images")
    if batch.column(at).null_count == batch.num_rows:
        return batch
    rows = [
        None if row is None else [{**each, "data": Path(each["path"]).read_bytes(), "path": None} for each in row]
        for row in batch.column(at).to_pylist()
    ]
    return batch.set_column(at, batch.schema.field(at), pa.array(rows, batch.schema.field(at).type))


def check_ray() -> None:
    """Check that Ray is installed.

    Raises:
        UsageError: it is not.

    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("Ray is not installed: pip install 'leeroo[ray]'")


def _connect() -> Any:
    """Connect to Ray, and return its module."""
    import ray

    if not ray.is_initialized():
        try:
            ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = os.environ.get("RAY_ADDRESS", "this machine")
            raise ExpertUnavailable(f"Ray cannot be started or reached at {where}: {error}") from error
    return ray
