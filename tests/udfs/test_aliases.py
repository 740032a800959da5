"""Names of other systems for functions of ours."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

import leeroo
from leeroo.udfs.aliases import ALIASES
from leeroo.udfs.connection import Connection

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "other-systems.md"


@pytest.mark.parametrize(
    ("theirs", "ours", "value"),
    [
        ("ai_gen(question)", "leeroo_answer(question)", "large says 2"),
        ("AI_COMPLETE(question)", "leeroo_answer(question)", "large says 2"),
        ("ai_filter(NULL::VARCHAR, 'is short')", "leeroo_filter(NULL::VARCHAR, 'is short')", None),
        ("ai_score(NULL::VARCHAR, 'how short')", "leeroo_score(NULL::VARCHAR, 'how short')", None),
        ("ai_similarity(question, 'What is 1 plus 1?')", "leeroo_similarity(question, 'What is 1 plus 1?')", 1.0),
    ],
)
def test_a_name_gives_the_value_of_the_function(con: Connection, theirs: str, ours: str, value: object) -> None:
    """Beside the function itself nothing more is asked."""
    ((one, other),) = con.execute(f"SELECT {theirs}, {ours} FROM t WHERE id = 1").fetchall()
    assert one == other == pytest.approx(value)


def test_a_name_of_an_aggregate_calls_it(con: Connection) -> None:
    """Groups are asked as by the function, which names itself where they have no answer."""
    with pytest.warns(leeroo.RowsFailedWarning, match="leeroo_agg: 4 of 4"):
        con.execute("SELECT part, ai_agg(question, 'What is asked?') FROM t GROUP BY part").fetchall()


def test_a_name_that_is_taken_is_left(pool_file: Path, store: Path) -> None:
    """A function of the user's own, or of an extension, stays."""
    with duckdb.connect() as con:
        con.execute("CREATE MACRO ai_gen(prompt) AS 'mine'")
        registered = leeroo.register(con, pool=pool_file, store=store)
        assert con.execute("SELECT ai_gen('x'), ai_complete('What is 1 plus 1?')").fetchall() == [
            ("mine", "large says 2")
        ]
        registered.close()


def test_every_name_is_documented() -> None:
    """The page on other systems has a row for each."""
    page = PAGE.read_text("utf-8")
    assert {name for name in ALIASES if f"| `{name}(" not in page} == set()
