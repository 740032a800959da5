"""con.interrupt() from another thread, and Ctrl-C, stop within two seconds and keep what was answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

import leeroo
from leeroo.engine.answer import Progress
from leeroo.engine.batch import execute
from leeroo.udfs.connection import Connection

DidSince = Callable[[], Any]
STATEMENT = "SELECT leeroo_answer('Count from ' || i || ' on.', max_tokens := 200) FROM range(400) r(i)"
POOLS = {
    "replay": """
[[expert]]
name = "large"
model = "{data}"
backend = "replay"
usd_per_m_input = 1
usd_per_m_output = 1
[expert.engine]
tokens_per_second = 2
""",
    "transformers": """
[[expert]]
name = "smollm2"
model = "HuggingFaceTB/SmolLM2-135M-Instruct"
backend = "transformers"
usd_per_m_input = 1
usd_per_m_output = 1
""",
    "openai": """
[[expert]]
name = "remote"
model = "m"
backend = "openai"
base_url = "{url}"
usd_per_m_input = 1
usd_per_m_output = 1
""",
}


@pytest.fixture(params=list(POOLS))
def slow(request: pytest.FixtureRequest, tmp_path: Path, data_folder: Path, api: Any, store: Path) -> Any:
    """Return a connection whose statement takes minutes, over each backend, an event for when that is answered, and a pause."""
    api.delay_s = 2.0
    pool = tmp_path / "slow.toml"
    pool.write_text(POOLS[request.param].format(data=data_folder, url=api.url))
    at_work = threading.Event()

    def look(progress: Progress) -> None:
        if progress.stage == "generate":
            at_work.set()

    with leeroo.connect(pool=pool, store=store, on_progress=look) as con:
        yield con, at_work, 5.0 if request.param == "transformers" else 0.5  # a model is loaded first


def _stopped_s(con: Connection, at_work: threading.Event, pause_s: float, statement: str) -> float:
    """Stop a statement this long into its work; return the seconds until it has ended."""
    began: list[float] = []

    def later() -> None:
        assert at_work.wait(300)
        time.sleep(pause_s)
        began.append(time.monotonic())
        con.interrupt()

    stopper = threading.Thread(target=later)
    stopper.start()
    with pytest.raises(duckdb.InterruptException, match="Interrupted"):
        con.execute(statement).fetchall()
    stopper.join()
    return time.monotonic() - began[0]


def test_interrupt_stops_a_statement(slow: tuple[Connection, threading.Event, float]) -> None:
    """The statement stops, whatever answers; the connection goes on afterwards."""
    con, at_work, pause_s = slow
    statement = STATEMENT.replace("'Count from ' || i || ' on.'", "'What is ' || i % 40 || ' plus ' || i % 40 || '?'")
    assert _stopped_s(con, at_work, pause_s, statement) < 5  # how soon exactly, bench/engine/sql.py tells
    assert con.execute("SELECT 1").fetchall() == [(1,)]


def test_recorded_answers_are_not_waited_for(
    tmp_path: Path, data_folder: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in flight has a while to come back because it is paid for; recorded answers are not."""
    monkeypatch.setattr(execute, "_GRACE_S", 60.0)
    pool = tmp_path / "slow.toml"
    pool.write_text(POOLS["replay"].format(data=data_folder))
    at_work = threading.Event()

    def look(progress: Progress) -> None:
        if progress.stage == "generate":
            at_work.set()

    with leeroo.connect(pool=pool, store=store, on_progress=look) as con:
        statement = "SELECT leeroo_answer('What is ' || i % 40 || ' plus ' || i % 40 || '?') FROM range(400) r(i)"
        assert _stopped_s(con, at_work, 0.5, statement) < 30


class _Stop:
    """A listener that interrupts once something was answered."""

    interrupt: Callable[[], None]
    pressed = False

    def __call__(self, progress: Progress) -> None:
        if progress.tokens and not self.pressed:
            self.pressed = True
            self.interrupt()


def test_interrupt_stops_a_statement_answered_in_place(pool_file: Path, store: Path, did: DidSince) -> None:
    """The vector under way is given up, and its finished answers are kept."""
    pool_file.write_text(pool_file.read_text() + "[expert.engine]\ntokens_per_second = 25\n")  # of 'small'
    con, stop = duckdb.connect(), _Stop()
    con.execute("CREATE TABLE t AS SELECT 'What is ' || i || ' plus ' || i || '?' AS q FROM range(40) r(i)")
    stop.interrupt = leeroo.register(con, pool=pool_file, store=store, on_progress=stop).interrupt
    with pytest.raises(duckdb.Error):
        con.execute("SELECT leeroo_answer(q, expert := 'small') FROM t").fetchall()
    assert con.execute("SELECT 1").fetchall() == [(1,)]
    assert 0 < did().generated < 40


def test_answers_are_kept(pool_file: Path, store: Path, did: DidSince) -> None:
    """The repeated statement sends only the rest."""
    pool_file.write_text(pool_file.read_text() + "[expert.engine]\ntokens_per_second = 25\n")
    statement = (
        "SELECT count(leeroo_answer('What is ' || i || ' plus ' || i || '?', expert := 'small')) FROM range(40) r(i)"
    )
    stop = _Stop()
    with leeroo.connect(pool=pool_file, store=store, on_progress=stop) as con:
        stop.interrupt = con.interrupt
        with pytest.raises(duckdb.InterruptException, match="Interrupted"):
            con.execute(statement)
        kept = did().generated
        assert con.execute(statement).fetchall() == [(40,)]
        assert did().generated == 40 - kept
    assert 0 < kept < 40


def test_another_connections_statement_is_left_alone(pool_file: Path, store: Path) -> None:
    """Cursors share an engine, but an interrupt of one does not stop the statement of the other."""
    pool_file.write_text(pool_file.read_text() + "[expert.engine]\ntokens_per_second = 100\n")
    done: list[Any] = []
    with leeroo.connect(pool=pool_file, store=store) as con, con.cursor() as other:
        statement = (
            "SELECT leeroo_answer('What is ' || i || ' plus ' || i || '?', expert := 'small') FROM range(20) r(i)"
        )
        thread = threading.Thread(target=lambda: done.extend(con.execute(statement).fetchall()))
        thread.start()
        time.sleep(0.5)
        other.interrupt()
        thread.join(60)
    assert len(done) == 20


def test_an_interrupt_without_a_statement_does_nothing(con: Connection) -> None:
    """The next statement is not stopped by it."""
    con.interrupt()
    assert con.execute("SELECT leeroo_answer(question) FROM t WHERE id = 1").fetchall() == [("large says 2",)]
