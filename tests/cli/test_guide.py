"""What a newcomer sees first: the guide, the version, the panels of the help, completion in the shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import leeroo
from leeroo.cli.main import app
from tests.command import leeroo as run

COMPLETE = """
eval "$(leeroo --show-completion bash)"
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_leeroo_completion leeroo
echo "${{COMPREPLY[@]}}"
"""


def test_alone_it_prints_a_short_guide() -> None:
    """Without a command there is a guide that fits one screen, and its commands exist."""
    done = run()
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert len(lines) < 20
    assert max(map(len, lines)) <= 80
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    named = set(re.findall(r"^ +leeroo ([a-z]+)", done.stdout, re.MULTILINE))
    assert {"init", "run", "explain"} <= named
    assert named <= commands


def test_the_version_is_printed() -> None:
    """`leeroo --version` prints the version of the package and nothing else."""
    assert run("--version").stdout == f"leeroo {leeroo.__version__}\n"


def test_the_help_groups_commands_by_what_people_do() -> None:
    """Every command stands in one of the panels, in this order."""
    panels = re.findall(r"╭─ ([A-Z][\w ]+?) ─", run("--help").stdout)
    assert panels == ["Options", "Answer", "Learn", "Look", "Serve", "Set up"]


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    """The script for bash completes commands, options and commands of a family."""
    there = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for words, expected in (
        ("leeroo ru", "run"),
        ("leeroo run x --max", "--max-cost-usd"),
        ('leeroo store ""', "info"),
    ):
        script = COMPLETE.format(words=words)
        done = subprocess.run(["bash", "-c", script], env=there, cwd=tmp_path, capture_output=True, text=True)
        assert expected in done.stdout.split(), done.stderr


def _options(command: Any, name: str = "leeroo") -> Iterator[tuple[str, str]]:
    """Yield the name and the help of every option of every command."""
    for parameter in command.params:
        if parameter.param_type_name == "option":
            yield f"{name} {parameter.opts[0]}", parameter.help or ""
    for subcommand, its_command in getattr(command, "commands", {}).items():
        yield from _options(its_command, f"{name} {subcommand}")


def test_the_help_of_every_option_is_plain() -> None:
    """It is there, in short sentences; defaults stand where typer shows them, and no bracket is taken for markup."""
    found = list(_options(typer.main.get_command(app)))
    assert len(found) > 200
    for name, text in found:
        assert re.fullmatch(r"[A-Z'.].*\.", text), (name, text)
        assert "efault:" not in text, (name, text)
        assert "[" not in text, (name, text)
        for sentence in re.split(r"\. ", text):
            assert len(sentence.split()) <= 25, (name, sentence)
