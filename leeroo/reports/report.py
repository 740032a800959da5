"""The one model of a report: sentences, typed tables and figures, for a page, a terminal or a program.

A report knows nothing of where it is shown: `page` makes HTML of it, `terminal` prints it, and `data` is its JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from leeroo.engine.money import plain_usd

if TYPE_CHECKING:  # commands that show no interval start without it
    from leeroo.engine.orchestrator.analysis.frontier import Interval

# How many reasons of failures are shown.
_REASONS = 5

Kind = Literal["text", "count", "usd", "share", "gain", "interval", "score", "ms"]


class Column(NamedTuple):
    """The name of a column, and what its cells are."""

    name: str
    kind: Kind = "text"


def columns(listed: str) -> list[Column]:
    """Return columns from their names and kinds; a name without a kind is one of text.

    >>> columns("expert | rows: count | cost USD: usd")[1:]
    [Column(name='rows', kind='count'), Column(name='cost USD', kind='usd')]
    """
    parts = [part.rpartition(": ") if ": " in part else (part, "", "text") for part in listed.split(" | ")]
    return [Column(name, cast("Kind", kind)) for name, _, kind in parts]


@dataclass(frozen=True)
class Table:
    """Values in rows.

    Attributes:
        title: What it shows.
        columns: What each cell of a row is.
        rows: A value for each column; None where it is not known.
        about: How to read it; pages show it.
        empty: A line that stands for a table without rows.
        remarks: Lines below it.
        detail: Pages show it, and terminals do not.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    about: str = ""
    empty: str = ""
    remarks: Sequence[str] = ()
    detail: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture, which is drawn when it is shown.

    Attributes:
        title: What it shows.
        draw: Returns one SVG element; raises UsageError where Matplotlib is not installed.
        about: How to read it.
        wide: It scrolls on a narrow screen, and does not shrink.
    """

    title: str
    draw: Callable[[], str]
    about: str = ""
    wide: bool = False


class Entry(NamedTuple):
    """One row to browse: its facts in one line, a word by which rows are chosen, and its long texts by name."""

    facts: str
    group: str
    texts: Mapping[str, str]


@dataclass(frozen=True)
class Listing:
    """Rows to browse, which only pages show.

    Attributes:
        title: What they are.
        entries: In their order.
        about: Which rows are there.
    """

    title: str
    entries: Sequence[Entry]
    about: str = ""


Part = Table | Figure | Listing


@dataclass(frozen=True)
class Report:
    """The findings of a job, for people and programs.

    Attributes:
        title: Of its page.
        about: Sentences about what was done; pages show them. On a terminal people know what they typed.
        summary: Sentences about what was found.
        parts: Tables, figures and rows to browse; a terminal shows the tables.
        notes: What people should know about the numbers, a line each.
        data: What programs get in place of all this, ready for JSON.
    """

    title: str
    parts: Sequence[Part]
    about: Sequence[str] = ()
    summary: Sequence[str] = ()
    notes: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tables(self) -> list[Table]:
        """Its tables for a terminal."""
        return [part for part in self.parts if isinstance(part, Table) and not part.detail]


def cells(table: Table) -> list[list[str]]:
    """Return the cells of a table as people read them."""
    return [[cell(value, column.kind) for value, column in zip(row, table.columns, strict=True)] for row in table.rows]


def cell(value: Any, kind: Kind) -> str:
    """Return a value as people read it; what is not known is a dash."""
    return "-" if value is None else _AS_TEXT[kind](value)


def percent(part: float) -> str:
    """Return a part of 1 in per cent, without the sign."""
    return f"{100 * part:.1f}"


def span(estimate: Interval) -> str:
    """Return an interval in per cent, without the sign."""
    return f"{percent(estimate.low)} to {percent(estimate.high)}"


_AS_TEXT: dict[Kind, Callable[[Any], str]] = {
    "text": str,
    "count": lambda n: f"{n:,}",
    "usd": plain_usd,
    "share": percent,
    "gain": lambda points: f"{100 * points:+.1f}",
    "interval": span,
    "score": lambda score: f"{score:.3f}",
    "ms": lambda ms: f"{ms:,.0f}",
}


def commonest_reasons(errors: Iterable[str | None]) -> dict[str, int]:
    """Return the commonest reasons why rows failed, and how many rows each has."""
    return dict(Counter(error for error in errors if error is not None).most_common(_REASONS))
