"""Where one run keeps its rows while it works: a DuckDB database and files in a folder of their own.

Its lock lives as long as its process: what a killed process leaves behind is removed by `locks.sweep`.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import duckdb

from leeroo.engine import locks
from leeroo.engine.errors import OutputError

MEMORY_LIMIT = "1GiB"
# What is raised when the working files find no room.
NO_ROOM = (OSError, duckdb.IOException, duckdb.OutOfMemoryException, duckdb.TransactionException, duckdb.FatalException)


class Scratch:
    """A working folder with a DuckDB database that spills to it; removed on `close`.

    Raises:
        OutputError: the folder cannot be made.

    """

    def __init__(self, parent: Path) -> None:
        self.folder = parent / uuid.uuid4().hex
        try:
            # Locked before it is there: at no moment does it look like a folder that nobody needs.
            parent.mkdir(parents=True, exist_ok=True)
            self._lock = locks.take(self.folder.with_suffix(".lock"))
            self.folder.mkdir(mode=0o700)
        except OSError as error:
            raise OutputError(f"cannot make a working folder in {parent}: {error.strerror or error}") from error
        self.con = duckdb.connect(str(self.folder / "rows.duckdb"))
        # Row order is asked for with ORDER BY where it matters; keeping it elsewhere only costs memory.
        self.con.execute(f"SET memory_limit = '{MEMORY_LIMIT}'; SET preserve_insertion_order = false")
        self.con.execute("SET temp_directory = $folder", {"folder": str(self.folder / "spill")})
        # Rows come in and go out as Arrow: whatever text they hold, it opens no file and reaches no other host.
        self.con.execute("SET enable_external_access = false; SET lock_configuration = true")

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A second connection to the same database, to read one result while another is written.

        Arrow is read from its `sql`, without parameters. DuckDB 2 keeps all rows of an `execute` in memory before they
        become Arrow, and loses their order where insertion order is not preserved; 1.5 keeps all rows of a `sql` with
        parameters in memory.
        """
        return self.con.cursor()

    def close(self) -> None:
        """Remove the folder and all in it."""
        self.con.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            locks.give_back(self._lock)
