"""The wall behind which models live: a stream of request batches in, a stream of completion batches out.

A backend knows how to ask one model; it knows nothing of routing, money or tables of users.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pyarrow as pa


class Backend(Protocol):
    """One loaded model (or one connection to a remote one), shared by every expert that asks it."""

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Answer a stream of requests.

        Args:
            requests: Batches with `schema.REQUESTS`, pulled only when there is room for more, so that
                the caller can stop a run early. An empty batch means "nothing to hand out until
                something in flight has finished": go on with what is in flight, then pull again.

        Yields:
            Batches with `schema.COMPLETIONS`, as soon as there is something to keep (each batch is
            stored when it is yielded), in any order; every request comes back exactly once. A row that
            fails comes back with `finish_reason` 'error' and its `error`; it never costs another row.

        Raises:
            ExpertUnavailable: nothing more can be answered by this model; rows not yet yielded are not
                answered.

        """
        ...

    def close(self) -> None:
        """Give back the memory the model holds. Calling it twice is fine."""
        ...
