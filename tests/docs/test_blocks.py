"""What stands in code on any page is valid: commands, options, Python, TOML and JSON."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from leeroo.cli.main import app
from tests.docs.site import DOCS, ROOT

PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
LEEROO = typer.main.get_command(app)


def _commands(page: str) -> Iterator[list[str]]:
    """Yield the words of each command line of a page: in blocks, and in code within the text."""
    whole = re.sub(r" \\\n\s+", " ", page)
    lines = re.findall(r"^(?: {4}|\t)(?:.* \| |\w+=\S+ )?leeroo (.*?)(?: +# .*)?$", whole, flags=re.MULTILINE)
    within = [" ".join(line.split()) for line in re.findall(r"`leeroo (-?-?[a-z][^`]*)`", whole)]
    for line in [*lines, *within]:
        words = shlex.split(line.partition(" | ")[0], comments=False) if line.count('"') % 2 == 0 else line.split()
        yield words


def _wrong(words: list[str]) -> str | None:
    """Return what is wrong with a command, None where nothing is."""
    command: Any = LEEROO
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    if command is LEEROO and words and not words[0].startswith("-"):
        return f"there is no command {words[0]}"
    context = command.context_class(command)
    known = {name for each in command.get_params(context) for name in (*each.opts, *each.secondary_opts)}
    options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    unknown = options - known - {"--help"}
    return f"{command.name} has no {', '.join(sorted(unknown))}" if unknown else None


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_commands_exist_with_their_options(file: Path) -> None:
    """No page shows a command or an option that is not there."""
    assert [wrong for words in _commands(file.read_text("utf-8")) if (wrong := _wrong(words))] == []


def test_wrong_commands_are_found() -> None:
    """The check itself finds a command and an option that are not there, and passes those that are."""
    page = (
        "    leeroo rnu x.csv\n\n`leeroo run x.csv --ouput y` and `leeroo limits set --per-day 5`, `leeroo --version`\n"
    )
    assert [_wrong(words) for words in _commands(page)] == [
        "there is no command rnu",
        "run has no --ouput",
        None,
        None,
    ]


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_blocks_can_be_read(file: Path) -> None:
    """Python, TOML and JSON have no mistake that a reader would copy."""
    readers: dict[str, Any] = {"python": ast.parse, "toml": tomllib.loads, "json": json.loads}
    for kind, block in re.findall(
        r"^```(\w+)[^\n]*\n(.*?)^```", file.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE
    ):
        if kind in readers:
            readers[kind](block)
