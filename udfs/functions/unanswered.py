"""Questions of a statement that got no answer: counted while it runs, reported once. Knows nothing of engines."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from leeroo.engine.errors import RowsFailedWarning
from leeroo.udfs.callers import callers


@dataclass
class Unanswered:
    """The number of questions, and the reasons why some of them have no answer."""

    functions: dict[str, None] = field(default_factory=dict)  # of the questions, in order
    questions: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    in_part: dict[str, None] = field(default_factory=dict)  # lines about values that are there, but not whole

    @property
    def any(self) -> bool:
        """Whether anything failed."""
        return bool(self.reasons or self.in_part)

    def add(self, functions: Iterable[str], questions: int, reasons: Iterable[str], *, in_part: bool = False) -> None:
        """Count questions, with the reasons of those that failed, or the lines about those that failed in part."""
        if in_part:
            names = ", ".join(functions) or "leeroo"
            self.in_part.update(dict.fromkeys(f"{names}: {reason}" for reason in reasons))
            return
        self.functions.update(dict.fromkeys(functions))
        self.questions += questions
        self.reasons.update(reasons)

    def __str__(self) -> str:
        """Say in one line how many failed, and the most frequent reason."""
        return "; ".join([*([self._counted()] if self.reasons else ()), *self.in_part])

    def _counted(self) -> str:
        ((reason, count),) = self.reasons.most_common(1)
        failed, names = self.reasons.total(), ", ".join(self.functions) or "leeroo"
        most = "" if count == failed else f"{count:,} x "
        return f"{names}: {failed:,} of {self.questions:,} questions asked have no answer and are NULL: {most}{reason}"


def warn(line: str) -> None:
    """Issue a Python warning at the line that ran the statement."""
    frame = next(callers(), None)
    where = ("leeroo", 1) if frame is None else (frame.f_code.co_filename, frame.f_lineno)
    warnings.warn_explicit(line, RowsFailedWarning, *where)
