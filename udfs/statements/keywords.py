"""The keywords and closing parentheses of a statement, and their places. Knows nothing of what they mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import duckdb
from duckdb import token_type

_WORD = re.compile(rb"\w*")
_SIGNS = (b"(", b")", b"[", b"]", b"{", b"}", b",")


class Keyword(NamedTuple):
    """A keyword of a statement, or a closing parenthesis."""

    start: int  # its first byte
    text: str  # in upper case
    depth: int  # in how many parentheses it stands


def words(text: str) -> Iterator[tuple[int, str]]:
    """Return the words of a statement with their first bytes: keywords in upper case, brackets and commas, else ""."""
    code = text.encode()  # tokens are counted in bytes
    for start, token in duckdb.tokenize(text):
        if token == token_type.keyword:
            word = _WORD.match(code, start)
            yield start, word[0].decode().upper() if word else ""
        elif token != token_type.comment:
            sign = code[start : start + 1]
            yield start, sign.decode() if sign in _SIGNS else ""


def keywords(text: str) -> Iterator[Keyword]:
    """Return the keywords and closing parentheses of a statement, in order."""
    depth = 0
    for start, word in words(text):
        depth += (word == "(") - (word == ")")
        if word.isidentifier() or word == ")":
            yield Keyword(start, word, depth)
