"""Pixels: check, decode, shrink and encode image files, with Pillow. Knows nothing of where they come from."""

from __future__ import annotations

import base64
import io
import warnings
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

# The kinds of files that are images here; Pillow knows others, which models and providers do not take.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
# The most bytes of a file, and the most pixels of an image: more would fill the memory when it is decoded.
MOST_BYTES, MOST_PIXELS = 50 * 1024**2, 100_000_000
# Kinds that every provider takes as they are.
_SENT_AS_THEY_ARE = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
# What cameras and programs write into a file beside the picture, such as the place where it was taken.
_NOTES = ("exif", "xmp", "XML:com.adobe.xmp", "photoshop", "comment", "Comment", "Description")
_JPEG_QUALITY = 90
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, MemoryError)


class NoImage(ValueError):
    """Raised for a file that cannot be used as an image, with the reason."""


def size_of(data: bytes) -> tuple[int, int]:
    """Return width and height of an image, from the head of its file.

    Raises:
        NoImage: it is none, of another kind, or too large.

    """
    if len(data) > MOST_BYTES:
        raise NoImage(f"the file has {len(data):,} bytes; at most {MOST_BYTES:,} are read: make it smaller")
    width, height = _open(data).size
    if width * height > MOST_PIXELS:
        raise NoImage(f"it has {width:,} x {height:,} pixels; at most {MOST_PIXELS:,} are read: make it smaller")
    if not width or not height:
        raise NoImage("it has no pixels")
    return width, height


def decode(data: bytes, longest: int) -> Any:
    """Return an image in RGB and upright, with no side longer than that many pixels; the first frame of several.

    Raises:
        NoImage: the file is broken.

    """
    try:
        opened = _open(data)
        opened.draft("RGB", (longest, longest))  # a JPEG is decoded in a smaller size where that suffices
        image = ImageOps.exif_transpose(opened)
        image = _on_white(image)
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    except _BROKEN as error:
        raise _broken(error) from error
    return image


def data_url(data: bytes, longest: int) -> str:
    """Return an image as a data: URL, with no side longer than that many pixels.

    A file that fits and holds nothing but the picture stays as it is; any other is encoded anew.

    Raises:
        NoImage: the file is broken.

    """
    image = decode(data, longest)  # checks the whole file, too
    opened = _open(data)
    kind = _SENT_AS_THEY_ARE.get(opened.format or "")
    if kind is None or opened.size != image.size or any(note in opened.info for note in _NOTES):
        written = io.BytesIO()
        lossless = opened.format != "JPEG"
        image.save(written, "PNG") if lossless else image.save(written, "JPEG", quality=_JPEG_QUALITY)
        data, kind = written.getvalue(), "image/png" if lossless else "image/jpeg"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def fitted(width: int, height: int, longest: int) -> tuple[int, int]:
    """Return the size of an image once no side is longer than that many pixels."""
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _open(data: bytes) -> Any:
    try:
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise NoImage(f"it is no image of a known kind ({', '.join(FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise NoImage(f"it has far more than {MOST_PIXELS:,} pixels: make it smaller") from error
    except _BROKEN as error:
        raise _broken(error) from error


def _on_white(image: Any) -> Any:
    """Return an image in RGB; what is transparent becomes white, as on a page."""
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
    return image.convert("RGB")


def _broken(error: BaseException) -> NoImage:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return NoImage(f"the file is broken: {first}")
