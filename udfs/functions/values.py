"""Values that come in portions and are read back by number, in Arrow throughout. Knows nothing of questions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

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
        part = np.searchsorted(self._starts, numbers, side="right") - 1
        there = np.unique(part).tolist()
        if len(there) == 1 and there[0] >= 0:  # nearly always
            return _field(self._parts[there[0]], field).take(pa.array(numbers - self._starts[there[0]]))
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
