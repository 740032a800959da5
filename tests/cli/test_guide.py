"""What a newcomer sees first: the guide, the version, the panels of the help, completion in the shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

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
