"""What commands print while they work: the bar, lines once a minute, --quiet, log files, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leeroo.udfs import bar
from tests.command import leeroo
from tests.provider import Provider

QUESTIONS = "question\n" + "".join(f"What is {i} plus {i}?\n" for i in range(1, 9))


@pytest.fixture
def place(pool_file: Path, tmp_path: Path) -> Path:
    """Return a folder with a table; the experts take their time."""
    pool_file.write_text(
        "".join(
            f"[[expert]]{entry}[expert.engine]\ntokens_per_second = 20\n"
            for entry in pool_file.read_text().split("[[expert]]")[1:]
        )
    )
    (tmp_path / "t.csv").write_text(QUESTIONS)
    return tmp_path


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a line about every look at a run, not one a minute."""
    monkeypatch.setattr(bar, "_LINE_EVERY_S", 0.0)


def _run(place: Path, pool: Path, *more: str) -> Any:
    given = ("run", "t.csv", "--out", "o.parquet", "--pool", pool, "--store", "s", "--expert", "small")
    return leeroo(*given, *more, cwd=place)


@pytest.mark.usefixtures("often")
def test_where_there_is_no_terminal_lines_say_how_far_it_is(
    place: Path, api: Provider, api_entry: Callable[..., str]
) -> None:
    """A line has the stage, rows, tokens per second, spend and the time that is left."""
    api.delay_s = 0.15
    (place / "far.toml").write_text(api_entry("far", 1, 5, "[expert.engine]\nconcurrency = 1"))
    given = ("run", "t.csv", "--out", "o.parquet", "--pool", "far.toml")
    lines = leeroo(*given, "--store", "a", cwd=place).stderr.splitlines()
    whole = re.compile(r"answering: \d/8 rows, [\d,]+ tokens/s, \$[\d.]+, \d+ s left")
    assert any(whole.fullmatch(line) for line in lines), lines
    assert "tokens/s" not in leeroo(*given, "--store", "b", "--no-progress", cwd=place).stderr


def test_a_short_run_has_no_such_line(place: Path, pool_file: Path) -> None:
    """A minute has to pass before the first one."""
    assert "tokens/s" not in _run(place, pool_file).stderr


@pytest.mark.usefixtures("often")
def test_quiet_leaves_warnings_and_errors(place: Path, pool_file: Path) -> None:
    """Nothing is printed of a run that does well; an error still is."""
    done = _run(place, pool_file, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    failed = _run(place, pool_file, "--quiet", "--column", "nothing")
    assert failed.returncode == 2
    assert failed.stderr.startswith("leeroo: the input has no column 'nothing'")


@pytest.mark.usefixtures("often")
def test_the_log_file_has_every_line_with_its_time(place: Path, pool_file: Path) -> None:
    """Also of a quiet command, of several commands one after the other, and their errors."""
    _run(place, pool_file, "--quiet", "--log-file", "run.log")
    _run(place, pool_file, "--quiet", "--log-file", "run.log", "--column", "nothing")
    lines = (place / "run.log").read_text().splitlines()
    assert all(re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in lines)
    text = "\n".join(lines)
    for part in ("answering: ", "expert", "8 rows", "spent $", "o.parquet", "leeroo: the input has no column"):
        assert part in text


@pytest.mark.usefixtures("often")
def test_json_lines_are_objects(place: Path, pool_file: Path) -> None:
    """Standard error and the file hold one object a line, with figures for programs."""
    done = _run(place, pool_file, "--log-format", "json", "--log-file", "run.jsonl")
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert found == [json.loads(line) for line in (place / "run.jsonl").read_text().splitlines()]
    assert {"time", "kind", "message"} <= set.intersection(*map(set, found))
    far = [each for each in found if each.get("stage") == "generate"]
    assert far
    assert far[-1]["rows"] == 8
    [table] = [each["rows"] for each in found if isinstance(each.get("rows"), list)]
    assert table[0]["expert"] == "small"


def test_a_log_that_cannot_be_written_is_refused(place: Path, pool_file: Path) -> None:
    """Before anything is spent, with one line."""
    done = _run(place, pool_file, "--log-file", "none/run.log")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the log cannot be written to none/run.log" in done.stderr
    assert not (place / "o.parquet").exists()


@pytest.mark.parametrize(
    "command", ["run", "route", "solve", "label", "mmlu", "learn", "selfplay", "train", "evaluate", "sql"]
)
def test_long_commands_take_these_options(command: str) -> None:
    """Each has the same four in its help."""
    said = leeroo(command, "--help").stdout
    for option in ("--no-progress", "--quiet", "--log-file", "--log-format"):
        assert option in said
