"""JupySQL's %sql, in a real IPython shell, with our connection and with SQLAlchemy's engine over it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from duckdb_engine import ConnectionWrapper
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from leeroo.engine.errors import PoolError
from leeroo.udfs.connection import Connection

DidSince = Callable[[], Any]
Run = Callable[[str], Any]

# 5,000 rows are three vectors of DuckDB's, and each of them has questions that no other has.
MANY = "CREATE TABLE many AS SELECT t.id, t.question FROM t, range(125) ORDER BY t.id"


@pytest.fixture
def run(con: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a cell of a notebook that has %sql, our connection `con` and an `engine` over it; what it raises is raised."""
    con.execute(MANY)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    # JupySQL's package has the name of our folder of SQL text, which Python finds first in a checkout.
    root = Path(__file__).parents[2]
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry).resolve() != root])
    quiet = Config({"HistoryManager": {"enabled": False}, "SqlMagic": {"feedback": 0}})
    shell: Any = InteractiveShell.instance(config=quiet, user_module=ModuleType("notebook"))
    engine = sa.create_engine("duckdb://", creator=lambda: ConnectionWrapper(con.cursor()))  # pyright: ignore[reportArgumentType]
    shell.push({"con": con, "engine": engine})

    def cell(text: str) -> Any:
        done = shell.run_cell(text)
        done.raise_error()
        return done.result

    cell("%load_ext sql")
    yield cell
    cell("import sql.connection; sql.connection.ConnectionManager.close_all()")
    InteractiveShell.clear_instance()


@pytest.mark.parametrize("to", ["con", "engine"])
def test_a_statement_is_one_batch(run: Run, did: DidSince, to: str) -> None:
    """A statement over 5,000 rows is one batch."""
    run(f"%sql {to}")
    rows = run("%sql SELECT id, leeroo_answer(question) FROM many ORDER BY ALL")
    assert list(rows) == [(i // 125, f"large says {i // 125 * 2}") for i in range(5000)]
    assert did() == (1, 40)


@pytest.mark.parametrize("to", ["con", "engine"])
def test_a_notebook(con: Connection, run: Run, did: DidSince, to: str) -> None:
    """Frames, snippets, variables of the notebook and tables made there work, and nothing is paid for twice."""
    run(f"%sql {to}")
    said = run("%sql SELECT id, leeroo_answer(question) AS a FROM t WHERE id < 3 ORDER BY id")
    right = [f"large says {2 * i}" for i in range(3)]
    assert said.DataFrame()["a"].tolist() == right
    assert said.PolarsDataFrame()["a"].to_list() == right
    run("%%sql --save few\nSELECT id, leeroo_answer(question) AS a FROM t WHERE id < 3")
    assert list(run("%sql --with few SELECT count(DISTINCT a) FROM few")) == [(3,)]
    run("import pandas\nframe = pandas.DataFrame({'question': ['What is 1 plus 1?']})\nexpert = 'large'")
    assert list(run("%sql SELECT leeroo_answer(question, expert := '{{expert}}') FROM frame")) == [("large says 2",)]
    run("%config SqlMagic.autopandas = True")
    frame = run("%sql SELECT leeroo_answer(question) AS a FROM t WHERE id = 2")
    assert isinstance(frame, pd.DataFrame)
    assert frame["a"].tolist() == ["large says 4"]
    run("%config SqlMagic.autopandas = False")
    assert did().generated == 3
    run("%sql CREATE TABLE made AS SELECT leeroo_answer(question) AS a FROM many")
    assert con.execute("SELECT count(*), count(DISTINCT a) FROM made").fetchall() == [(5000, 40)]
    assert did().generated == 37


@pytest.mark.parametrize("to", ["con", "engine"])
def test_errors_are_ours(run: Run, to: str) -> None:
    """A wrong argument is our error with its sentence, and the next cell runs."""
    run(f"%sql {to}")
    with pytest.raises(PoolError, match="leeroo_answer: expert 'huge' is not in the pool"):
        run("%sql SELECT leeroo_answer(question, expert := 'huge') FROM t")
    if to == "engine":  # SQLAlchemy has begun a transaction, which the error may have broken
        run("%sql ROLLBACK")
    assert list(run("%sql SELECT leeroo_answer(question) FROM t WHERE id = 1")) == [("large says 2",)]
