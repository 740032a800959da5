"""The protocol of backends: a stream of request batches in, a stream of completion batches out.

A backend knows how to ask one model; it knows nothing of routing, money or tables of users.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Protocol, runtime_checkable

import pyarrow as pa

# The room of a backend that is better off with many requests to order than with few, and bills nobody.
AMPLE = 1024


class Backend(Protocol):
    """One loaded model (or one connection to a remote one), shared by every expert that asks it.

    Several threads may generate through one connection at the same time; a `Resident` has one caller at a time.

    Attributes:
        room: How many more requests it can start on now. The caller hands out no more: whatever waits inside a backend
            can neither be held back by a budget nor be left to another process.
    """

    @property
    def room(self) -> int:
        """How many more requests it can start on now."""
        ...

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """Answer a stream of requests.

        Args:
            requests: Batches with `schema.REQUESTS`, pulled only when there is room for more, so that
                the caller can stop a run early. An empty batch means "nothing to hand out until
                something in flight has finished": go on with what is in flight, then pull again.

        Yields:
            Batches with `schema.COMPLETIONS`, as soon as there is something to keep (each batch is
            stored when it is yielded), in any order; every request comes back exactly once. A row that
            fails comes back with `finish_reason` 'error' and its `error`; it never costs another row.
            While nothing comes back, an empty batch a few times a second: the caller looks then whether to go on.

        Raises:
            ExpertUnavailable: nothing more can be answered by this model; rows not yet yielded are not
                answered.

        """
        ...

    def close(self) -> None:
        """Give back the memory the model holds. Calling it twice is fine."""
        ...


@runtime_checkable
class Resident(Backend, Protocol):
    """A backend that holds memory of the device.

    Attributes:
        memory_bytes: The most that was seen in use by it so far.
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
