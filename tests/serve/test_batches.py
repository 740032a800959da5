"""Waves: who rides, what is kept, and what a database of another kind is taken for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from leeroo.engine.errors import UsageError
from leeroo.engine.schema import ANSWERS
from leeroo.serve import batches
from leeroo.serve.batches import Batch, Wishes
from leeroo.serve.bodies import Asked
from leeroo.serve.database import Database
from leeroo.serve.lines import Line
from tests.serve.talk import Serve, chat, jsonl, submit, wait


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    with closing(Database(tmp_path / "serve")) as db:
        yield db


def _admitted(db: Database, lines: int) -> Batch:
    batch = batches.create(db, "us", "/v1/chat/completions", "file-1", "jsonl", None, Wishes(), most_open=10)
    assert batch is not None
    batches.admit(db, batch, iter([Line(str(i), Asked(f"question {i}")) for i in range(lines)]))
    return batch


def _answer(**more: Any) -> dict[str, Any]:
    told = {"answer": "yes", "expert": "one", "cost_usd": 0.5, "list_cost_usd": 1.0, "prompt_tokens": 3}
    return {**dict.fromkeys(ANSWERS.names), **told, **more}


def test_short_batches_are_served_whole_before_long_ones_get_more(db: Database) -> None:
    """Ten seats for batches of 2, 100 and 100 lines: two, four and four."""
    made = [_admitted(db, lines) for lines in (100, 2, 100)]
    wave = batches.embark(db, room=10)
    assert wave is not None
    riding = batches.riding(db, wave)
    assert [len(riding[batch.number]) for batch in made] == [4, 2, 4]


def test_every_batch_has_a_seat(db: Database) -> None:
    """Also where there are more batches than seats."""
    made = [_admitted(db, 5) for _ in range(4)]
    wave = batches.embark(db, room=2)
    assert wave is not None
    assert [len(batches.riding(db, wave)[batch.number]) for batch in made] == [1] * 4


def test_a_wave_is_ridden_to_its_end_before_the_next(db: Database) -> None:
    """Lines ride in a random order, each in one wave; one that was begun is the next one again."""
    batch = _admitted(db, 10)
    rode: list[int] = []
    while (wave := batches.embark(db, room=4)) is not None:
        assert batches.embark(db, room=4) == wave
        lines = [line.line for line in batches.riding(db, wave)[batch.number]]
        batches.settle(db, [(batch.number, line, _answer()) for line in lines])
        rode += lines
    assert sorted(rode) == list(range(10))
    assert rode != sorted(rode)
    told = batches.by_number(db, batch.number)
    assert (told.completed, told.cost_usd, told.list_cost_usd, told.prompt_tokens) == (10, 5.0, 10.0, 30)


def test_failed_lines_count_as_such(db: Database) -> None:
    """And what they cost is counted too."""
    batch = _admitted(db, 2)
    wave = batches.embark(db, room=4)
    assert wave is not None
    batches.settle(
        db, [(batch.number, 0, _answer()), (batch.number, 1, _answer(error="no", answer=None, cost_usd=0.25))]
    )
    told = batches.by_number(db, batch.number)
    assert (told.completed, told.failed, told.cost_usd) == (1, 1, 0.75)
    assert batches.waiting(db, batch.number) == 0
    assert [status for _, _, status, _ in batches.results(db, batch)] == [200, 500]


def test_a_killed_admission_begins_anew(db: Database) -> None:
    """Lines that a killed server had put in are not there twice."""
    batch = batches.create(db, "us", "/v1/chat/completions", "file-1", "jsonl", None, Wishes(), most_open=10)
    assert batch is not None

    def broken() -> Iterator[Line]:
        for i in range(1500):
            yield Line(str(i), Asked("question"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        batches.admit(db, batch, broken())
    batches.admit(db, batch, iter([Line("a", Asked("question"))]))
    assert batches.by_number(db, batch.number).total == 1
    assert len(list(batches.results(db, batch))) == 1


def test_another_database_is_not_touched(tmp_path: Path) -> None:
    """One of a newer version, or a file that is none."""
    folder = tmp_path / "serve"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "serve.sqlite")) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageError, match="written by a newer leeroo"):
        Database(folder)
    (folder / "serve.sqlite").write_bytes(b"something else altogether" * 100)
    with pytest.raises(UsageError, match="not a server's database"):
        Database(folder)


@pytest.mark.usefixtures("api_pool")
def test_a_short_batch_does_not_wait_for_a_long_one(serve: Serve, api: Any) -> None:
    """Nor does the answer to one line wait for its own batch's others."""
    api.delay_s = 0.05
    client = serve().client()
    long = submit(client, jsonl([chat(str(i), f"long {i}") for i in range(5000)]))
    short = submit(client, jsonl([chat(str(i), f"short {i}") for i in range(10)]))
    wait(client, short.id)
    counts: Any = client.batches.retrieve(long.id).request_counts
    assert counts.completed < 4000
