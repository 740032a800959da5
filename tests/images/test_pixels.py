"""Pixels and marks: files become pixels or a reason, and texts are split where images stand."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from leeroo.engine.backends.images.limits import ImageLimits, limits_of
from leeroo.engine.images.marks import mark_of, place_of, split_at_marks, with_marks, without_digits
from leeroo.engine.images.pixels import NoImage, data_url, decode, size_of
from leeroo.engine.pool import Expert
from tests.pictures import picture

ONE, TWO = "a" * 64, "b" * 64


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_files_of_six_kinds_are_read(kind: str) -> None:
    """All come out as pixels in RGB, and as PNG or JPEG or what they were."""
    data = picture("red", (60, 40), kind)
    assert size_of(data) == (60, 40)
    image = decode(data, 30)
    assert (image.mode, image.size) == ("RGB", (30, 20))
    head, _, text = data_url(data, 100).partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64", "data:image/webp;base64")
    assert Image.open(io.BytesIO(base64.b64decode(text))).size == (60, 40)


def test_what_is_no_image_says_why() -> None:
    """Scripts, pages and pictures of other kinds are refused by their bytes."""
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"
    for data in (b"", b"GIF89a", svg, postscript, b"%PDF-1.7", b"\x00" * 100):
        with pytest.raises(NoImage, match="no image of a known kind|broken"):
            size_of(data)


def test_a_picture_is_upright_and_on_white() -> None:
    """The turn that a camera noted is done, and what is transparent is white."""
    turned = Image.Exif()
    turned[0x0112] = 6
    assert decode(picture("red", (60, 40), "JPEG", exif=turned), 100).size == (40, 60)
    clear = io.BytesIO()
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(clear, "PNG")
    assert decode(clear.getvalue(), 100).getpixel((1, 1)) == (255, 255, 255)


def test_marks_stand_where_images_do() -> None:
    """A text is split at the first mark of each image; others of its words stay text."""
    text = with_marks(f"Is {place_of(1)} like {place_of(0)}, and {place_of(7)}?", [ONE, TWO])
    assert text == f"Is {mark_of(TWO)} like {mark_of(ONE)}, and {place_of(7)}?"
    assert split_at_marks(text, [mark_of(ONE), mark_of(TWO)]) == ["Is ", 1, " like ", 0, f", and {place_of(7)}?"]
    twice = f"{mark_of(ONE)} {mark_of(ONE)}"
    assert split_at_marks(twice, [mark_of(ONE)]) == [0, f" {mark_of(ONE)}"]
    assert split_at_marks("no mark", [mark_of(ONE)]) == [0, "no mark"]
    assert without_digits(f"What is on {mark_of(ONE)}?") == "What is on [image]?"


@pytest.mark.parametrize(
    ("model", "size", "tokens"),
    [
        # The examples of the providers' documentation.
        ("gpt-4o", (1024, 1024), 765),
        ("gpt-4o", (2048, 4096), 1105),
        ("gpt-4o-mini", (512, 512), 2833 + 5667),
        ("gpt-4.1-mini", (1024, 1024), 1659),
        ("claude-sonnet-4-5", (1000, 1000), 1334),
        ("anthropic/claude-3.5-haiku", (200, 200), 54),
        ("gemini-2.5-flash", (384, 384), 258),
        ("gemini-2.5-flash", (960, 540), 6 * 258),
        ("some-model", (280, 280), 100),
    ],
)
def test_tokens_are_those_of_the_documentation(model: str, size: tuple[int, int], tokens: int) -> None:
    """An image is counted in the size in which it is sent."""
    prices: dict[str, Any] = {"usd_per_m_input": 1.0, "usd_per_m_output": 1.0}
    expert = Expert(name="eyes", model=model, backend="openai", images=True, **prices)
    limits: ImageLimits = limits_of(expert)
    assert limits.tokens([size]) == tokens
    assert limits.tokens([size, size]) == 2 * tokens
