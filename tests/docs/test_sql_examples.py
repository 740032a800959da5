"""Every example in docs/reference/sql.md runs, and gives rows and columns as shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import leeroo
from leeroo.udfs.connection import Connection

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "sql.md"
# A statement, and what the page says it gives: a box of lines, the names of the columns in the second of them.
EXAMPLES = re.findall(r"```sql\n(.*?)```\n\n(( {4}[^\n]*\n)*)", PAGE.read_text("utf-8"), flags=re.DOTALL)

_SHOWN_AS = {"INTEGER": "int32", "BIGINT": "int64", "INTEGER[]": "int32[]"}  # DuckDB's words in a box


@pytest.fixture(scope="module")
def con(models_here: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """One connection for the whole page, over the embedded local pool."""
    with leeroo.connect(store=tmp_path_factory.mktemp("docs")) as con:
        yield con


def _shown(box: str) -> tuple[list[str], list[str], int]:
    """Names, types and number of rows in a box."""
    lines = [line.strip() for line in box.strip().splitlines()]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    return cells[0], cells[1], len(cells) - 2


def test_examples_of_the_docs_run(con: Connection) -> None:
    """Columns, types and rows are as shown; only the model's words may differ between machines."""
    assert len(EXAMPLES) > 10
    for statement, box, _ in EXAMPLES:
        made = con.sql(statement)
        if made is None:
            assert not box, statement
            continue
        names, types, rows = _shown(box)
        shown = [_SHOWN_AS.get(str(kind), str(kind).casefold()) for kind in made.types]
        assert (made.columns, shown) == (names, types), statement
        assert len(made.fetchall()) == rows, statement


def test_every_function_has_an_example(con: Connection) -> None:
    """Each registered function has an example in the docs."""
    query = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_name LIKE 'leeroo%'"
    functions = {name for (name,) in con.execute(query).fetchall()}
    shown = " ".join(statement for statement, *_ in EXAMPLES)
    assert {name for name in functions if f"{name}(" not in shown} == set()
    assert len(functions) == 14


def test_the_readme_example_runs(con: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement that the README shows, in the root of the repository."""
    monkeypatch.chdir(PAGE.parents[2])
    statement = re.findall(r"```sql\n(.*?)```", (PAGE.parents[2] / "README.md").read_text("utf-8"), flags=re.DOTALL)[0]
    made = con.sql(statement)
    assert isinstance(made, duckdb.DuckDBPyRelation)
    assert made.columns == ["id", "answer"]
    assert len(made.fetchall()) == 3
