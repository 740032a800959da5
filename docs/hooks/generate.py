"""Fill in the parts of pages that are generated when the site is built.

A page holds a line in the place of each part, which readers of the repository see:

    [generated when the site is built: commands]       every command of `leeroo`, from its help
    [generated when the site is built: names]          every public name of the package, from its docstring
    [generated when the site is built: scripts]        the scripts that measure what pages claim, from bench/README.md
    [generated when the site is built: experiments]    the log of experiments, bench/LOG.md
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

import leeroo
from leeroo.cli.main import app

_MARKER = re.compile(r"^\[generated when the site is built: (\w+)\]$", re.MULTILINE)
_BENCH = Path(__file__).parents[2] / "bench"
# A group of options without a name of its own.
_OTHERS = "Other options"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the text of a page with its generated parts; called by mkdocs for each page."""
    return _MARKER.sub(lambda found: "\n".join(_PARTS[found[1]]()), markdown)


def _commands() -> Iterator[str]:
    yield from _command(typer.main.get_command(app), "leeroo")


def _command(command: Any, name: str) -> Iterator[str]:
    """Yield the lines of one command, then of its subcommands."""
    context = command.context_class(command, info_name=name)
    yield from ("", f"## {name}", "", _paragraphs(command.help or ""), "")
    yield from ("```text", command.get_usage(context).removeprefix("Usage: "), "```", "")
    yield from _parameters(command, context)
    if command.epilog:
        yield from ("", _example(command.epilog))
    for subcommand, its_command in getattr(command, "commands", {}).items():
        if not its_command.hidden:
            yield from _command(its_command, f"{name} {subcommand}")


def _parameters(command: Any, context: Any) -> Iterator[str]:
    """Yield a table of the arguments and options for each group of the help."""
    groups: dict[str, list[str]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and parameter.name != "help":
            group = "Arguments" if parameter.param_type_name == "argument" else parameter.rich_help_panel or _OTHERS
            groups.setdefault(group, []).append(f"| `{record[0]}` | {_cell(record[1])} |")
    for group in sorted(groups, key=lambda group: (group != "Arguments", group == _OTHERS)):
        yield from ("", f"| {group} | |", "|---|---|", *groups[group])


def _names() -> Iterator[str]:
    for name in sorted(leeroo.__all__, key=lambda name: (name.startswith("_"), name[0].isupper(), name)):
        yield from (f"::: leeroo.{name}", "")


def _scripts() -> Iterator[str]:
    yield _of_bench("README.md").replace("\n## ", "\n### ").replace("](LOG.md)", "](experiments.md)")


def _experiments() -> Iterator[str]:
    yield _of_bench("LOG.md")


def _of_bench(name: str) -> str:
    """Return a page of the benches without its title."""
    return (_BENCH / name).read_text("utf-8").partition("\n")[2]


def _paragraphs(text: str) -> str:
    """Return a help text as paragraphs, without marks of the terminal."""
    return _cell(re.sub(r"\[/?(?:bold|dim|italic)\]", "", text)).replace("\b", "")


def _example(epilog: str) -> str:
    """Return the example below the help of a command as a block of code."""
    return "\n".join(("```text", epilog.partition(":")[2].strip(), "```"))


def _cell(text: str) -> str:
    """Return a text as Markdown shows it: options as code, and no sign that ends a cell or begins a tag."""
    shown = text.replace("|", "&#124;").replace("<", "&lt;").replace("*", "&#42;").replace("[", "&#91;")
    return re.sub(r"(?<![\w`-])(--[a-z][\w-]*)", r"`\1`", shown)


_PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "commands": _commands,
    "names": _names,
    "scripts": _scripts,
    "experiments": _experiments,
}
