"""Both quickstarts run as written, from the first file to the last command."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import leeroo
from leeroo.engine.schema import ANSWERS
from leeroo.reports.demo import choosing_plot, choosing_report, measure_choosing
from tests.command import leeroo as command
from tests.docs.site import blocks_of, commands_of, source
from tests.provider import Provider


def _saved(page: str) -> Iterator[tuple[str, str]]:
    """Yield the files that a page shows after "Save as", with their text."""
    yield from re.findall(r"[Ss]ave as `([\w.]+)`[^`]*?```\w+\n(.*?)```", page, flags=re.DOTALL)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEEROO_STORE", str(tmp_path / "store"))


def test_the_quickstart_with_an_api_key(tmp_path: Path, api: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the provider's address and the key are the test's own."""
    page = source("start/quickstart-api")
    for name, text in _saved(page):
        Path(name).write_text(text.replace('backend = "openai"', f'backend = "openai"\nbase_url = "{api.url}"'))
    assert sorted(os.listdir(tmp_path)) == ["pool.toml", "tickets.csv"]
    [(variable, _)] = re.findall(r"export (\w+)=(\S+)", page)
    monkeypatch.setenv(variable, "sk-0123456789")
    commands = commands_of(page)
    assert [words[0] for words in commands] == ["experts", "explain", "run", "sql"]
    shown = []
    for words in commands:
        done = command(*words)
        assert done.returncode == 0, (words, done.stderr)
        shown.append(done.stdout)
    assert "5 rows, 5 distinct prompts" in shown[1]
    answers = pl.read_csv("answers.csv")
    assert answers.columns == ["id", "text", *ANSWERS.names]
    assert answers["answer"].null_count() == 0
    assert set(answers["expert"]) == {"small"}
    assert all(call.prompt.startswith("Answer this customer in one sentence: ") for call in api.calls)
    sent = len(api.calls)
    assert command(*commands[2]).returncode == 0
    [program] = blocks_of(page, "python")
    names: dict[str, Any] = {}
    exec(program, names)
    assert names["answers"]["answer"].null_count == 0
    assert len(api.calls) == sent == 5  # all that came after the first run was stored


@pytest.mark.usefixtures("models_here")
def test_the_quickstart_offline() -> None:
    """The embedded model answers; equal rows and repeated commands cost nothing."""
    page = source("start/quickstart-offline")
    for name, text in _saved(page):
        Path(name).write_text(text)
    for words in commands_of(page):
        done = command(*words)
        assert done.returncode == 0, (words, done.stderr)
    answers = pl.read_csv("answers.csv")
    assert answers["answer"].null_count() == 0
    assert answers["cost_usd"][3] == 0
    assert answers["answer"][0] == answers["answer"][3]
    assert set(pl.read_csv("mine.csv")["expert"]) == {"mine"}
    with leeroo.connect() as con:
        [statement] = blocks_of(page, "sql")
        rows = con.sql(statement)
        assert rows is not None
        assert [len(row[1]) > 0 for row in rows.fetchall()] == [True] * 4
    [program] = blocks_of(page, "python")
    exec(program, {})


def test_the_picture_of_the_quickstart_is_that_of_the_demo() -> None:
    """The lines on the page are those that the demo prints on 80 columns, table included."""
    found = measure_choosing()
    [table] = choosing_report(found).tables
    page = [line.removeprefix("    ") for line in source("start/quickstart-offline").splitlines()]
    plot = [line for line in choosing_plot(found, 80) if line]
    assert [line for line in plot if line not in page] == []
    rows = {tuple(line.split()) for line in page}
    for part, budget, spent, ours, interval, mix, single in table.rows:
        ends = (f"{100 * interval.low:.1f}", "to", f"{100 * interval.high:.1f}")
        assert (part, budget, spent, f"{100 * ours:.1f}", *ends, f"{100 * mix:.1f}", f"{100 * single:.1f}") in rows
