"""`leeroo sql` and `leeroo explain`: what they say of statements, of rows without an answer, and of what they print."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import command

Leeroo = Callable[..., subprocess.CompletedProcess[str]]
Program = Callable[..., subprocess.CompletedProcess[bytes]]
ONE = "SELECT leeroo_answer('What is 1 plus 1?') AS a"


@pytest.fixture
def leeroo(pool_file: Path, tmp_path: Path) -> Leeroo:
    """Run a command with the replayed pool and a store of this test's own."""
    return lambda *arguments: command.leeroo(*arguments, "--pool", pool_file, "--store", "store", cwd=tmp_path)


@pytest.fixture
def program(pool_file: Path, tmp_path: Path) -> Program:
    """Run a command so in a process of its own, with this on its standard input and in its environment."""

    def run(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "leeroo", *arguments, "--pool", str(pool_file), "--store", "store"]
        env = {**os.environ, **environment}
        return subprocess.run(command, cwd=tmp_path, input=stdin, capture_output=True, timeout=120, env=env)

    return run


def test_rows_without_an_answer_are_exit_code_1(leeroo: Leeroo) -> None:
    """The result is printed; one line on standard error counts what failed and says why."""
    done = leeroo("sql", "SELECT leeroo_answer(q) AS a FROM (VALUES ('unknown'), ('What is 1 plus 1?')) v(q)")
    assert done.returncode == 1
    assert "large says 2" in done.stdout
    assert done.stderr.splitlines() == [
        "warning: leeroo_answer: 1 of 2 questions asked have no answer and are NULL: "
        "the question is not among those recorded in 'data'"
    ]


def test_rows_without_an_answer_fail_where_that_is_wanted(leeroo: Leeroo) -> None:
    """--on-error fail prints no result."""
    done = leeroo("sql", "SELECT leeroo_answer('unknown') AS a", "--on-error", "fail")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("leeroo: leeroo_answer: 1 of 1 questions asked have no answer")


@pytest.mark.parametrize("name", ["text", "options", "db", "statement", "bar", "rows"])
def test_a_table_that_is_not_there_does_not_exist(leeroo: Leeroo, name: str) -> None:
    """A missing table is an error, even when a variable of this package has its name."""
    done = leeroo("sql", f"SELECT * FROM {name}")
    assert done.returncode == 2
    assert f"Table with name {name} does not exist!" in done.stderr


def test_advice_of_duckdb_is_kept(leeroo: Leeroo) -> None:
    """The error has DuckDB's candidates, and its arrow."""
    done = leeroo("sql", "SELECT quetsion FROM (VALUES ('x')) v(question)")
    assert done.stderr.splitlines() == [
        'leeroo: Binder Error: Referenced column "quetsion" not found in FROM clause! Candidate bindings: "question"'
    ]
    done = leeroo("sql", "SELEC 1")
    assert done.stderr.splitlines()[1:] == ["LINE 1: SELEC 1", "        ^^^^^"]


def test_a_file_that_is_no_database_is_one_line(leeroo: Leeroo, tmp_path: Path) -> None:
    """--db may name anything."""
    (tmp_path / "my.duckdb").write_text("no database" * 1000)
    done = leeroo("sql", ONE, "--db", "my.duckdb")
    assert done.returncode == 2
    assert done.stderr.startswith("leeroo: IO Error")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_knows_fewer_characters_shows_others(program: Program, encoding: str, tmp_path: Path) -> None:
    """Characters that it does not have are replaced, in results and in errors."""
    done = program("sql", "SELECT '日本語 ✓' AS a", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"???" in done.stdout
    (tmp_path / "日本語.csv").write_text("question\nWhat is 1 plus 1?\n")
    done = program("run", "日本語.csv", "--out", "✓.csv", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert b"?.csv" in done.stderr
    done = program("run", "誰.csv", "--out", "o.csv", PYTHONIOENCODING=encoding)
    assert done.returncode == 2
    assert b"there is no file ?.csv" in done.stderr


def test_a_statement_longer_than_a_file_name_is_explained(leeroo: Leeroo) -> None:
    """A long statement is no path, and is not searched for."""
    done = leeroo("explain", f"{ONE}, '{'x' * 5000}' AS b")
    assert done.returncode == 0, done.stderr
    assert "1 distinct prompts" in done.stdout


def test_a_pipe_is_read_once(program: Program) -> None:
    """A statement without our functions reads it; one with them says how to, before any expert is called."""
    rows = b"q\nWhat is 1 plus 1?\n"
    table = "read_csv('/dev/stdin', header = true)"
    done = program("sql", f"SELECT q FROM {table}", stdin=rows)
    assert b"What is 1 plus 1?" in done.stdout, done.stderr
    done = program("sql", f"SELECT leeroo_answer(q) FROM {table}", stdin=rows)
    assert done.returncode == 2
    assert b"/dev/stdin can be read only once" in done.stderr
    done = program("sql", f"CREATE TABLE t AS FROM {table}; SELECT leeroo_answer(q) FROM t", stdin=rows)
    assert b"large says 2" in done.stdout, done.stderr


def test_options_in_errors_are_those_of_the_command_line(leeroo: Leeroo, tmp_path: Path) -> None:
    """Python's names stay in Python."""
    (tmp_path / "t.csv").write_text("text,answer\nx,y\n")
    assert "(choose one with --column)" in leeroo("run", "t.csv", "--out", "o.csv").stderr
    assert "(--prefix)" in leeroo("run", "t.csv", "--out", "o.csv", "--column", "text").stderr
    said = leeroo("run", "t.csv", "--out", "o.csv", "--max-cost-usd", "1", "--cost-weight", "1").stderr
    assert "give a budget (--max-cost-usd) or a --cost-weight, not both" in said
