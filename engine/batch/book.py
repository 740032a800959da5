"""The book of one wave's open batches: what its backend notes, in the words of the store."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from leeroo.engine.batch.keep import Flight
from leeroo.engine.batch.run import RunState
from leeroo.engine.store.batches import BatchLine, OpenBatch


class RunBook:
    """The open batches of a wave, under the keys of its answers; see `backends.protocol.BatchBook`.

    Args:
        state: The run.
        flight: The requests of the wave.
        engine: `engine_key` of its engine.

    """

    def __init__(self, state: RunState, flight: Flight, engine: str) -> None:
        self._state, self._store, self._flight, self._engine = state, state.store, flight, engine

    @property
    def detached(self) -> bool:
        """Whether the run does not wait for its batches."""
        return self._state.detached

    @property
    def due(self) -> float | None:
        """When what is not answered goes elsewhere, in seconds of the epoch."""
        return self._state.due

    def name_of(self, request: int) -> str:
        """Return the key of a request's answer, in hexadecimal."""
        return self._flight.request(request).key.hex()

    def find_lines(self, requests: Sequence[int]) -> dict[int, BatchLine]:
        """Return the lines of open batches that these requests are, by request."""
        ids = {self._flight.request(request).key: request for request in requests}
        return {ids[line.key]: line for line in self._store.find_lines(list(ids))}

    def begin(self, tries: Mapping[int, int]) -> str:
        """Note a batch of these requests; return its token."""
        token = uuid.uuid4().hex
        plan = self._state.plan
        lines = []
        for request, n in tries.items():
            sent = self._flight.request(request)
            expert = plan.experts[sent.expert].name
            lines.append(BatchLine(sent.key, token, sent.asked, expert, plan.fingerprints[sent.expert], n))
        if not self.detached:
            with self._state.lock:
                self._state.meter.warn(
                    f"{lines[0].expert} answers in batches, which may take hours: if this run ends before them, the"
                    " same command collects them"
                )
        self._store.keep_batch(token, self._state.run.run, self._engine, lines[0].expert, lines)
        return token

    def read(self, token: str) -> OpenBatch | None:
        """Return a batch by its token."""
        return self._store.read_batch(token)

    def submitting(self, token: str, stop: threading.Event) -> AbstractContextManager[None]:
        """Hold a batch while it is submitted."""
        return self._store.submitting(token, stop)

    def note_sending(self, token: str, file: str) -> None:
        """Note the input file of a batch, before its creation is requested."""
        self._store.note_sending(token, file)

    def note_created(self, token: str, remote: str) -> None:
        """Note the provider's id of a batch."""
        self._store.note_created(token, remote)

    def note_look(self, token: str, status: str, done: int, ended: float | None) -> None:
        """Note how far a batch is."""
        self._store.note_look(token, status, done, ended)

    def drop(self, token: str) -> None:
        """Forget a batch that the provider does not have."""
        self._store.drop_batch(token)
