"""Keys of texts: whole numbers by which a text that was seen before is found, computed for many texts at a time.

To make Python's strings of a thousand long texts and hash them takes longer than all else that a look-up does.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

_WORD = 8  # bytes
# A key is computed from 17 words, spread evenly from the first to the last: all of a text of up to 136 bytes.
_SIXTEENTHS = np.arange(17)
# Odd, so that texts that differ in one word have different keys. The last is that of the length.
_FACTORS = np.random.default_rng(0).integers(0, 2**63, len(_SIXTEENTHS) + 1, np.uint64) * 2 + 1
# The bytes of a word that belong to a text of 0 to 8 bytes.
_OF_TEXT = np.array([2 ** (8 * n) - 1 for n in range(_WORD + 1)], np.uint64)


def text_keys(texts: pa.Array) -> np.ndarray:
    """Return the keys of texts (string, none NULL) in this process, uint64 [n].

    Equal texts have equal keys. Different long ones may share a key, so whoever finds a text by its key compares them.
    """
    if not len(texts):  # they may have no buffers
        return np.zeros(0, np.uint64)
    ends = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1, 4 * texts.offset).astype(np.int64)
    content = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    lengths = np.diff(ends)
    short = lengths.min() < _WORD
    if short:  # the word of a short text may end behind the last text
        content = np.append(content, np.zeros(_WORD, np.uint8))
    words = np.ndarray((len(content) - _WORD + 1,), np.uint64, content, strides=(1,))  # one begins at each byte
    read = words[ends[:-1, np.newaxis] + (np.maximum(lengths - _WORD, 0)[:, np.newaxis] * _SIXTEENTHS >> 4)]  # [n, 17]
    if short:
        read &= _OF_TEXT[np.minimum(lengths, _WORD), np.newaxis]
    keys: np.ndarray = read @ _FACTORS[:-1] + lengths.astype(np.uint64) * _FACTORS[-1]
    return keys
