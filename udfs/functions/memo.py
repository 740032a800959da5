"""The values of one function that a connection knows, and their questions, in Arrow. Knows nothing of SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import compress, islice, repeat

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.udfs.functions.keys import text_keys
from leeroo.udfs.functions.requests import Group, Questions

# Above this number of values, or of characters of their questions, all are dropped between statements: the answer
# store has them.
KEPT_ROWS, KEPT_CHARACTERS = 1_000_000, 2**28
# Text of one Arrow array holds two gigabytes at most.
_MERGED_BYTES = 2**30


class Values:
    """A growing list of values of one Arrow type, numbered from 0 in the order they were appended."""

    def __init__(self, kind: pa.DataType) -> None:
        self.kind = kind
        self.clear()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def append(self, values: pa.Array) -> None:
        """Add values at the end."""
        self._parts += [values] if len(values) else []
        # Parts of like size are merged, so that there are few of them and no value is copied often.
        while len(self._parts) > 1 and _worth_merging(*self._parts[-2:]):
            self._parts[-2:] = [pa.concat_arrays(self._parts[-2:])]
        self._starts = np.cumsum([0, *map(len, self._parts)])

    def take(self, numbers: np.ndarray, field: str | None = None) -> pa.Array:
        """Return the values of these numbers, int64 [n], or a field of each; NULL for a negative number."""
        if len(self._parts) == 1:  # nearly always
            return _field(self._parts[0], field).take(pa.array(numbers, mask=numbers < 0))
        part = np.searchsorted(self._starts, numbers, side="right") - 1
        there = np.unique(part).tolist()
        pieces = [pa.nulls(1, self.kind if field is None else self.kind.field(field).type)]
        source = np.zeros(len(numbers), np.int64)  # the place of each number in the pieces laid end to end
        for p in (p for p in there if p >= 0):
            at = np.flatnonzero(part == p)
            source[at] = np.arange(len(at)) + sum(map(len, pieces))
            pieces.append(_field(self._parts[p], field).take(pa.array(numbers[at] - self._starts[p])))
        return pa.concat_arrays(pieces).take(pa.array(source))

    def clear(self) -> None:
        """Forget all; numbering begins again at 0."""
        self._parts: list[pa.Array] = []
        self._starts = np.zeros(1, np.int64)


def _field(values: pa.Array, name: str | None) -> pa.Array:
    return values if name is None else values.field(name)


def _worth_merging(before: pa.Array, last: pa.Array) -> bool:
    return len(before) <= 2 * len(last) and before.nbytes + last.nbytes <= _MERGED_BYTES


class Memo:
    """Values by group and question, as numbers in `values`.

    In most groups equal questions have one value. In a sampled group a question has many, drawn one after the other.
    Which row draws which does not matter, because all come from the same distribution.
    """

    def __init__(self, kind: pa.DataType) -> None:
        self.values = Values(kind)
        self._questions = Values(pa.string())  # by the numbers of their values
        self._known: dict[Group, dict[int, int]] = {}  # numbers by the keys of questions
        self._same_key: dict[Group, dict[str, int]] = {}  # those of questions whose key another one has
        self._characters = 0  # of all questions that were learned
        self._failed: list[tuple[Group, int, str, int]] = []  # key, question and number
        self._samples: dict[tuple[Group, str], list[int]] = {}
        self._drawn: Counter[tuple[Group, str]] = Counter()

    def find(self, group: Group, questions: pa.Array) -> np.ndarray:
        """Return the numbers of the values of these questions (text, none NULL), int64 [n], -1 where none is known.

        In a sampled group none of them was found before, until `redraw`.
        """
        if group.sampled:
            return np.array([self._draw((group, question)) for question in questions.to_pylist()], np.int64)
        if group not in self._known:  # as in the rehearsal of new questions
            return np.full(len(questions), -1, np.int64)
        questions = questions.cast(pa.string())  # a setting of DuckDB gives texts another type
        keys = text_keys(questions).tolist()
        numbers = np.fromiter(map(self._known[group].get, keys, repeat(-1)), np.int64, len(keys))
        same = pc.equal(self._questions.take(numbers), questions).fill_null(False)
        numbers[~same.to_numpy(zero_copy_only=False)] = -1
        if others := self._same_key[group]:
            rest = np.flatnonzero(numbers < 0)
            numbers[rest] = [others.get(text, -1) for text in questions.take(pa.array(rest)).to_pylist()]
        return numbers

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
            self._characters += sum(map(len, texts))
            number = numbers.stop
            keys = self._keep(group, texts, numbers)
            bad = list(compress(zip(keys, texts, numbers, strict=True), islice(wrong, len(texts))))
            self._failed += [(group, *each) for each in bad if not group.sampled]

    def _keep(self, group: Group, texts: list[str], numbers: range) -> list[int]:
        """Keep texts of a group with their numbers, which follow those kept before, and return their keys."""
        kept = pa.array(texts, pa.string())
        parts = kept.chunks if isinstance(kept, pa.ChunkedArray) else [kept]  # several above two gigabytes
        for part in parts:
            self._questions.append(part)
        keys = [key for part in parts for key in text_keys(part).tolist()]
        if group.sampled:
            for text, number in zip(texts, numbers, strict=True):
                self._samples.setdefault((group, text), []).append(number)
            return keys
        known, others = self._known.setdefault(group, {}), self._same_key.setdefault(group, {})
        for key, text, number in zip(keys, texts, numbers, strict=True):
            if known.setdefault(key, number) != number:
                others[text] = number
        return keys

    @property
    def is_full(self) -> bool:
        """True where it takes so much memory that it should forget."""
        return len(self.values) > KEPT_ROWS or self._characters > KEPT_CHARACTERS

    def forget_failures(self) -> None:
        """Forget the values that failed, so that their questions may be repeated."""
        for group, key, text, number in self._failed:
            known, others = self._known[group], self._same_key[group]
            if known.get(key) == number:
                del known[key]
            elif others.get(text) == number:
                del others[text]
        self._failed.clear()

    def forget_samples(self) -> None:
        """Forget the samples, which belong to one statement."""
        self._samples.clear()
        self._drawn.clear()

    def forget(self) -> None:
        """Forget everything."""
        self._characters = 0
        self._known.clear()
        self._same_key.clear()
        self._questions.clear()
        self._failed.clear()
        self.forget_samples()
        self.values.clear()
