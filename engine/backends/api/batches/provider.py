"""The batch API of a provider, whatever its dialect: the steps that a run takes, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from leeroo.engine.backends.api.faults import Fault

# The input file of a provider that takes requests without one.
NO_FILE = ""


class Look(NamedTuple):
    """How far a batch is.

    Attributes:
        status: In the provider's words.
        done: Lines that have ended.
        ended: When it ended, in seconds of the epoch; None while it is under way.
        outputs: Where its results are, as the dialect reads it.
        failure: Why nothing of it was answered.
    """

    status: str
    done: int
    ended: float | None = None
    outputs: tuple[str, ...] = ()
    failure: Fault | None = None


class LineResult(NamedTuple):
    """The reply to a line, in the form of OpenAI's chat API, or the fault that it ended with."""

    name: str
    reply: dict[str, Any] | None
    fault: Fault | None = None


class BatchAPI(Protocol):
    """One provider's way of batches. All methods but `write` raise `Fault`.

    Attributes:
        most_lines, most_bytes: The limits of one batch.
    """

    most_lines: int
    most_bytes: int

    def write(self, name: str, body: dict[str, Any]) -> bytes:
        """Return a request as a line of the input, without its end."""
        ...

    def upload(self, lines: list[bytes]) -> str:
        """Upload the input; return its id, `NO_FILE` where requests go with the batch itself."""
        ...

    def create(self, file: str, lines: list[bytes], token: str) -> str:
        """Create a batch that bears a token; return the provider's id of it."""
        ...

    def find(self, token: str, file: str, since: float, names: frozenset[str]) -> str | None:
        """Return the id of the batch that bears a token, None where there is none.

        Args:
            token: Its token.
            file: Its input file.
            since: It was created after this, in seconds of the epoch.
            names: Names of its lines.

        """
        ...

    def look(self, remote: str) -> Look:
        """Return how far a batch is."""
        ...

    def results(self, remote: str, look: Look) -> Iterator[LineResult]:
        """Return the results of a batch that has ended."""
        ...

    def cancel(self, remote: str) -> None:
        """Have a batch end early, if it has not ended yet."""
        ...

    def discard(self, file: str) -> None:
        """Remove an input file that no batch uses."""
        ...

    def close(self) -> None:
        """End the connections."""
        ...
