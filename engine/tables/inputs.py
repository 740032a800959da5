"""Inputs: find the files that an input names, and make plain copies of those that DuckDB cannot read."""

from __future__ import annotations

import codecs
import glob
import mmap
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa

from leeroo.engine.errors import InputError

Kind = Literal["parquet", "csv", "tsv", "jsonl", "json"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_SUFFIXES: dict[str, Kind] = {**{f".{kind}": kind for kind in KINDS}, ".ndjson": "jsonl"}
_MARKS = "*?["
_PACKED = (".gz", ".zst")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://")
_FILE_URL = "file://"
_CHUNK_BYTES = 1 << 20
# So much of a stream says what it holds.
_HEAD_BYTES = 4096

# Quoted text, or the end of a row as other machines write it.
_ROW_END = re.compile(rb'"[^"]*"|\r\n?')
# What Python writes into JSON that is none: NaN, infinities, and half characters (the other half does not follow, or
# did not come before).
_NO_JSON = re.compile(rb"\\u[dD][89a-fA-F]|\bNaN\b|\bInfinity\b")
_STRING_OR_NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b')
_HALF = re.compile(rb"\\u[dD]")
_ESCAPE = re.compile(
    rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)"
)


@dataclass(frozen=True)
class Layout:
    """How a file is laid out, where its name does not say it.

    Attributes:
        kind: What it holds; None follows its suffix, and for a stream its content.
        delimiter: What stands between the values of CSV; None is a comma, in .tsv a tab.
        header: Whether the first row of CSV names the columns.
        encoding: Of CSV and JSON; None is UTF-8, or UTF-16 where the file's first bytes say so.
    """

    kind: Kind | None = None
    delimiter: str | None = None
    header: bool = True
    encoding: str | None = None


@dataclass(frozen=True)
class Files:
    """Files of one kind, in order, and what they are called in messages."""

    paths: Sequence[str]
    kind: Kind
    shown: str


def input_paths(source: str | Path) -> list[str]:
    """Return the files that an input names, and the folder if it is one; none for a stream or a URL."""
    name = str(source).removeprefix(_FILE_URL)
    if name == "-" or is_url(name) or _is_pipe(name):
        return []
    return [name, *_in_folder(name)] if os.path.isdir(name) else [name] if os.path.exists(name) else _match(name)


def find(source: str | Path, layout: Layout, held: ExitStack) -> Files:
    """Find the files of an input; a stream is copied, and the copy lives as long as `held`.

    Raises:
        InputError: there are none, they are of several kinds, or nothing says what they hold.
    """
    name = str(source).removeprefix(_FILE_URL)
    if name == "-" or _is_pipe(name):
        shown = "standard input" if name == "-" else name
        copy = _copy_stream(name, held)
        return Files([copy], layout.kind or _kind_of_content(copy, layout.encoding), shown)
    if is_url(name):
        return Files([name], layout.kind or _kind_of([urlsplit(name).path], name), name)
    paths = [path for path in input_paths(name) if not os.path.isdir(path)]
    if not paths and os.path.isdir(name):
        raise InputError(f"the folder {name} holds no files")
    if not paths:
        what = "no file matches" if any(mark in name for mark in _MARKS) else "there is no file"
        raise InputError(f"{what} {name}")
    return Files(paths, layout.kind or _kind_of(paths, name), name)


def plain(path: str, kind: Kind, encoding: str | None, held: ExitStack) -> str:
    """Return a text file as DuckDB can read it: unpacked, in UTF-8, its row ends alike, its JSON valid.

    The file itself where it is so, else a copy that lives as long as `held`.

    Raises:
        InputError: it is not in that encoding, or cannot be read.
    """
    if is_url(path):
        if encoding is not None:
            raise InputError(f"{path}: --encoding is for files; download it first")
        return path
    try:
        if path.lower().endswith(_PACKED):
            with pa.input_stream(path, compression="detect") as packed:
                path = _copy_parts(iter(lambda: packed.read(_CHUNK_BYTES), b""), held)
        if encoding or (encoding := _marked_encoding(path)):
            with open(path, encoding=encoding, newline="") as text:
                path = _copy_parts((part.encode() for part in iter(lambda: text.read(_CHUNK_BYTES), "")), held)
        if kind in ("csv", "tsv"):
            return _copy_parts(_with_line_feeds(path), held) if _mixes_row_ends(path) else path
        return _copy_parts(_mend_lines(path), held) if _needs_mending(path) else path
    except LookupError as error:
        raise InputError(f"there is no encoding {encoding!r}: name one such as latin-1 or utf-16") from error
    except UnicodeError as error:
        raise InputError(f"{path} is not text in {encoding}: name its own encoding with --encoding") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def is_url(name: str) -> bool:
    """Return whether a name is a URL, which DuckDB reads."""
    return _URL.match(name) is not None


def pattern_of(path: str) -> str:
    """Return the pattern that only this file matches, for a reader that takes patterns."""
    return path if is_url(path) else glob.escape(os.path.abspath(path))


def _is_pipe(name: str) -> bool:
    return os.path.exists(name) and not os.path.isfile(name) and not os.path.isdir(name)


def _in_folder(folder: str) -> list[str]:
    """Return the files in a folder and below it, but for hidden ones and marks that programs leave."""
    return [
        str(path)
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    ]


def _match(pattern: str) -> list[str]:
    if not any(mark in pattern for mark in _MARKS):
        return []
    return [row[0] for row in duckdb.connect().execute("FROM glob($name)", {"name": pattern}).fetchall()]


def _kind_of(paths: Sequence[str], shown: str) -> Kind:
    found: set[Kind | None] = {_SUFFIXES.get(Path(_unpacked_name(path)).suffix.lower()) for path in paths}
    if len(found) > 1:
        raise InputError(f"{shown}: its files are of several kinds; name those of one kind, as in '*.csv'")
    kind = found.pop()
    if kind is None:
        known = ", ".join(_SUFFIXES)
        raise InputError(f"{shown}: cannot tell what kind of file this is; name it {known}, or say which with --format")
    return kind


def _unpacked_name(path: str) -> str:
    return path[: -len(Path(path).suffix)] if path.lower().endswith(_PACKED) else path


def _kind_of_content(path: str, encoding: str | None) -> Kind:
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"PAR1"):
        return "parquet"
    text = head.decode(encoding or _marked_encoding(path) or "utf-8-sig", "replace").lstrip()
    return "jsonl" if text.startswith("{") else "json" if text.startswith("[") else "csv"


def _marked_encoding(path: str) -> str | None:
    """Return UTF-16 where the first bytes of a file say so."""
    with open(path, "rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else None


def _copy_stream(name: str, held: ExitStack) -> str:
    with sys.stdin.buffer if name == "-" else open(name, "rb") as stream:
        return _copy_parts(iter(lambda: stream.read(_CHUNK_BYTES), b""), held)


def _copy_parts(parts: Iterable[bytes], held: ExitStack) -> str:
    copy = held.enter_context(tempfile.NamedTemporaryFile(prefix="leeroo-"))  # noqa: SIM115 (closed by `held`)
    copy.writelines(parts)
    copy.flush()
    return copy.name


def _mixes_row_ends(path: str) -> bool:
    """Return whether a file has several kinds of row ends: Python notes those that it has read."""
    with open(path, encoding="latin-1") as text:
        while text.read(_CHUNK_BYTES):
            pass
        return isinstance(text.newlines, tuple)


def _with_line_feeds(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        done = 0
        for found in _ROW_END.finditer(text):
            if found.group().startswith(b"\r"):
                yield text[done : found.start()] + b"\n"
                done = found.end()
        yield text[done:]


def _needs_mending(path: str) -> bool:
    """Return whether a JSON file has something in it that Python alone takes for JSON."""
    if os.path.getsize(path) == 0:  # there is nothing to map
        return False
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return _NO_JSON.search(text) is not None


def _mend_lines(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        for line in file:
            yield _STRING_OR_NUMBER.sub(_mend, line)


def _mend(token: re.Match[bytes]) -> bytes:
    """Return a string without half characters; null for what is no number of JSON."""
    text = token.group()
    return _ESCAPE.sub(_whole, text) if text.startswith(b'"') else b"null"


def _whole(escape: re.Match[bytes]) -> bytes:
    """Return an escape as it is, or U+FFFD where it is half a character."""
    text = escape.group()
    return b"\\ufffd" if escape.group(1) is None and _HALF.match(text) else text
