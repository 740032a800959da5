"""Only its owner can read a store and the working files of its runs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from leeroo.engine.batch.worktable import Worktable
from leeroo.engine.store.store import Store
from tests.store.conftest import rows


@pytest.fixture(autouse=True)
def _open_to_all() -> Iterator[None]:
    """Let all users read new files, as most systems do."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def _open_paths(folder: Path) -> list[str]:
    """Return the paths that other users can read."""
    return [str(each) for each in (folder, *folder.rglob("*")) if stat.S_IMODE(each.stat().st_mode) & 0o077]


def test_only_its_owner_can_read_a_new_store(tmp_path: Path) -> None:
    """That holds for the folder, the database and its files, locks and working files."""
    store = Store(tmp_path / "store")
    store.append(rows("a"))
    run = store.begin("job", 1)
    worktable = Worktable(store.scratch)
    worktable._con.execute("CREATE TABLE t AS SELECT 1")
    assert [path for path in _open_paths(tmp_path / "store") if str(worktable.folder) not in path] == []
    assert stat.S_IMODE(worktable.folder.stat().st_mode) == 0o700
    assert run.lock is not None
    worktable.close()


def test_an_old_store_is_closed_to_others(tmp_path: Path) -> None:
    """A store that an older version left open to all is closed when it is opened."""
    Store(tmp_path / "store").close()
    for each in (tmp_path / "store", *(tmp_path / "store").rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)
    store = Store(tmp_path / "store")
    assert _open_paths(tmp_path / "store") == []
    store.close()


def test_a_folder_with_other_things_keeps_its_mode(tmp_path: Path) -> None:
    """A store among other files closes its own files, but not the folder."""
    (tmp_path / "notes.txt").write_text("for all")
    tmp_path.chmod(0o755)
    for _ in range(2):
        Store(tmp_path).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert {Path(path).name for path in _open_paths(tmp_path)} == {tmp_path.name, "notes.txt"}
