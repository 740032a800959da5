"""The progress bar: there while something is answered on a terminal, gone afterwards, and silent elsewhere."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import leeroo
from leeroo.engine.answer import Progress
from leeroo.udfs import bar


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return what is written to a terminal."""
    written = io.StringIO()
    monkeypatch.setattr(bar, "Console", lambda **_: Console(file=written, force_terminal=True, width=100))
    return written


@pytest.fixture
def slow_pool(pool_file: Path) -> Path:
    """Return the pool, in which 'small' takes its time."""
    pool_file.write_text(pool_file.read_text() + "[expert.engine]\ntokens_per_second = 400\n")
    return pool_file


ASK = "SELECT leeroo_answer('What is ' || i || ' plus ' || i || '?', expert := 'small') FROM range(40) r(i)"


def test_a_statement_shows_how_far_it_is(terminal: io.StringIO, slow_pool: Path, store: Path) -> None:
    """The bar has stage, rows, tokens per second and dollars, and the cursor is shown again at the end."""
    with leeroo.connect(pool=slow_pool, store=store) as con:
        con.execute(ASK)
        first = terminal.getvalue()
        con.execute(ASK.replace("(40)", "(3)"))
    assert "answering" in first
    assert "/40 rows" in first
    assert first.count("\x1b[?25l") == first.count("\x1b[?25h") == 1  # the cursor is hidden, and shown again
    assert terminal.getvalue() == first  # nothing new to answer, nothing to show


def test_what_breaks_off_takes_its_bar_with_it(
    terminal: io.StringIO, api: Any, api_entry: Callable[..., str], tmp_path: Path, store: Path
) -> None:
    """No bar stays behind an error."""
    api.faults, api.repeat = {"What": [401]}, True
    (tmp_path / "pool.toml").write_text(api_entry("small", 1, 5))
    options: dict[str, Any] = {"pool": tmp_path / "pool.toml", "store": store, "on_expert_down": "fail"}
    with leeroo.connect(**options) as con, pytest.raises(leeroo.LeerooError):
        con.execute(ASK)
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h") == 1


def test_elsewhere_only_warnings_are_shown(
    slow_pool: Path, store: Path, capsys: pytest.CaptureFixture[str], did: Callable[[], Any]
) -> None:
    """Nothing is written where there is no terminal."""
    with leeroo.connect(pool=slow_pool, store=store) as con:
        con.execute(ASK)
    assert did().generated == 40
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("width", "parts"), [(40, 1), (60, 3), (80, 4), (120, 4)])
def test_it_takes_the_width_that_is_there(width: int, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows stand whole on every terminal; where there is room, time left, spend and speed do too."""
    written = io.StringIO()
    monkeypatch.setattr(bar, "Console", lambda **_: Console(file=written, force_terminal=True, width=width))
    shown = bar.Bar()
    shown.show(
        Progress(stage="generate", rows=99_999, rows_done=12_345, tokens_per_s=123, cost_usd=1.5, seconds_left=90)
    )
    shown.close()
    drawn = written.getvalue()
    facts = ("12,345/99,999 rows", "2 min left", "$1.50", "123 tokens/s")
    assert [fact in drawn for fact in facts] == [i < parts for i in range(4)], drawn


def test_a_notebook_that_cannot_draw_a_bar_shows_none(
    monkeypatch: pytest.MonkeyPatch, slow_pool: Path, store: Path
) -> None:
    """Without ipywidgets rich would write a warning into the cell instead of a bar."""
    monkeypatch.setattr(bar, "Console", lambda **_: Console(file=io.StringIO(), force_jupyter=True, width=100))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with leeroo.connect(pool=slow_pool, store=store) as con:
            con.execute(ASK)
