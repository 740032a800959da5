"""The estimates of a statement's calls, with the order in which they are made, as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from leeroo.engine.answer import Estimate
from leeroo.engine.money import usd
from leeroo.udfs.statements.choose import Call

_NOTHING = "Nothing to generate: the statement asks nothing, or all of it is known here."
_NOT_FORESEEN = "Not counted: questions that depend on these answers."
_WIDTH = 60  # characters of a condition


@dataclass(frozen=True)
class Stop:
    """A LIMIT behind conditions on calls of ours.

    Attributes:
        wanted: How many rows must be found.
        first: How many rows the first step reads.
        why_not: Why all rows are needed, None where they are not.
    """

    wanted: int
    first: int
    why_not: str | None = None

    def __str__(self) -> str:
        if self.why_not is not None:
            return f"LIMIT saves nothing, all rows are needed: {self.why_not}."
        return (
            f"LIMIT stops: rows are read in steps until {self.wanted:,} are found. The questions above are those of the"
            f" first {self.first:,} rows."
        )


@dataclass(frozen=True, repr=False)
class Explanation:
    """What the questions of a statement take.

    Attributes:
        estimates: Of its calls, by the names of the functions.
        chains: For each AND or OR with several calls, these in the order in which they are made.
        saved: How many questions it would begin with as DuckDB orders its conditions, and how many it does.
        stops: Its LIMITs behind conditions on calls.
        at_most: How many questions it would begin with if no LIMIT stopped.
    """

    estimates: tuple[tuple[str, Estimate], ...]
    chains: tuple[tuple[Call, ...], ...] = ()
    saved: tuple[int, int] | None = None
    stops: tuple[Stop, ...] = ()
    at_most: int | None = None

    def __str__(self) -> str:
        """Return lines of text."""
        if not self.estimates:
            return _NOTHING
        return "\n".join([*(f"{names}: {estimate}" for names, estimate in self.estimates), *self.notes()])

    __repr__ = __str__  # what a notebook shows

    def as_dict(self) -> dict[str, Any]:
        """Return the order and what it saves for JSON, without the estimates."""
        before, now = self.saved or (None, None)
        return {
            "order": [[asdict(call) for call in chain] for chain in self.chains],
            "questions_first": now,
            "questions_first_as_written": before,
            "questions_at_most": self.at_most,
            "limits": [asdict(stop) for stop in self.stops],
        }

    def notes(self) -> Iterator[str]:
        """Return what there is to say of the order of the questions, and of what it saves."""
        for chain in self.chains:
            yield "Order of the calls, each for the rows that the ones before leave:"
            yield from (f"  {number}. {_shown(call)}" for number, call in enumerate(chain, 1))
        if self.saved is not None and self.saved[1] < self.saved[0]:
            before, now = self.saved
            yield f"Conditions that cost less come first: {now:,} questions to begin with, not {before:,}."
        yield from (str(stop) for stop, _ in groupby(self.stops))
        if self.at_most is not None:
            yield f"If too few are found, all rows are read: {self.at_most:,} questions."
        yield _NOT_FORESEEN


def _shown(call: Call) -> str:
    text = call.text if len(call.text) <= _WIDTH else f"{call.text[: _WIDTH - 1]}…"
    return f"{text}: at most {call.questions:,} questions, {usd(call.usd)}"
