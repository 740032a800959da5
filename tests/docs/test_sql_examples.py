"""Every example in docs/reference/sql.md runs, and gives rows and columns as shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import leeroo
from leeroo.udfs.connection import Connection

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "sql.md"
README = Path(__file__).parents[2] / "README.md"


def _examples(page: Path) -> list[tuple[str, str, str]]:
    """Return the statements, and what the page says they give: a box of lines, the second of them with the columns."""
    return re.findall(r"```sql\n(.*?)```\n\n(( {4}[^\n]*\n)*)", page.read_text("utf-8"), flags=re.DOTALL)


EXAMPLES = _examples(PAGE)
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


def test_the_readme_examples_run(con: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each statement that the README shows runs in the root of the repository, and gives as many rows as its box."""
    monkeypatch.chdir(README.parent)
    examples = [(statement, box) for statement, box, _ in _examples(README) if box]
    assert examples
    for statement, box in examples:
        made = con.sql(statement)
        assert made is not None
        names, _, rows = _shown(box)
        assert (made.columns, len(made.fetchall())) == (names, rows)
