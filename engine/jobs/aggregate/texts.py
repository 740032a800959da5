"""Texts of a group as items of prompts: equal ones counted, long ones split, and as many together as fit.

Lengths are estimated in tokens, from bytes. Knows nothing of experts and answers.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from leeroo.engine.arrays import Int64s
from leeroo.engine.batch.price import BYTES_PER_TOKEN

# Where a long text may be cut, the best places first: between paragraphs, lines, sentences, words.
_CUTS = [re.compile(pattern) for pattern in (r"\n\s*\n", r"\n", r"[.!?]['\")\]]*\s", r"\s")]
# A cut is looked for in this part of a piece, counted from its end.
_NEAR_END = 0.3


class Item(NamedTuple):
    """A text on its way into a prompt, or a piece of one."""

    text: str
    texts: int = 1  # how many texts it stands for; 0: a later piece of a text that is counted already
    piece: bool = False
    times: int = 1  # how often the whole text occurs

    @property
    def line(self) -> str:
        """The item of a Markdown list."""
        remarks = [
            *(["part of a longer text"] if self.piece else []),
            *([f"{self.times:,} times"] if self.times > 1 else []),
        ]
        remark = f"({', '.join(remarks)}) " if remarks else ""
        return f"- {remark}" + self.text.strip().replace("\n", "\n  ")

    @property
    def tokens(self) -> int:
        """The estimated tokens of its line."""
        return count_tokens(self.line) + 1


AnyItem = TypeVar("AnyItem", bound=Item)


def count_tokens(text: str) -> int:
    """Estimate the tokens of a text."""
    return math.ceil(len(text.encode(errors="replace")) / BYTES_PER_TOKEN)


def count_texts(texts: Iterable[str | None]) -> list[tuple[str, int]]:
    """Return the distinct texts in the order of their content, and how often each occurs; no NULL and no blank one."""
    return sorted(Counter(text for text in texts if text is not None and text.strip()).items())


def items_of(texts: Sequence[tuple[str, int]], room: int) -> list[Item]:
    """Return texts as items of at most `room` tokens each, those that are longer in pieces."""
    items: list[Item] = []
    for text, times in texts:
        whole = Item(text, texts=times, times=times)
        # Far fewer bytes than tokens that fit: nothing to measure.
        items += [whole] if len(text) * 4 < room or whole.tokens <= room else split_item(whole, room)
    return items


def split_item(item: Item, room: int) -> list[Item]:
    """Return an item in pieces of at most `room` tokens; the first one stands for all texts of the item."""
    marked = Item("", piece=True, times=item.times).tokens
    pieces = split_text(item.text, max(1, room - marked))
    counts = [item.texts, *[0] * (len(pieces) - 1)]
    return [item._replace(text=text, texts=n, piece=True) for text, n in zip(pieces, counts, strict=True)]


def split_text(text: str, room: int) -> list[str]:
    """Split a text into pieces of at most about `room` tokens, of like length, at the ends of lines or sentences.

    The pieces together are the text.
    """
    # Every line of a piece is indented by two spaces.
    size = len(text.encode(errors="replace")) + 2 * text.count("\n")
    longest = max(1, int(len(text) * room * BYTES_PER_TOKEN / max(1, size)))  # in characters
    pieces: list[str] = []
    while len(text) > longest:
        left = math.ceil(len(text) / longest)
        # Of like length, and a little longer where the last one leaves room for that.
        target = min(longest, math.ceil(len(text) / left * (1 + _NEAR_END / 2)))
        cut = _last_cut(text, max(1, int(target * (1 - _NEAR_END))), target)
        pieces.append(text[:cut])
        text = text[cut:]
    return [*pieces, text]


def _last_cut(text: str, start: int, end: int) -> int:
    """Return the best place for a cut in a part of a text, its end where there is none."""
    for pattern in _CUTS:
        ends = [found.end() for found in pattern.finditer(text, start, end)]
        if ends:
            return ends[-1]
    return end


def pack(items: Sequence[AnyItem], room: int, filled: float = 1.0) -> list[list[AnyItem]]:
    """Put items, in order, into parts of at most `room` tokens, the fewest by default.

    With `filled` below 1 a part may end from that share of its room on, and where depends on what is written there. So
    an item more or less changes a part or two, and the others stay as they were: what was answered of them counts. An
    item with more tokens than the room has a part of its own.
    """
    ends = np.cumsum([item.tokens for item in items], dtype=np.int64)
    parts: list[list[AnyItem]] = []
    start, before = 0, 0
    while start < len(items):
        stop = max(start + 1, _reach(ends, before + room))
        if stop < len(items):
            first = min(stop, max(start + 1, _reach(ends, before + int(filled * room))))
            stop = min(range(first, stop + 1), key=lambda end: zlib.crc32(items[end - 1].line.encode(errors="replace")))
        parts.append(list(items[start:stop]))
        start, before = stop, int(ends[stop - 1])
    return parts


def halve(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Split two or more items where about half of their tokens are."""
    ends = np.cumsum([item.tokens for item in items], dtype=np.int64)
    half = min(len(items) - 1, max(1, _reach(ends, int(ends[-1]) // 2)))
    return list(items[:half]), list(items[half:])


def _reach(ends: Int64s, tokens: int) -> int:
    """Return how many items end within some tokens; `ends` are the sums of all tokens so far [n]."""
    return int(np.searchsorted(ends, tokens, side="right"))
