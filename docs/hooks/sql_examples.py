"""Run the examples on the pages of SQL functions, and write below each what it gives and costs.

    python docs/hooks/sql_examples.py [NAME.md ...]

An example is a block of SQL, then the box of its rows, then a line such as "Cost: 2 requests, $0.0000012." where it
sends any. Each page is run by itself, with an answer store of its own and the tables of index.md.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb

import leeroo
from leeroo.udfs.connection import Connection

PAGES = Path(__file__).parents[1] / "reference" / "sql"
_EXAMPLE = re.compile(r"```sql\n(.*?)```\n\n?((?: {4}[^\n]*\n)*)\n?((?:Cost: [^\n]*\n)?)\n?", flags=re.DOTALL)
_SPENT = "SELECT coalesce(sum(answers), 0)::BIGINT, coalesce(sum(cost_usd), 0)::DOUBLE FROM leeroo_spend()"


class Example(NamedTuple):
    """An example as a page shows it; `box` and `cost` are empty where the page has none."""

    statement: str
    box: str
    cost: str


class Given(NamedTuple):
    """What an example gives and takes."""

    box: str  # of its rows, "" where it has none
    columns: list[str]
    types: list[str]
    rows: int
    requests: int
    cost_usd: float

    @property
    def cost(self) -> str:
        """Return the line that a page has below the example, "" where nothing was sent."""
        requests = "1 request" if self.requests == 1 else f"{self.requests} requests"
        return f"Cost: {requests}, ${self.cost_usd:.7f}." if self.requests else ""


def examples(page: Path) -> list[Example]:
    """Return the examples of a page, in order."""
    return [
        Example(found[1], found[2], found[3].strip()) for found in _EXAMPLE.finditer(page.read_text("utf-8") + "\n")
    ]


def run(page: Path) -> Iterator[tuple[Example, Given]]:
    """Run the examples of a page, in order, in a database that has the tables of the examples."""
    with tempfile.TemporaryDirectory() as store, leeroo.connect(store=store) as con:
        if page.name != "index.md":
            con.execute(examples(PAGES / "index.md")[-1].statement)
        for example in examples(page):
            before = _spent(con)
            shown = _shown(con.sql(example.statement))
            after = _spent(con)
            yield example, Given(*shown, after[0] - before[0], after[1] - before[1])


def _shown(rows: duckdb.DuckDBPyRelation | None) -> tuple[str, list[str], list[str], int]:
    """Return the box of some rows, their columns, the types of these, and their number."""
    if rows is None:
        return "", [], [], 0
    box = "".join(f"    {line}".rstrip() + "\n" for line in str(rows).rstrip().splitlines())
    return box, rows.columns, [str(kind) for kind in rows.types], len(rows.fetchall())


def _spent(con: Connection) -> tuple[int, float]:
    """Return the number and the cost of the answers in the store."""
    ((requests, cost_usd),) = con.execute(_SPENT).fetchall()
    return requests, cost_usd


def write(page: Path) -> None:
    """Write the boxes and costs of a page anew."""
    given = iter([_written(example, found) for example, found in run(page)])
    page.write_text(_EXAMPLE.sub(lambda _: next(given), page.read_text("utf-8") + "\n").rstrip() + "\n", "utf-8")


def _written(example: Example, given: Given) -> str:
    parts = [f"```sql\n{example.statement}```", given.box.rstrip("\n"), given.cost]
    return "".join(f"{part}\n\n" for part in parts if part)


if __name__ == "__main__":
    named = [PAGES / name for name in sys.argv[1:]]
    for each in named or sorted(PAGES.glob("*.md")):
        write(each)
