"""The documentation is written in plain words, in pages that begin with their title."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.site import DOCS

PAGES = sorted(DOCS.rglob("*.md"))
# Words that a reader in a hurry has to think about; each has a plain one.
ODD = (
    *("told", "dear", "dearest", "kin", "spool", "settle", "settles", "settled", "so many", "take up", "taken up"),
    *("comes to", "came to", "gives way", "goes by", "made of", "made by"),
)
# A sentence is counted without what stands in brackets.
MOST_WORDS = 40


def _prose(page: str) -> str:
    """Return the text of a page outside code, tables, headings and the addresses of links."""
    page = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    page = re.sub(r"^( {4}|\||#|!).*$", "", page, flags=re.MULTILINE)
    return re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "code", page))


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(DOCS)))
def test_a_page_is_plain(file: Path) -> None:
    """It begins with a title, uses no odd word, and no sentence is long."""
    page = file.read_text("utf-8")
    assert page.startswith("# ")
    prose = _prose(page)
    assert re.findall(rf"\b({'|'.join(ODD)})\b", " ".join(prose.split())) == []
    for paragraph in re.split(r"\n\s*\n|^- |^\d+\. ", prose, flags=re.MULTILINE):
        whole = re.sub(r"\([^()]*\)", "", " ".join(paragraph.split()))
        for sentence in re.split(r"(?<=[.:;!?])\s+(?=[A-Z*\[\"c])", whole):
            assert len(sentence.split()) <= MOST_WORDS, sentence
