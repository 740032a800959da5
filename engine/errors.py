"""The errors a user can meet, as one tree.

    LeerooError
    ├── UsageError            an option, a file or a statement is wrong
    │   ├── InputError        the input table: missing, unreadable, no such column
    │   ├── PoolError         the pool file or an expert in it
    │   ├── RouterError       a router folder, or the data one is trained on
    │   └── OutputError       the answers cannot be written where they should go
    ├── ExpertUnavailable     one expert cannot answer at all now; its rows may go to others
    ├── RowsFailed            a row failed, and the run is to fail with it
    └── Detached              batches are at their providers, and the run was not to wait for them

    KeyboardInterrupt
    └── Interrupted           another thread stopped the call

    UserWarning
    └── RowsFailedWarning     rows of a SQL statement have no answer

Every message is one sentence: what was wrong, where, and how to mend it. Foreign exceptions (vLLM,
DuckDB, openai) are turned into these at the wall where they come in, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class LeerooError(Exception):
    """Base of all errors raised on purpose by this package."""


class UsageError(LeerooError):
    """An option, a file or a statement is wrong; the message says how to mend it."""


class InputError(UsageError):
    """The input table is missing, unreadable, or lacks a column."""


class PoolError(UsageError):
    """The pool file, or an expert in it, is wrong."""


class RouterError(UsageError):
    """A router folder, or the data one is trained on, is wrong."""


class OutputError(UsageError):
    """The answers cannot be written where they should go."""


class ExpertUnavailable(LeerooError):
    """One expert cannot answer anything now: its engine did not start, or its key was refused.

    Raised by a backend's ``open`` or ``generate``; the rows it had not answered may go to other experts.
    """


class Interrupted(KeyboardInterrupt):
    """Another thread stopped the call (`Engine.interrupt`); what was answered is kept."""


class RowsFailed(LeerooError):
    """Rows failed, and ``on_error`` is "fail"."""


class Detached(LeerooError):
    """Rows are in batches at their providers, and the run was not to wait; the same call collects them later.

    Attributes:
        batches: The open batches of the run, as `Store.batches` gives them.
        rows: Distinct questions without an answer.
    """

    def __init__(self, batches: Sequence[Mapping[str, Any]], rows: int) -> None:
        self.batches, self.rows = batches, rows
        lines = sum(batch["left"] for batch in batches)
        waiting = f", and {rows - lines:,} more wait for them" if rows > lines else ""
        count = f"{len(batches):,} open batch{'es' * (len(batches) != 1)}"
        super().__init__(f"{lines:,} rows are in {count}{waiting}: the same command collects them")


class RowsFailedWarning(UserWarning):
    """Rows of a SQL statement have no answer and are NULL; the message counts them and says why."""
