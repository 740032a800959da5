"""Pruning removes what is old, and nothing that anyone needs."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from leeroo.engine.store.feedback import Feedback, question_hash
from leeroo.engine.store.learned import FOLDER, under_way
from leeroo.engine.store.runs import release
from leeroo.engine.store.spending import Charge
from leeroo.engine.store.store import Store
from leeroo.engine.store.timings import Measured, WaveTime
from tests.command import leeroo
from tests.store.conftest import claimed, keys, rows

_DAY_S = 86_400


def _age(folder: Path) -> None:
    """Make all that is in a store a hundred days older."""
    with sqlite3.connect(folder / "answers.sqlite") as db:
        for table, column in (
            ("answers", "created"),
            ("runs", "started"),
            ("runs", "finished"),
            ("waves", "ended"),
            ("charges", "created"),
        ):
            db.execute(f"UPDATE {table} SET {column} = {column} - 100 * {_DAY_S}")
    db.close()


def _leeroo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return leeroo("store", *arguments)


def test_old_things_go_and_young_ones_stay(tmp_path: Path) -> None:
    """Answers, finished runs, runs that were killed, and timings; what was spent stays known, by day and expert."""
    store = Store(tmp_path)
    finished, killed = store.begin("finished", 1), store.begin("killed", 1)
    for run in (finished, killed):
        store.append(rows(run.run, run=run.run, expert="large"))
        store.charge([Charge(run.run, "q", "large", 1, 1, 0.25)])
    claimed(store, killed, keys("x"), [0.5])
    store.measured(WaveTime("e", 1, 1, 1, None, 1.0, None))
    store.finish(finished, 0.75, 0.75)
    release(killed)
    _age(tmp_path)
    store.append(rows("young", expert="large"))
    before = store.spend()
    pruned = store.prune(time.time() - 50 * _DAY_S)
    assert (pruned.answers, pruned.runs) == (2, 2)
    assert store.look_up(keys("young")).num_rows == 1
    assert store.runs() == []
    assert store.engine("e") == Measured()
    assert store.spend() == before
    assert not store.begin("killed", 1).resumed
    assert store.prune(time.time() - 50 * _DAY_S).answers == 0
    assert store.spend() == before


def test_a_run_under_way_loses_nothing(tmp_path: Path) -> None:
    """Its paid answers stay, however old it is, its claims hold, and the file is not replaced."""
    store = Store(tmp_path)
    run = store.begin("job", 1)
    store.append(rows("a", run=run.run))
    claimed(store, run, keys("b"), [0.5])
    _age(tmp_path)
    other = Store(tmp_path)
    pruned = other.prune(time.time(), max_bytes=0)
    assert (pruned.answers, pruned.runs) == (0, 0)
    assert store.of_run(run).num_rows == 1
    assert claimed(other, other.begin("other", 1), keys("b"), [0.5]) == [False]


def test_feedback_keeps_its_answers(tmp_path: Path) -> None:
    """Routers learn from it, with the tokens and costs of the answers."""
    store = Store(tmp_path)
    store.append(rows("a", expert="large", question_hash=question_hash("q"), private=False))
    store.append(rows("b", expert="large", question_hash=question_hash("other"), private=False))
    store.give([Feedback("q", gold="yes")])
    _age(tmp_path)
    assert store.prune(time.time()).answers == 1
    assert [(row["expert"], row["prompt_tokens"]) for row in store.feedback()] == [("large", 7)]


def test_a_store_shrinks_to_a_size(tmp_path: Path) -> None:
    """The oldest answers go, the file shrinks, and what is left is the latest."""
    store = Store(tmp_path)
    for part in range(20):
        store.append(rows(*(f"{part}-{i}" for i in range(500)), answer="some words " * 20))
    most = 2_000_000
    pruned = store.prune(max_bytes=most)
    assert 0 < pruned.bytes <= most
    assert sum(part.stat().st_size for part in tmp_path.glob("answers.sqlite")) <= most
    left = [bool(store.look_up(keys(f"{part}-0")).num_rows) for part in range(20)]
    assert left == sorted(left)
    assert left[-1]
    assert not left[0]
    assert most * 0.8 < pruned.bytes


def _teach(folder: Path, batch: str, days: float, size: int = 1000) -> Path:
    """Keep what a table taught some days ago."""
    there = folder / FOLDER / "pool" / batch
    (there / "data").mkdir(parents=True)
    (there / "data" / "outcomes.parquet").write_bytes(b"x" * size)
    then = time.time() - days * _DAY_S
    for part in (there, *there.rglob("*")):
        os.utime(part, (then, then))
    return there


def test_what_old_tables_taught_goes(tmp_path: Path) -> None:
    """Outcomes and routers older than a time go, and are counted; those of a batch under way stay."""
    store = Store(tmp_path)
    old, running, young = (_teach(tmp_path, name, days) for name, days in (("a", 100), ("b", 100), ("c", 1)))
    before = store.info()
    assert before["learned"] == 3
    with under_way(running):
        pruned = store.prune(time.time() - 50 * _DAY_S)
    assert pruned.learned == 1
    assert [each.exists() for each in (old, running, young)] == [False, True, True]
    assert store.info()["learned"] == 2
    assert store.prune(time.time() + 1).learned == 2
    assert not list((tmp_path / FOLDER).iterdir())


def test_what_tables_taught_counts_as_bytes(tmp_path: Path) -> None:
    """Beyond a size, the oldest goes first: answers or what a table taught, whichever is older."""
    store = Store(tmp_path)
    store.append(rows(*(str(i) for i in range(500)), answer="some words " * 200))
    _age(tmp_path)
    middle, young = _teach(tmp_path, "a", 50, 100_000), _teach(tmp_path, "b", 1, 100_000)
    pruned = store.prune(max_bytes=store.prune().bytes - 500_000)
    assert 0 < pruned.answers < 500
    assert pruned.learned == 0
    store.append(rows(*(f"young {i}" for i in range(50)), answer="some words " * 200))
    pruned = store.prune(max_bytes=430_000)
    assert pruned.learned == 1
    assert not middle.exists()
    assert young.exists()
    assert store.look_up(keys("young 0")).num_rows == 1
    assert pruned.bytes <= 430_000
    pruned = store.prune(max_bytes=0)
    assert (pruned.answers, pruned.learned) == (50, 1)


def test_an_age_that_nothing_has_removes_nothing(tmp_path: Path) -> None:
    """An age that no answer has removes nothing, as one that is no number."""
    store = Store(tmp_path)
    store.append(rows("a"))
    assert [store.prune(before).answers for before in (float("nan"), float("-inf"), 0.0)] == [0, 0, 0]


def test_the_command_prunes(tmp_path: Path) -> None:
    """`leeroo store prune` says what it removed, `leeroo store info` what there is."""
    store = Store(tmp_path)
    store.append(rows("a", "b"))
    _age(tmp_path)
    store.append(rows("c"))
    store.close()
    found = json.loads(_leeroo("info", "--store", str(tmp_path), "--json").stdout)
    assert found["answers"] == 3
    assert found["oldest_answer"] < found["newest_answer"]
    assert found["bytes"] > 0
    assert "answers         3\n" in _leeroo("info", "--store", str(tmp_path)).stdout
    assert "oldest answer   20" in _leeroo("info", "--store", str(tmp_path)).stdout
    done = _leeroo("prune", "--store", str(tmp_path), "--older-than", "50")
    assert done.stdout.startswith("removed: 2 answers, 0 runs, and what 0 tables taught; the store takes ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["prune", "--store", "{}"], "say what to remove: --older-than DAYS, --max-bytes BYTES, or both"),
        (["prune", "--store", "{}/absent", "--older-than", "1"], "there is no answer store in"),
        (["info", "--store", "{}/absent"], "there is no answer store in"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    """A mistake is one line, and no store is made where there is none."""
    Store(tmp_path).close()
    done = _leeroo(*(each.format(tmp_path) for each in arguments))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert complaint in done.stderr
    assert not (tmp_path / "absent").exists()
