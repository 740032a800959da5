"""Contexts: what a table says of a question beside its text - its subject, and the subject's category."""

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
        """Whether there are any."""
        return bool(self.subjects)

    def __str__(self) -> str:
        return f"{len(self.subjects)} subjects in {len(self.categories)} categories"

    def numbers(self, contexts: Sequence[Subject]) -> Int64s:
        """Numbers of subject and category, [n, 2], -1 where one is not known here; [n, 0] if none are known at all."""
        if not self:
            return np.zeros((len(contexts), 0), np.int64)
        places = [{name: i for i, name in enumerate(names)} for names in (self.subjects, self.categories)]
        known = [[place.get(name or "", -1) for place, name in zip(places, both, strict=True)] for both in contexts]
        return np.array(known, np.int64).reshape(-1, 2)


def known_subjects(contexts: Sequence[Subject]) -> KnownSubjects:
    """All that occur; none where there are not two subjects."""
    subjects, categories = (tuple(sorted({name for name in names if name})) for names in zip(*contexts, strict=True))
    return KnownSubjects(subjects, categories) if len(subjects) > 1 else KnownSubjects((), ())
