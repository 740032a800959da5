"""Stores of older versions are upgraded when they are opened, and keep what is in them."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from leeroo.engine.store.feedback import Feedback, question_hash
from leeroo.engine.store.store import VERSION, Store
from leeroo.engine.store.timings import Measured
from tests.store.conftest import claimed, keys, rows

# The tables as versions 5 and 6 made them.
_TABLES = """
CREATE TABLE answers (
    key BLOB NOT NULL, run TEXT, asked TEXT, expert TEXT, fingerprint TEXT, answer TEXT, prompt_tokens INTEGER,
    completion_tokens INTEGER, list_cost_usd REAL, latency_ms REAL, finish_reason TEXT, recorded_score REAL,
    choice_logprobs TEXT, created REAL, question_hash BLOB, predicted_score REAL);
CREATE UNIQUE INDEX answers_by_key ON answers (key);
CREATE TABLE runs (
    run TEXT PRIMARY KEY, job TEXT, started REAL, finished REAL, rows INTEGER, cost_usd REAL, list_cost_usd REAL);
CREATE TABLE waves (
    engine TEXT, ended REAL, requests INTEGER, prompt_tokens INTEGER, completion_tokens INTEGER, load_s REAL,
    generate_s REAL, memory_bytes INTEGER);
CREATE INDEX waves_by_engine ON waves (engine);
CREATE TABLE feedback (
    question_hash BLOB NOT NULL, expert TEXT NOT NULL, question TEXT NOT NULL, answer TEXT, score REAL, gold TEXT,
    predicted_score REAL, at REAL NOT NULL, PRIMARY KEY (question_hash, expert));
"""


def _old(folder: Path, version: int) -> None:
    """Write a store with an answer, a killed run, a timing and feedback, as an old version left it."""
    folder.mkdir()
    with sqlite3.connect(folder / "answers.sqlite") as db:
        db.executescript(f"{_TABLES} PRAGMA user_version = {version}; PRAGMA journal_mode = WAL")
        asked = question_hash("q")
        db.execute(
            "INSERT INTO answers VALUES (x'61', 'r1', 'q', 'small', 'f', 'old', 7, 4, 0.5, 20, 'stop', NULL, '[-1.0]', 9, ?, 0.5)",
            (asked,),
        )
        db.execute("INSERT INTO runs VALUES ('r1', 'job', 1.0, NULL, 3, NULL, NULL)")
        db.execute('INSERT INTO waves VALUES (\'["openai", "https://me:secret@host"]\', 1, 1, 10, 10, 2, 4, NULL)')
        db.execute("INSERT INTO feedback VALUES (?, 'small', 'q', 'old', NULL, 'gold', 0.5, 2.0)", (asked,))
    db.close()


@pytest.mark.parametrize("version", [5, 6])
def test_an_old_store_is_upgraded(tmp_path: Path, version: int) -> None:
    """Its answers are found, its killed run is resumed, its feedback is there; whether it was private is unknown."""
    _old(tmp_path / "store", version)
    store = Store(tmp_path / "store")
    found = store.look_up(pa.array([b"a"], pa.binary())).to_pylist()
    assert [(row["answer"], row["choice_logprobs"]) for row in found] == [("old", [-1.0])]
    run = store.begin("job", 3)
    assert (run.run, run.resumed, store.in_flight(run)) == ("r1", True, 0)
    assert store.of_run(run).num_rows == 1
    [row] = store.feedback()
    assert (row["owner"], row["expert"], row["gold"], row["private"]) == ("", "small", "gold", True)
    assert claimed(store, run, keys("b"), [0.1]) == [True]


def test_an_old_store_gives_up_its_secrets(tmp_path: Path) -> None:
    """Engines were named in plain text, with all that their options and addresses held."""
    _old(tmp_path / "store", 6)
    store = Store(tmp_path / "store")
    store.close()
    with sqlite3.connect(tmp_path / "store" / "answers.sqlite") as db:
        assert "secret" not in "\n".join(db.iterdump())


def test_an_upgrade_happens_once(tmp_path: Path) -> None:
    """A store that is opened again is left as it is, also when another process has it open."""
    _old(tmp_path / "store", 5)
    first, second = Store(tmp_path / "store"), Store(tmp_path / "store")
    first.give([Feedback("q", "large", score=1.0)])
    assert len(second.feedback()) == 2
    with sqlite3.connect(tmp_path / "store" / "answers.sqlite") as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_the_first_version_goes_on(tmp_path: Path) -> None:
    """It had neither timings nor feedback, and kept less of an answer."""
    (tmp_path / "store").mkdir()
    with sqlite3.connect(tmp_path / "store" / "answers.sqlite") as db:
        db.executescript(
            "CREATE TABLE answers (key BLOB NOT NULL, run TEXT, asked TEXT, expert TEXT, fingerprint TEXT, answer TEXT,"
            " prompt_tokens INTEGER, completion_tokens INTEGER, list_cost_usd REAL, latency_ms REAL,"
            " finish_reason TEXT, recorded_score REAL, created REAL);"
            "INSERT INTO answers (key, expert, answer) VALUES (x'61', 'small', 'old'); PRAGMA user_version = 1"
        )
    store = Store(tmp_path / "store")
    assert store.look_up(pa.array([b"a"], pa.binary())).column("answer").to_pylist() == ["old"]
    assert store.engine("e") == Measured()
    assert store.latest_answers(["q"]) == []
    store.append(rows("b"))
    assert store.look_up(keys("b")).num_rows == 1


def test_sums_of_an_old_store_are_those_of_its_rows(tmp_path: Path) -> None:
    """What was spent on answers, charges and removed answers is added up once, also for spending caps."""
    _old(tmp_path / "store", 6)
    today = datetime.now(UTC)
    with sqlite3.connect(tmp_path / "store" / "answers.sqlite") as db:
        db.executescript(
            "CREATE TABLE charges (run TEXT, asked TEXT, expert TEXT, prompt_tokens INTEGER, completion_tokens INTEGER,"
            " cost_usd REAL, created REAL);"
            "CREATE TABLE spent (day TEXT NOT NULL, expert TEXT NOT NULL, answers INTEGER NOT NULL, prompt_tokens INTEGER,"
            " completion_tokens INTEGER, cost_usd REAL, PRIMARY KEY (day, expert)) WITHOUT ROWID"
        )
        db.execute("INSERT INTO charges VALUES ('r1', 'q', 'large', 3, 2, 0.25, ?)", (today.timestamp(),))
        db.execute("INSERT INTO spent VALUES (?, 'small', 2, NULL, 5, 0.125)", (f"{today:%Y-%m-%d}",))
        db.execute("INSERT INTO spent VALUES ('1970-01-01', 'small', 1, 1, 1, 1.0)")
    db.close()
    for _ in range(2):  # opened again, nothing is added twice
        store = Store(tmp_path / "store")
        assert [tuple(row.values()) for row in store.spend(("day", "expert", "owner"))] == [
            ("1970-01-01", "small", "", 2, 8, 5, 1.5),
            (f"{today:%Y-%m-%d}", "large", "", 0, 3, 2, 0.25),
            (f"{today:%Y-%m-%d}", "small", "", 2, 0, 5, 0.125),
        ]
        store.set_caps({"day": 1.0, "month": 1.0}, expert="large")
        store.set_caps({"day": 1.0})
        assert {cap.used for cap in store.caps() if cap.expert} == {0.25}
        assert [cap.used for cap in store.caps() if not cap.expert] == [0.375]
        store.close()
