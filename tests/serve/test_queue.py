"""The queue and its waves: what is claimed together, what is kept, and how an old or foreign database is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from leeroo.engine.answer import Criteria
from leeroo.engine.errors import UsageError
from leeroo.engine.schema import ANSWERS
from leeroo.serve.database import VERSION, Database
from leeroo.serve.lines.read import Line
from leeroo.serve.lines.requests import line_request
from leeroo.serve.work import batches, queue
from leeroo.serve.work.batches import Batch
from leeroo.serve.work.waves import Speeds, group_backlogs


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Open an empty database."""
    with closing(Database(tmp_path / "serve")) as db:
        yield db


def _waiting(db: Database, *experts: str | None, owner: str = "us", criteria: Criteria | None = None) -> Batch:
    batch = batches.create(db, owner, "/v1/chat/completions", "file-1", "jsonl", None, criteria or Criteria(), 10)
    assert batch is not None
    lines = [Line(str(i), line_request(question=f"question {i}", expert=expert)) for i, expert in enumerate(experts)]
    batches.store_lines(db, batch, iter(lines))
    return batch


def _answer(**more: Any) -> dict[str, Any]:
    columns = {"answer": "yes", "expert": "one", "cost_usd": 0.5, "list_cost_usd": 1.0, "prompt_tokens": 3}
    return {**dict.fromkeys(ANSWERS.names), **columns, **more}


def test_lines_of_two_keys_are_never_in_one_wave(db: Database) -> None:
    """Lines with other weights, with a budget, or for a remote expert are in waves of their own too."""
    first = _waiting(db, None, None, "far")
    second = _waiting(db, None, "near", owner="they")
    third = _waiting(db, None, criteria=Criteria(cost_weight=1))
    fourth = _waiting(db, None, criteria=Criteria(max_cost_usd=1))
    groups = group_backlogs(queue.waiting(db), frozenset({"far"}), alone=set())
    assert {(group.owner, group.expert, *(each.batch for each in its)) for group, its in groups.items()} == {
        ("us", "", first.number),
        ("us", "far", first.number),
        ("they", "", second.number, second.number),
        ("us", "", third.number),
        ("us", "", fourth.number),
    }


def test_a_batch_gets_seconds_and_not_lines(db: Database) -> None:
    """One that was quick, as out of the store, does not fill the waves of one that is slow."""
    quick, slow = _waiting(db, *[None] * 3000), _waiting(db, *[None] * 3000)
    speeds = Speeds()
    for _ in range(4):
        speeds.learn({quick.number: 100}, seconds=0.01)
    speeds.learn({slow.number: 50}, seconds=50)
    lines = {each.batch: n for each, n in speeds.portions(queue.waiting(db))}
    assert lines[quick.number] == 3000
    assert 1 <= lines[slow.number] <= 5


def test_a_short_batch_is_served_whole(db: Database) -> None:
    """The rest of its share goes to the others."""
    made = [_waiting(db, *[None] * lines) for lines in (100, 2, 100)]
    lines = {each.batch: n for each, n in Speeds().portions(queue.waiting(db))}
    assert [lines[batch.number] for batch in made] == [24, 2, 24]


def test_released_lines_wait_again(db: Database) -> None:
    """Each line is in one wave at a time, in a random order, and a killed server finds its waves again."""
    batch = _waiting(db, *[None] * 10)
    [backlog] = queue.waiting(db)
    first, second = queue.claim(db, [(backlog, 4)]), queue.claim(db, [(backlog, 4)])
    assert queue.waiting(db)[0].lines == 2
    lines = {wave: [line.line for line in queue.claimed(db, wave)[batch.number]] for wave in (first, second)}
    assert not set(lines[first]) & set(lines[second])
    assert {wave: [each.batch for each in claimed] for wave, claimed in queue.unfinished(db).items()} == {
        first: [batch.number],
        second: [batch.number],
    }
    queue.keep_answers(db, [(batch.number, line, _answer()) for line in lines[first]])
    queue.release(db, second, tried=True)
    assert queue.waiting(db)[0].lines == 6
    assert not queue.claims(db, batch.number)
    third = queue.claim(db, [(backlog, 6)])
    assert sum(line.tries for line in queue.claimed(db, third)[batch.number]) == 4
    record = batches.by_number(db, batch.number)
    assert (record.completed, record.cost_usd, record.list_cost_usd, record.prompt_tokens) == (4, 2.0, 4.0, 12)


def test_a_wave_is_split_into_new_ones(db: Database) -> None:
    """Each unanswered line is in one of them; they count as begun once, and one that ends is forgotten."""
    batch = _waiting(db, *[None] * 10)
    wave = queue.claim(db, [(backlog, 10) for backlog in queue.waiting(db)])
    assert [queue.begun(db, wave), queue.count_begin(db, wave), queue.count_begin(db, wave)] == [0, 1, 2]
    assert queue.count_begin(db, wave, -1) == queue.begun(db, wave) == 1
    queue.keep_answers(db, [(batch.number, 4, _answer())])
    parts = queue.split(db, wave, 4)
    lines = [sorted(line.line for line in queue.claimed(db, part)[batch.number]) for part in parts]
    assert sorted(map(len, lines)) == [2, 2, 2, 3]
    assert sorted(line for part in lines for line in part) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert not queue.claimed(db, wave)
    assert set(queue.unfinished(db)) == set(parts)
    assert [queue.begun(db, number) for number in (wave, *parts)] == [0, 1, 1, 1, 1]
    queue.release(db, parts[0], tried=False)
    assert queue.begun(db, parts[0]) == 0
    assert len(queue.split(db, parts[1], 8)) == 2


def test_failed_lines_are_counted(db: Database) -> None:
    """Their cost is counted too, and the remaining lines can be failed at once."""
    batch = _waiting(db, *[None] * 4)
    failed = _answer(error="no", answer=None, cost_usd=0.25)
    queue.keep_answers(db, [(batch.number, 0, _answer()), (batch.number, 1, failed)])
    record = batches.by_number(db, batch.number)
    assert (record.completed, record.failed, record.cost_usd) == (1, 1, 0.75)
    assert queue.open_lines(db, batch.number) == 2
    queue.fail(db, batch.number, failed)
    assert [status for _, _, status, _ in batches.results(db, batch)] == [200, 500, 500, 500]
    assert not queue.waiting(db)


def test_a_killed_admission_begins_anew(db: Database) -> None:
    """Lines that a killed server had put in are not there twice."""
    batch = batches.create(db, "us", "/v1/chat/completions", "file-1", "jsonl", None, Criteria(), most_open=10)
    assert batch is not None

    def broken() -> Iterator[Line]:
        for i in range(1500):
            yield Line(str(i), line_request(question="question"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        batches.store_lines(db, batch, broken())
    batches.store_lines(db, batch, iter([Line("a", line_request(question="question"))]))
    assert batches.by_number(db, batch.number).total == 1
    assert len(list(batches.results(db, batch))) == 1
    assert [each.lines for each in queue.waiting(db)] == [1]


def test_another_database_is_not_touched(tmp_path: Path) -> None:
    """One of a newer version, or a file that is none, is named."""
    folder = tmp_path / "serve"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "serve.sqlite")) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageError, match="written by a newer leeroo"):
        Database(folder)
    (folder / "serve.sqlite").write_bytes(b"something else altogether" * 100)
    with pytest.raises(UsageError, match="not a server's database"):
        Database(folder)


def test_a_database_of_version_1_is_upgraded(tmp_path: Path) -> None:
    """Its open batches wait again, for the experts that their lines name."""
    from leeroo.serve.database import _TABLES

    folder = tmp_path / "serve"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "serve.sqlite")) as old:
        old.executescript(_TABLES + "PRAGMA user_version = 1;")
        old.execute(
            "INSERT INTO batches (id, owner, endpoint, input_file_id, form, completion_window, cost_weight,"
            " latency_weight, private, status, total, completed, created_at, expires_at)"
            " VALUES ('batch_1', 'us', '/v1/chat/completions', 'file-1', 'jsonl', '24h', 0, 0, 0, 'in_progress', 3, 1, 1, 2)"
        )
        old.executemany(
            "INSERT INTO lines (batch, line, turn, wave, custom_id, asked, status) VALUES (1, ?, ?, ?, ?, ?, ?)",
            [
                (0, 5, 7, "a", None, 200),
                (1, 6, 8, "b", '{"question": "q", "expert": "one"}', None),
                (2, 7, None, "c", '{"question": "q"}', None),
            ],
        )
        old.execute("INSERT INTO files VALUES ('file-1', 'us', 'a', 'batch', 3, 1)")
        old.commit()
    with closing(Database(folder)) as db:
        assert [(each.expert, each.lines) for each in queue.waiting(db)] == [("", 1), ("one", 1)]
        assert db.rows("PRAGMA user_version")[0][0] == VERSION
