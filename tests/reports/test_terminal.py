"""Tables on terminals of any width, and in pipes."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from leeroo.reports.report import Table, columns
from leeroo.reports.terminal import print_table, say

MODELS = (
    "meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo",
    "meta-llama/Meta-Llama-3.2-70B-Instruct-Turbo",
    "通义千问/通义千问-最新-七百二十亿参数-指令微调版本",
)
TABLE = Table(
    "Models",
    columns("model | rows: count | tokens in: count | tokens out: count | cost USD: usd | why not here"),
    [(model, 1234567, 987654321, 123456789, 12345.678, "needs a GPU with 80 GiB of memory") for model in MODELS],
)
NUMBERS = ("1,234,567", "987,654,321", "123,456,789", "12,345.678000")


def _printed(
    width: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], table: Table = TABLE
) -> list[str]:
    """Print a table on a terminal of a width, or where there is none."""
    for name in ("FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    if width is not None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(width))
    print_table(table)
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_a_table_takes_the_width_that_is_there(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No line is wider than the terminal, and every number is there whole, once a row."""
    lines = _printed(width, monkeypatch, capsys)
    assert max(map(cell_len, lines)) <= width
    for number in NUMBERS:
        assert sum(line.split().count(number) for line in lines) == len(MODELS)


def test_long_names_are_shortened_in_the_middle(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name stays on one line with its beginning and its end."""
    names = [line.split()[0] for line in _printed(120, monkeypatch, capsys) if "…" in line]
    for name, model in zip(names, MODELS, strict=True):
        start, end = name.split("…")
        assert start
        assert end
        assert model.startswith(start)
        assert model.endswith(end)


def test_names_that_differ_are_shortened_differently(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the middle tells names apart another part is cut, the same in every block of columns."""
    names = {line.split()[0] for line in _printed(60, monkeypatch, capsys) if "…" in line}
    assert len(names) == len(MODELS)


def test_sentences_wrap_between_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No word of a sentence is cut, however narrow its column is."""
    words = " ".join(_printed(60, monkeypatch, capsys)).split()
    for word in ("needs", "GPU", "memory"):
        assert words.count(word) == len(MODELS)


def test_a_pipe_gets_everything(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no terminal each row is one line with whole names, and no blanks follow it."""
    lines = _printed(None, monkeypatch, capsys)
    assert lines[0] == "Models"
    assert len(lines) == 2 + len(MODELS)
    for model, line in zip(MODELS, lines[2:], strict=True):
        assert line.startswith(model)
        assert line.endswith("needs a GPU with 80 GiB of memory")


def test_a_value_of_several_lines_is_one_row_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line break in a value does not break the row."""
    table = Table("", columns("question | rows: count"), [("one\ntwo", 1)])
    assert _printed(None, monkeypatch, capsys, table)[1] == "one two      1"


def test_a_long_line_wraps_between_words_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path longer than the terminal stays whole, so that it can be copied."""
    line = f"  row 3: no file {'/folder' * 12}/answers.parquet of these"
    say(line)
    assert capsys.readouterr().out == f"{line}\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    say(line)
    assert capsys.readouterr().out.splitlines() == ["  row 3: no file", f"{'/folder' * 12}/answers.parquet", "of these"]
    say("one two\n" + 9 * "three ")
    assert capsys.readouterr().out.splitlines()[:2] == ["one two", "three three three three three three"]


def test_columns_below_follow_what_tells_rows_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the first column is the same in several rows, the second one is repeated too."""
    rows = [("2026-11-30", f"expert-{i}", 123_456_789, 987_654_321, 1_000 + i) for i in range(3)]
    table = Table("", columns("day | expert | answers: count | tokens in: count | tokens out: count"), rows)
    lines = _printed(40, monkeypatch, capsys, table)
    for i in range(3):
        assert sum(f"2026-11-30  expert-{i}" in line for line in lines) >= 2
