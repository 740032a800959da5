"""Every example on the pages of SQL functions and in the README runs, and gives rows, columns and costs as shown."""

from __future__ import annotations

from pathlib import Path

import pytest

import leeroo
from docs.hooks.sql_examples import PAGES, examples, run

README = Path(__file__).parents[2] / "README.md"
_SHOWN_AS = {"INTEGER": "int32", "BIGINT": "int64", "INTEGER[]": "int32[]"}  # DuckDB's words in a box


def _shown(box: str) -> tuple[list[str], list[str], int]:
    """Names, types and number of rows in a box."""
    lines = [line.strip() for line in box.strip().splitlines()]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    return cells[0], cells[1], len(cells) - 2


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_examples_of_a_page_run(models_here: None, page: Path) -> None:
    """Columns, types, rows and requests are as shown; only the model's words may differ between machines."""
    assert examples(page)
    for example, given in run(page):
        assert given.cost.partition(",")[0] == example.cost.partition(",")[0], example.statement
        if given.cost:
            assert given.cost_usd == pytest.approx(float(example.cost.partition("$")[2].rstrip(".")), rel=0.5)
        assert bool(given.box) == bool(example.box), example.statement
        if given.box:
            types = [_SHOWN_AS.get(kind, kind.casefold()) for kind in given.types]
            assert (given.columns, types, given.rows) == _shown(example.box), example.statement


def test_every_function_has_an_example() -> None:
    """Each registered function has an example, on the page that has its name or names it in the title."""
    with leeroo.connect() as con:
        query = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_name LIKE 'leeroo%'"
        functions = {name for (name,) in con.execute(query).fetchall()}
    assert len(functions) >= 14
    pages = {
        page: page.read_text("utf-8").partition("\n")[0].removeprefix("# ").split(", ") for page in PAGES.glob("*")
    }
    shown = {
        name
        for page, names in pages.items()
        for name in names
        if any(f"{name}(" in example.statement for example in examples(page))
    }
    assert functions - shown == set()


def test_the_readme_examples_run(models_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each statement that the README shows runs in the root of the repository, and gives as many rows as its box."""
    monkeypatch.chdir(README.parent)
    shown = [example for example in examples(README) if example.box]
    assert shown
    with leeroo.connect(store=tmp_path) as con:
        for example in shown:
            made = con.sql(example.statement)
            assert made is not None
            names, _, rows = _shown(example.box)
            assert (made.columns, len(made.fetchall())) == (names, rows)
