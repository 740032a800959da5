"""Images among the fields of a row in SQL: a BLOB, or a text that the task marks.

Fields come as JSON, in which a BLOB is text with escapes, and as the name of their type, which says what is a BLOB.
Knows nothing of engines.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from leeroo.engine.images.references import held_reference, text_reference

# Quoted text, a bracket, or what separates fields.
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[(),]""")
_NAMED = re.compile(r"""("(?:[^"]|"")*"|\S+)\s+(.*)""", re.DOTALL)
_STRUCT = "STRUCT("
# The field with the bytes of an image in tables of Hugging Face.
_BYTES = "bytes"


@functools.lru_cache(maxsize=64)
def image_fields(kind: str) -> dict[str, str | None]:
    """Return the fields of a struct that hold images, by the name of its type in SQL.

    Each has the name of the field within it that holds the bytes, None where it holds them itself.
    """
    found: dict[str, str | None] = {}
    for name, inner in _fields(kind):
        if inner == "BLOB":
            found[name] = None
        elif dict(_fields(inner)).get(_BYTES) == "BLOB":
            found[name] = _BYTES
    return found


def _fields(kind: str) -> Iterator[tuple[str, str]]:
    """Yield names and types of the fields of a struct, by the name of its type; nothing for another type."""
    if not kind.startswith(_STRUCT) or not kind.endswith(")"):
        return
    body, start, depth = kind[len(_STRUCT) : -1], 0, 0
    ends = []
    for token in _TOKEN.finditer(body):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if token[0] == "," and depth == 0:
            ends.append(token.start())
    for end in (*ends, len(body)):
        if (named := _NAMED.fullmatch(body[start:end].strip())) is not None:
            name = named[1]
            yield (name[1:-1].replace('""', '"') if name.startswith('"') else name), named[2]
        start = end + 1


def refer(
    fields: dict[str, Any], pictures: Sequence[str], of_bytes: Mapping[str, str | None]
) -> tuple[dict[str, Any] | None, dict[str, bytes]]:
    """Return fields with references in the places of images, and the bytes of these by their hashes.

    Args:
        fields: The fields of a row, none of them NULL.
        pictures: Those that are images.
        of_bytes: Those that hold bytes, as `image_fields` says; others are texts that name an image.

    Returns:
        None for the fields where an image is NULL.

    """
    given, held = dict(fields), dict[str, bytes]()
    for name in pictures:
        if name not in of_bytes:
            given[name] = text_reference(str(fields[name]))
            continue
        inner = of_bytes[name]
        text = fields[name] if inner is None else fields[name][inner]
        if text is None:
            return None, {}
        data = _bytes(text)
        digest = hashlib.sha256(data).hexdigest()
        held[digest], given[name] = data, held_reference(digest)
    return given, held


def _bytes(text: str) -> bytes:
    r"""Return the bytes of a BLOB that DuckDB has written as text: printable ones, and others as \\xHH."""
    return text.encode("ascii").decode("unicode_escape").encode("latin-1")
