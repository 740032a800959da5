"""What was paid for survives a power failure: it is on the disk before anyone sees it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from leeroo.engine.store.store import Store
from tests.store.conftest import key

_WORK = """
import sys
from pathlib import Path
from leeroo.engine.store.store import Store
from leeroo.engine.store.spending import Charge
from tests.store.conftest import claimed, keys, rows
store = Store(Path(sys.argv[1]))
run = store.begin("job", 1)
for i in range(20):
    claimed(store, run, keys(str(i)), [0.0])
    store.append(rows(str(i)))
store.charge([Charge(run.run, "q", "large", 1, 1, 0.1)])
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace shows when the disk is waited for")
def test_every_answer_waits_for_the_disk(tmp_path: Path) -> None:
    """One sync for each batch of answers, and for charges."""
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-e", "trace=fdatasync,fsync", "-o", str(trace)]
    command += [sys.executable, "-c", _WORK, str(tmp_path / "store")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    assert trace.read_text().count("sync(") >= 21


def test_a_commit_of_answers_is_synced(tmp_path: Path) -> None:
    """Claims do not wait, as they end with their process anyway; answers after them do."""
    store = Store(tmp_path)
    run = store.begin("job", 1)
    level = "PRAGMA synchronous"
    store.release_claims(run, [key("a")])
    assert store._db.execute(level).fetchone() == (1,)
    store.finish(run, 0, 0)
    assert store._db.execute(level).fetchone() == (2,)
