"""References: the bytes of an image, by the data: URL, path or web address that a row names.

Rows may come from strangers. So a file is read only where it lies below one folder, and a web address is fetched only
where the user allows it.
"""

from __future__ import annotations

import base64
import binascii
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from leeroo.engine.images.pixels import MOST_BYTES, NoImage

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_HELD = "leeroo-held:"
_DATA = re.compile(r"data:([^,]{0,200}),", re.IGNORECASE)
# Seconds that a server has for a part of its reply.
_FETCH_S = 30.0
# Characters of a reference that an error quotes.
_SHOWN = 120


@dataclass(frozen=True)
class Sources:
    """Where images may be read from.

    Attributes:
        folder: Files lie below it; paths are relative to it.
        urls: Whether web addresses are fetched.
        held: Has the images that a caller has handed in before.
    """

    folder: Path
    urls: bool = False
    held: Path | None = None


def as_reference(data: bytes) -> str:
    """Return the reference of an image that is there as bytes."""
    return f"data:;base64,{base64.b64encode(data).decode()}"


def held_reference(digest: str) -> str:
    """Return the reference of an image that the engine holds, by its SHA-256."""
    return f"{_HELD}{digest}"


def text_reference(text: str) -> str:
    """Return the reference in a text of a row, which is never that of a held image."""
    return f"./{text}" if text.startswith(_HELD) else text


def is_url(reference: str) -> bool:
    """Return whether a reference is a web address, and no path or data: URL."""
    return _URL.match(reference) is not None


def read_reference(reference: str, sources: Sources) -> bytes:
    """Return the bytes of an image.

    Raises:
        NoImage: they cannot be had, or may not be read.

    """
    if (found := _DATA.match(reference)) is not None:
        return _decode(found[1], reference[found.end() :])
    if reference.startswith(_HELD) and sources.held is not None:
        return _read_file(reference.removeprefix(_HELD), sources.held)
    if is_url(reference):
        return _fetch(reference, sources)
    return _read_file(reference, sources.folder)


def _decode(kind: str, text: str) -> bytes:
    if not kind.lower().endswith(";base64"):
        return unquote_to_bytes(text)
    try:
        return binascii.a2b_base64(text.strip(), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise NoImage("the data: URL holds no base64") from error


def _read_file(name: str, folder: Path) -> bytes:
    shown = _quote(name)
    try:
        allowed = folder.resolve()
        path = (allowed / name).resolve()  # links are followed before it is checked
        if not path.is_relative_to(allowed):
            raise NoImage(f"{shown} is outside of {allowed}: images are read from below image_folder only")
        if not path.is_file():
            raise NoImage(f"there is no file {shown} in {allowed}")
        if path.stat().st_size > MOST_BYTES:
            raise NoImage(f"{shown} has more than {MOST_BYTES:,} bytes: make it smaller")
        return path.read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, NoImage):
            raise
        raise NoImage(f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _fetch(url: str, sources: Sources) -> bytes:
    shown = _quote(url)
    if not url.lower().startswith(("http://", "https://")):
        raise NoImage(f"{shown} is no web address of an image: it begins with http:// or https://")
    if not sources.urls:
        raise NoImage(f"{shown} is a web address, and none is fetched unless allow_urls is set")
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "leeroo", "Accept": "image/*"})
        with _OPENER.open(request, timeout=_FETCH_S) as reply:
            data: bytes = reply.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise NoImage(f"{shown} cannot be fetched: HTTP status {error.code}") from error
    except (OSError, ValueError) as error:
        raise NoImage(f"{shown} cannot be fetched: {getattr(error, 'reason', None) or error}") from error
    return data


def _web_only() -> urllib.request.OpenerDirector:
    """Return an opener that knows HTTP and nothing else, so that no redirection leads to a file."""
    opener = urllib.request.OpenerDirector()
    kinds = (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    )
    for kind in kinds:
        opener.add_handler(kind())
    return opener


_OPENER = _web_only()


def _quote(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
