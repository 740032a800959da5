"""The values of one function that a connection knows. Knows nothing of SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import repeat

import numpy as np
import pyarrow as pa

from leeroo.udfs.functions.requests import Group, Questions
from leeroo.udfs.functions.values import Values

# Above this number the values are dropped between statements: the answer store has them all.
KEPT_ROWS = 1_000_000


class Memo:
    """Values by group and question, as numbers in `values`.

    In most groups equal questions have one value. In a sampled group a question has many, drawn one after the other.
    Which row draws which does not matter, because all come from the same distribution.
    """

    def __init__(self, kind: pa.DataType) -> None:
        self.values = Values(kind)
        self._known: dict[Group, dict[str, int]] = {}
        self._failed: list[tuple[Group, str]] = []
        self._samples: dict[tuple[Group, str], list[int]] = {}
        self._drawn: Counter[tuple[Group, str]] = Counter()

    def find(self, group: Group, questions: Sequence[str]) -> np.ndarray:
        """Return the numbers of the values of these questions, int64 [n], -1 where none is known.

        In a sampled group none of them was found before, until `redraw`.
        """
        if group.sampled:
            return np.array([self._draw((group, question)) for question in questions], np.int64)
        known = self._known.get(group, {})
        return np.fromiter(map(known.get, questions, repeat(-1)), np.int64, len(questions))

    def _draw(self, key: tuple[Group, str]) -> int:
        samples, at = self._samples.get(key, ()), self._drawn[key]
        if at >= len(samples):
            return -1
        self._drawn[key] += 1
        return samples[at]

    def redraw(self) -> None:
        """Begin with the first samples again, for another pass over the same statement."""
        self._drawn.clear()

    def learn(self, questions: Questions, values: pa.ChunkedArray, failed: Sequence[bool]) -> None:
        """Keep the values of questions; those that failed only until `forget_failures`."""
        number = len(self.values)
        for chunk in values.chunks:
            self.values.append(chunk)
        wrong = iter(failed)
        for group, texts in questions:
            numbers = range(number, number + len(texts))
            number = numbers.stop
            if group.sampled:
                for question, sample in zip(texts, numbers, strict=True):
                    self._samples.setdefault((group, question), []).append(sample)
            else:
                self._known.setdefault(group, {}).update(zip(texts, numbers, strict=True))
            bad = [question for question in texts if next(wrong)]
            self._failed += [(group, question) for question in bad if not group.sampled]

    def forget_failures(self) -> None:
        """Forget the values that failed, so that their questions may be repeated."""
        for group, question in self._failed:
            self._known[group].pop(question, None)
        self._failed.clear()

    def forget_samples(self) -> None:
        """Forget the samples, which belong to one statement."""
        self._samples.clear()
        self._drawn.clear()

    def forget(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._failed.clear()
        self.forget_samples()
        self.values.clear()
