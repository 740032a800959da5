"""Prompts over columns of a table: on the command line, in Python, and the same as in SQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

import leeroo as python
from tests.command import leeroo
from tests.provider import Provider

PROMPT = "Summarise in {lang}, {n} words: {text} {{so}}"
TABLE = [
    {"text": "It rained.", "lang": "French", "n": 3},
    {"text": None, "lang": "German", "n": 4},
    {"text": "Cats sleep.", "lang": "Dutch", "n": 5},
]
SENT = ["Summarise in French, 3 words: It rained. {so}", "Summarise in Dutch, 5 words: Cats sleep. {so}"]


@pytest.fixture
def place(api_entry: Callable[..., str], tmp_path: Path) -> Path:
    """Return a folder with a table and a pool of one expert, with a system text of its own."""
    (tmp_path / "pool.toml").write_text(api_entry("far", 1, 50, 'system = "Of the pool."'))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TABLE))
    return tmp_path


def _messages(api: Provider) -> list[list[tuple[str, str]]]:
    sent = [[(each["role"], each["content"]) for each in body["messages"]] for body in api.bodies]
    return sorted(sent, key=lambda messages: messages[-1][1], reverse=True)


OPTIONS = ("--pool", "pool.toml", "--store", "s", "--system", "Be short.", "--max-tokens", "7")


def test_every_row_is_sent_the_prompt_with_its_columns(place: Path, api: Provider) -> None:
    """Columns stand in the place of their names, the system text and the limit are the run's, NULL is sent nowhere."""
    done = leeroo("run", "rows.jsonl", "--prompt", PROMPT, "--out", "o.parquet", *OPTIONS, cwd=place)
    assert done.returncode == 0, done.stderr
    assert _messages(api) == [[("system", "Be short."), ("user", text)] for text in SENT]
    assert [body["max_tokens"] for body in api.bodies] == [7, 7]
    rows = pq.read_table(place / "o.parquet")
    assert rows.column_names[:3] == ["text", "lang", "n"]
    assert [answer is None for answer in rows.column("answer").to_pylist()] == [False, True, False]
    assert rows.column("error").null_count == 3


def test_sql_and_python_share_its_answers(place: Path, api: Provider) -> None:
    """The same prompt over the same rows is the same questions everywhere: they are paid for once."""
    leeroo("run", "rows.jsonl", "--prompt", PROMPT, "--out", "o.parquet", *OPTIONS, cwd=place)
    paid = len(api.calls)
    statement = f"SELECT leeroo('{PROMPT}', t, system := 'Be short.', max_tokens := 7).answer AS a FROM 'rows.jsonl' t"
    done = leeroo("sql", statement, *OPTIONS[:4], cwd=place)
    assert done.returncode == 0, done.stderr
    rows: pl.DataFrame = python.answer(
        pl.DataFrame(TABLE),
        prompt=PROMPT,
        system="Be short.",
        max_tokens=7,
        pool=place / "pool.toml",
        store=place / "s",
    )
    assert rows["answer"].null_count() == 1
    assert rows["cost_usd"].sum() == 0
    assert len(api.calls) == paid == 2


def test_a_temperature_samples_every_row(place: Path, api: Provider) -> None:
    """Equal rows are sent once, and each by itself where answers are sampled."""
    (place / "same.jsonl").write_text('{"text": "x"}\n' * 3)
    options = ("run", "same.jsonl", "--prompt", "Rhyme: {text}", *OPTIONS[:4])
    assert leeroo(*options, "--out", "a.parquet", cwd=place).returncode == 0
    assert len(api.calls) == 1
    assert leeroo(*options, "--out", "b.parquet", "--temperature", "0.7", cwd=place).returncode == 0
    assert [body["temperature"] for body in api.bodies[1:]] == [0.7] * 3


def test_explain_and_route_take_it_too(place: Path, api: Provider) -> None:
    """Both count the rows that have all columns, and send nothing."""
    given = ("rows.jsonl", "--prompt", PROMPT, *OPTIONS)
    assert "2 distinct prompts" in leeroo("explain", *given, cwd=place).stdout
    assert leeroo("route", *given, "--out", "r.parquet", cwd=place).returncode == 0
    assert pq.read_table(place / "r.parquet").column("expert").to_pylist() == ["far", None, "far"]
    assert not api.calls


def test_explain_takes_a_table_that_has_answers(place: Path) -> None:
    """It adds no columns, so that none can clash."""
    (place / "answered.csv").write_text("question,answer\nWhat is 1 plus 1?,2\n")
    done = leeroo("explain", "answered.csv", *OPTIONS[:4], cwd=place)
    assert (done.returncode, "1 distinct prompts" in done.stdout) == (0, True), done.stderr


def test_a_row_of_blanks_asks_nothing(place: Path, api: Provider) -> None:
    """A row in which all columns of the prompt are blank is not sent; one with a blank among others is."""
    blank = [{"text": " ", "lang": ""}, {"text": "", "lang": "French"}]
    (place / "blank.jsonl").write_text("".join(json.dumps(row) + "\n" for row in blank))
    given = ("run", "blank.jsonl", "--prompt", "{text} in {lang}", *OPTIONS, "--out", "o.csv")
    assert leeroo(*given, cwd=place).returncode == 0
    assert [messages[-1][1] for messages in _messages(api)] == [" in French"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--prompt", "In {lnag}: {text}"), "no column 'lnag'; its columns are: text, lang, n"),
        (("--prompt", "Summarise."), "the prompt names no column: write one in braces"),
    ],
)
def test_a_prompt_that_cannot_be_is_one_line(options: tuple[str, ...], error: str, place: Path, api: Provider) -> None:
    """The line names the columns that there are, and nothing is sent."""
    done = leeroo("run", "rows.jsonl", *options, "--out", "o.csv", *OPTIONS, cwd=place)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert error in done.stderr
    assert not api.calls


def test_learning_uses_the_prompt(place: Path, api: Provider, api_entry: Callable[..., str]) -> None:
    """A run that learns sends the same prompts to each expert that it tries."""
    (place / "pool.toml").write_text(api_entry("far", 1, 50) + api_entry("near", 0.1, 50))
    rows: list[Any] = [{"text": f"What is {i} plus {i}?"} for i in range(24)]
    (place / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ("--prompt", "Compute: {text}", "--learn", "--max-cost-usd", "1", "--out", "o.parquet", *OPTIONS)
    done = leeroo("run", "many.jsonl", *given, cwd=place)
    assert done.returncode == 0, done.stderr
    asked = {messages[-1][1] for messages in _messages(api) if messages[0] == ("system", "Be short.")}
    assert {f"Compute: {row['text']}" for row in rows} <= asked
