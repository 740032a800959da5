"""The keywords and closing parentheses of a statement, and their places. Knows nothing of what they mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import duckdb
from duckdb import token_type

_WORD = re.compile(rb"\w*")


class Keyword(NamedTuple):
    """A keyword of a statement, or a closing parenthesis."""

    start: int  # its first byte
    text: str  # in upper case
    depth: int  # in how many parentheses it stands


def keywords(text: str) -> Iterator[Keyword]:
    """Return the keywords and closing parentheses of a statement, in order."""
    code = text.encode()  # tokens are counted in bytes
    depth = 0
    for start, token in duckdb.tokenize(text):
        depth += code.startswith(b"(", start) - code.startswith(b")", start)
        if token == token_type.keyword:
            word = _WORD.match(code, start)
            yield Keyword(start, word[0].decode().upper() if word else "", depth)
        elif code.startswith(b")", start):
            yield Keyword(start, ")", depth)
