"""The site builds without a warning, every link and anchor works, and no page loads anything from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.site import ROOT, Page, build

# Pages for people who look at the repository.
REPOSITORY = sorted([*ROOT.glob("*.md"), *(ROOT / "bench").glob("*.md"), *(ROOT / "examples").glob("*.md")])


def _pages() -> dict[Path, Page]:
    # The page for a missing address links as from the root of a server.
    return {file: Page(file) for file in build().rglob("*.html") if file.name != "404.html"}


def test_every_link_and_anchor_of_the_site_leads_somewhere() -> None:
    """Links within the site lead to a page that is there, and to an anchor of it."""
    pages = _pages()
    assert len(pages) > 40
    wrong = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            there = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            there = there / "index.html" if there.is_dir() else there
            missing = parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].anchors
            if not there.is_file() or missing:
                wrong.append((str(file.relative_to(build())), link))
    assert wrong == []


def test_pages_load_nothing_from_other_hosts() -> None:
    """Styles, scripts, fonts and pictures come with the site."""
    loads = {load for page in _pages().values() for load in page.loads}
    assert len(loads) > 10
    assert {load for load in loads if urlsplit(load).netloc} == set()
    styles = "".join(file.read_text("utf-8") for file in build().rglob("*.css"))
    assert set(re.findall(r"url\([\"']?(?:https?:)?//[^)]*\)", styles)) == set()


@pytest.mark.parametrize("file", REPOSITORY, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_of_the_repositorys_own_pages_work(file: Path) -> None:
    """A link to a file leads to one, and its anchor is a heading there."""
    for link in re.findall(r"\]\(([^)\s]+)\)", file.read_text("utf-8")):
        parts = urlsplit(link)
        if parts.scheme:
            continue
        there = file.parent / parts.path if parts.path else file
        assert there.exists(), link
        if parts.fragment:
            assert parts.fragment in _headings(there.read_text("utf-8")), link


def _headings(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_picture_has_a_text() -> None:
    """Whoever cannot see a picture can read what it shows."""
    for file in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        for text, _ in re.findall(r"!\[(.*?)\]\((.*?)\)", file.read_text("utf-8"), flags=re.DOTALL):
            assert len(text) > 15, file


def test_every_script_that_a_page_names_is_there() -> None:
    """Figures come from scripts in bench, by their path or, in tables, by their name."""
    scripts = {file.relative_to(ROOT).as_posix() for file in (ROOT / "bench").rglob("*.py")}
    names = {script.rpartition("/")[2] for script in scripts}
    for file in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "bench" / "README.md"]:
        text = file.read_text("utf-8")
        assert set(re.findall(r"bench/[\w/]+\.py", text)) - scripts == set(), file
        if file.name in ("benchmarks.md", "README.md"):
            assert set(re.findall(r"`(\w+\.py)`", text)) - names == set(), file
