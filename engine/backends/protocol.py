"""The protocol of backends: a stream of request batches in, a stream of completion batches out.

A backend knows how to query one model; it knows nothing of routing, money or users' tables.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pyarrow as pa

from leeroo.engine.schema import COMPLETIONS
from leeroo.engine.store.batches import BatchLine, OpenBatch

# The room of a backend that orders its requests, so that many serve it better than few, and bills nothing.
AMPLE = 1024
# The batch that a backend yields while nothing comes back.
NOTHING = pa.RecordBatch.from_pylist([], schema=COMPLETIONS)


@dataclass(frozen=True)
class Capabilities:
    """The abilities and needs of a kind of backend.

    Attributes:
        recorded: Its answers are recorded ones: they cost no computing, and no limit on tokens shortens them.
        gives_logprobs: It can give the log probabilities of tokens; some models or servers may still refuse.
        holds_memory: Its model is loaded on this machine, in a process of its own.
        waits_hours: Its answers may take hours, as those of providers' batches do.
        embeds: It gives vectors, as text of `arrays.pack_vector`.
        encodes_here: It is a sentence encoder; the router's encoders compute its vectors, without a backend.
    """

    recorded: bool = False
    gives_logprobs: bool = False
    holds_memory: bool = False
    waits_hours: bool = False
    embeds: bool = False
    encodes_here: bool = False

    @property
    def runs_elsewhere(self) -> bool:
        """Its model runs in another program, so that requests take nothing from what runs here."""
        return not (self.recorded or self.holds_memory or self.encodes_here)


class Backend(Protocol):
    """One loaded model (or one connection to a remote one), shared by every expert that uses it.

    Several threads may generate through one connection at the same time. A loaded model has one thread, which may begin
    another stream wherever one yields, or pulls requests, and goes on with the first when that one has ended.
    """

    @property
    def room(self) -> int:
        """How many more requests it can start on now.

        The caller hands out no more: a budget cannot hold back what waits inside a backend, and no other process can
        take it over.
        """
        ...

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """Answer a stream of requests.

        Args:
            requests: Batches with `schema.REQUESTS`, pulled only when there is room for more, so that
                the caller can stop a run early. An empty batch means "nothing to hand out until
                something in flight has finished": go on with what is in flight, then pull again.

        Yields:
            Batches with `schema.COMPLETIONS`, in any order, as soon as there is something to store: each
            batch is stored when it is yielded. Every request comes back exactly once. A row that fails
            comes back with `finish_reason` 'error' and its `error`; it never costs another row.
            While nothing comes back, an empty batch a few times a second, from a loaded model after each
            step: the caller then checks whether to go on, or whether another stream goes first.

        Raises:
            ExpertUnavailable: nothing more can be answered by this model; rows not yet yielded are not
                answered.

        """
        ...

    def close(self) -> None:
        """Give back the memory that the model holds; a second call does nothing."""
        ...


class BatchBook(Protocol):
    """The open batches of one run, as its store keeps them; requests are known by their ids."""

    @property
    def detached(self) -> bool:
        """Whether the run hands its batches in, and does not wait for them."""
        ...

    @property
    def due(self) -> float | None:
        """When what is not answered goes elsewhere, in seconds of the epoch."""
        ...

    def name_of(self, request: int) -> str:
        """Return the name of a request in its batch: the key of its answer, in hexadecimal."""
        ...

    def find_lines(self, requests: Sequence[int]) -> dict[int, BatchLine]:
        """Return the lines of open batches that these requests are, by request."""
        ...

    def begin(self, tries: Mapping[int, int]) -> str:
        """Note a batch of these requests, each with the number of batches that it has been in; return its token."""
        ...

    def read(self, token: str) -> OpenBatch | None:
        """Return a batch by its token, None where it was dropped."""
        ...

    def submitting(self, token: str, stop: threading.Event) -> AbstractContextManager[None]:
        """Hold a batch while it is submitted, so that no other thread or process submits it too."""
        ...

    def note_sending(self, token: str, file: str) -> None:
        """Note the input file of a batch, before its creation is requested."""
        ...

    def note_created(self, token: str, remote: str) -> None:
        """Note the provider's id of a batch."""
        ...

    def note_look(self, token: str, status: str, done: int, ended: float | None) -> None:
        """Note how far a batch is."""
        ...

    def drop(self, token: str) -> None:
        """Forget a batch that the provider does not have."""
        ...


@runtime_checkable
class Batching(Protocol):
    """A connection whose answers take hours: each run uses it with the book of its open batches."""

    def for_run(self, book: BatchBook) -> Backend:
        """Return it as one run uses it; requests whose lines are still open may not come back."""
        ...

    def cancel(self, remote: str) -> None:
        """Have a batch end early, by the provider's id of it.

        Raises:
            ExpertUnavailable: the provider refuses.
        """
        ...

    def close(self) -> None:
        """End its connections; open batches stay."""
        ...


@runtime_checkable
class Resident(Backend, Protocol):
    """A backend that holds memory of the device.

    Attributes:
        memory_bytes: The most that it was seen to use so far.
    """

    memory_bytes: int

    def sleep(self) -> bool:
        """Give the device's memory back and keep the weights on the host; False where that cannot be done."""
        ...

    def wake(self) -> None:
        """Take the device's memory again.

        Raises:
            ExpertUnavailable: there is not enough.
        """
        ...
