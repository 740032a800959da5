"""The store keeps answers for good, for every process that opens it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from leeroo.engine.errors import OutputError, UsageError
from leeroo.engine.store.answers import FOUND
from leeroo.engine.store.runs import PAGE, release
from leeroo.engine.store.store import Store
from leeroo.engine.store.timings import Measured, WaveTime
from tests.store.conftest import Beside, keys, rows


def test_kept_answers_are_found_again(tmp_path: Path) -> None:
    """Stored answers come back whole, and only those whose keys are given."""
    store = Store(tmp_path)
    store.append(rows("a", "b"))
    found = store.look_up(rows("b", "c").column("key"))
    assert found.to_pylist() == rows("b").select(FOUND.names).to_pylist()


def test_the_first_answer_stays(tmp_path: Path) -> None:
    """A second answer for the same key changes nothing: the store is append-only."""
    store = Store(tmp_path)
    store.append(rows("a"))
    store.append(rows("a", answer="no"))
    assert store.look_up(rows("a").column("key")).column("answer").to_pylist() == ["yes"]


def test_another_process_sees_answers_at_once(tmp_path: Path, beside: Beside) -> None:
    """Two processes share a store: the one finds what the other has just added."""
    store = Store(tmp_path)
    assert store.look_up(rows("a").column("key")).num_rows == 0
    beside(tmp_path, "store.append(rows('a', answer='from afar'))")
    assert store.look_up(rows("a").column("key")).column("answer").to_pylist() == ["from afar"]


def test_a_run_that_did_not_finish_is_resumed(tmp_path: Path) -> None:
    """The next run of the same job goes on with it; a finished one is history."""
    store = Store(tmp_path)
    first = store.begin("job", 3)
    release(first)
    again = store.begin("job", 3)
    assert (again.run, again.resumed) == (first.run, True)
    store.finish(again, 1.0, 1.0)
    assert store.begin("job", 3).run != first.run


def test_a_living_run_is_left_alone(tmp_path: Path) -> None:
    """The same job started twice at once makes two runs, each of which is resumed when it was killed."""
    store = Store(tmp_path)
    first, second = store.begin("job", 3), Store(tmp_path).begin("job", 3)
    assert first.run != second.run
    assert not second.resumed
    release(second)
    release(first)
    again = [store.begin("job", 3) for _ in range(3)]
    assert [run.resumed for run in again] == [True, True, False]
    assert {run.run for run in again[:2]} == {first.run, second.run}


def test_measurements_are_remembered(tmp_path: Path) -> None:
    """Tokens per second are those of all waves, loading time the mean of those that loaded, memory the most."""
    store = Store(tmp_path)
    store.measured(WaveTime("e", 2, prompt_tokens=60, completion_tokens=40, load_s=3.0, generate_s=1.0, memory_bytes=7))
    store.measured(
        WaveTime("e", 2, prompt_tokens=100, completion_tokens=0, load_s=None, generate_s=3.0, memory_bytes=5)
    )
    assert Store(tmp_path).engine("e") == Measured(50.0, 3.0, 7)
    assert store.engine("unknown") == Measured()


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    """A file that is no database is refused by name, not overwritten."""
    (tmp_path / "answers.sqlite").write_text("these are my holiday notes, not a database" * 30)
    with pytest.raises(UsageError, match="answers.sqlite is damaged, or not an answer store"):
        Store(tmp_path)


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    """A store of a later version is not touched."""
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "answers.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageError, match="newer leeroo"):
        Store(tmp_path)


def test_a_place_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A store inside a file is one clear line."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="answer store"):
        Store(tmp_path / "file" / "store")


def test_many_processes_make_one_store_at_once(tmp_path: Path) -> None:
    """Processes that start at the same moment on a folder that is not there yet all get the store."""
    # Each makes fifty stores, and the file names below make all of them meet at every one.
    opener = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from leeroo.engine.store.store import Store\n"
        "here, name, others = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])\n"
        "for i in range(50):\n"
        "    (here / f'{i}-{name}').touch()\n"
        "    while len(list(here.glob(f'{i}-*'))) < others: time.sleep(0)\n"
        "    Store(here / f'store{i}').close()\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", opener, str(tmp_path), str(i), "4"], stderr=subprocess.PIPE, text=True)
        for i in range(4)
    ]
    try:
        assert [run.communicate(timeout=120)[1] for run in runs] == [""] * 4
    finally:
        for run in runs:
            run.kill()


def test_answers_of_a_run_come_in_pages(tmp_path: Path) -> None:
    """Each answer of the run is on one page, the latest first; those of the other run of its job are apart."""
    store = Store(tmp_path / "store")
    run = store.begin("job", 1)
    store.finish(run, 0.0, 0.0)
    later = store.begin("job", 1)
    names = [str(i) for i in range(PAGE + 3)]
    store.append(rows(*names[:5], run=run.run))
    store.append(rows("of another", run=later.run))
    store.append(rows(*names[5:], run=run.run))
    first = store.of_run(run)
    second = store.of_run(run, first.column("number")[-1].as_py())
    assert (first.num_rows, second.num_rows) == (PAGE, 3)
    both = pa.concat_tables([first, second])
    assert both.column("key").to_pylist() == keys(*reversed(names)).to_pylist()
    assert store.of_job(later).equals(first)
