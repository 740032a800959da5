"""Marks: where the images of a question stand in its text.

A row's first text has numbered places. Once an image is read, its place shows a mark with the first digits of its hash,
such as `[image 9f86d081884c7d65]`. By it people, recorded outcomes and feedback know the image.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# U+FFFC is Unicode's character for an object in a text.
_OBJECT = "\ufffc"
_PLACE = re.compile(f"{_OBJECT}([0-9]+){_OBJECT}")
# Digits of a hash in a mark: 64 bits, so that two images of a table do not share one by chance.
_DIGITS = 16
_MARK = re.compile(rf"\[image [0-9a-f]{{{_DIGITS}}}\]")


def place_of(number: int) -> str:
    """Return the text that stands for the image of this number, from 0, until the images are read."""
    return f"{_OBJECT}{number}{_OBJECT}"


def mark_of(digest: str) -> str:
    """Return the text that stands for an image, by its SHA-256 in hexadecimal."""
    return f"[image {digest[:_DIGITS]}]"


def mark_in_sql(digest: str) -> str:
    """Return SQL for the mark of an image, by SQL for its hash."""
    return f"'[image ' || {digest}[:{_DIGITS}] || ']'"


def with_marks(text: str, digests: Sequence[str]) -> str:
    """Return a text with the marks of images in their places; a place without an image stays."""

    def mark(found: re.Match[str]) -> str:
        number = int(found[1])
        return mark_of(digests[number]) if number < len(digests) else found[0]

    return _PLACE.sub(mark, text)


def without_digits(text: str) -> str:
    """Return a text whose marks are all alike, for readers that see no images."""
    return _MARK.sub("[image]", text)


def split_at_marks(text: str, marks: Sequence[str]) -> list[str | int]:
    """Split a text at the marks of its images: texts, and the numbers of images in their places.

    An image is shown once, where its mark first stands; one whose mark does not occur stands before the text.
    """
    found = sorted((at, number) for number, mark in enumerate(marks) if (at := text.find(mark)) >= 0)
    placed = {number for _, number in found}
    parts: list[str | int] = [number for number in range(len(marks)) if number not in placed]
    end = 0
    for at, number in found:
        parts += [text[end:at], number]
        end = max(end, at + len(marks[number]))
    return [part for part in (*parts, text[end:]) if part != ""]
