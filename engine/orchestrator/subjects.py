"""Subjects and categories of questions, as far as a table names them.

They are the context of a question: what is known about it besides its text. Knows nothing of encoders and experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leeroo.engine.arrays import Int64s

# A question's subject and category, either unknown.
Subject = tuple[str | None, str | None]


@dataclass(frozen=True)
class KnownSubjects:
    """The subjects and categories that a router has learned, sorted by name."""

    subjects: tuple[str, ...]
    categories: tuple[str, ...]

    def __bool__(self) -> bool:
        """Return True if there are any."""
        return bool(self.subjects)

    def __str__(self) -> str:
        return f"{len(self.subjects)} subjects in {len(self.categories)} categories"

    def numbers(self, contexts: Sequence[Subject]) -> Int64s:
        """Return the numbers of subject and category, [n, 2], -1 where unknown; [n, 0] if there are none at all."""
        if not self:
            return np.zeros((len(contexts), 0), np.int64)
        places = [{name: i for i, name in enumerate(names)} for names in (self.subjects, self.categories)]
        known = [[place.get(name or "", -1) for place, name in zip(places, both, strict=True)] for both in contexts]
        return np.array(known, np.int64).reshape(-1, 2)


def known_subjects(contexts: Sequence[Subject]) -> KnownSubjects:
    """Collect all that occur; none if there are fewer than two subjects."""
    subjects, categories = (tuple(sorted({name for name in names if name})) for names in zip(*contexts, strict=True))
    return KnownSubjects(subjects, categories) if len(subjects) > 1 else KnownSubjects((), ())
