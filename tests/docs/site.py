"""The documentation site, built once for all tests that read it, and what its pages hold."""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

from typer.testing import CliRunner

from leeroo.cli.main import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# The texts of the table that the pages label and answer.
TICKETS = ["I was charged twice for May.", "The page stays white after I log in.", None, "Where is your office?"]


class Page(HTMLParser):
    """One page: its text, the names of its anchors, where its links lead, and what it loads by itself."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self._text: list[str] = []
        self.feed(file.read_text("utf-8"))
        self.text = " ".join("".join(self._text).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the anchor, the link or the address of a tag."""
        given = {name: value for name, value in attrs if value}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        if "src" in given or (tag == "link" and given.get("rel") not in ("canonical", "prev", "next")):
            self.loads.append(given.get("src") or given.get("href", ""))
        elif tag == "a" and "href" in given:
            self.links.append(given["href"])

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self._text.append(data)


@functools.cache
def build() -> Path:
    """Build the site as `make docs` does, and return its folder."""
    folder = Path(tempfile.mkdtemp(prefix="leeroo-site-"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@functools.cache
def page(name: str) -> Page:
    """Return a page of the site by its name, such as "reference/http"."""
    return Page(build() / name / "index.html")


def source(name: str) -> str:
    """Return the text of a page as it was written, such as "reference/http"."""
    return (DOCS / f"{name}.md").read_text("utf-8")


def first_cells(name: str) -> set[str]:
    """Return all names in code of the first column of a page's tables."""
    rows = [line.split("|")[1] for line in source(name).splitlines() if line.startswith(("| `", "| [`"))]
    return {part for row in rows for part in row.split("`")[1::2]}


def commands_of(page: str) -> list[list[str]]:
    """Return the words of each command that stands in a block of its own, without `leeroo`; one may go on in a line."""
    whole = re.sub(r" \\\n +", " ", page)
    return [shlex.split(line, comments=True) for line in re.findall(r"^ {4}leeroo (.*)$", whole, flags=re.MULTILINE)]


def blocks_of(page: str, language: str) -> list[str]:
    """Return the blocks of code in a language."""
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def run(command: list[str]) -> None:
    """Run a command as a page shows it, without its progress."""
    done = CliRunner().invoke(app, [*command, "--no-progress"])
    assert done.exit_code == 0, (command, done.output, done.exception)
