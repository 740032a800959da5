"""Statements of any shape give what they give with a plain function in the place of leeroo_answer."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from duckdb.func import FunctionNullHandling

from leeroo.udfs.register import connect

Cases = Callable[[int], Iterator[tuple[str, random.Random]]]
# Seconds that one statement may take, on a busy machine.
LONGEST_S = 60.0
TABLES = """
CREATE OR REPLACE TABLE t AS
    SELECT i AS id, i % 3 AS part, CASE WHEN i % 7 = 6 THEN NULL ELSE 'What is ' || i % 45 || ' plus ' || i % 45 || '?' END AS q
    FROM range({rows}) r(i);
CREATE OR REPLACE TABLE u AS SELECT i AS id, 'What is ' || i || ' plus ' || i || '?' AS q FROM range(5) r(i);
CREATE OR REPLACE VIEW v AS SELECT id, ask(q) AS a FROM t;
CREATE OR REPLACE MACRO next(said) AS 'What is ' || split_part(said, ' ', 3) || ' plus ' || split_part(said, ' ', 3) || '?';
"""


def _answer(question: str | None) -> str | None:
    """Return what the expert 'large' has recorded."""
    words = (question or "").split()
    known = words[:2] == ["What", "is"] and words[3:] == ["plus", f"{words[2]}?"] and words[2] in map(str, range(40))
    return f"large says {2 * int(words[2])}" if known else None


class Statements:
    """Random statements over `TABLES`."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def text(self, deep: int = 2) -> str:
        """Return an expression for text."""
        forms = ["{t}.q", "'What is 3 plus 3?'", "NULL"]
        if deep:
            inner = self.text(deep - 1)
            forms += [
                *(f"ask({inner})",) * 4,
                f"ask(next(ask({inner})))",
                f"coalesce({inner}, ask({{t}}.q), 'none')",
                f"CASE WHEN {self.condition(deep - 1)} THEN {inner} ELSE ask({{t}}.q) END",
                f"upper({inner})",
                "list_transform([{t}.q], x -> ask(x))[1]",
                "(SELECT max(ask(u.q)) FROM u WHERE u.id = {t}.part)",
            ]
        return self.rng.choice(forms)

    def condition(self, deep: int = 2) -> str:
        """Return an expression for truth."""
        forms = ["{t}.id % 3 = 0", "{t}.id < 7", "{t}.q IS NOT NULL", "{t}.part = 1"]
        if deep:
            left, right = self.condition(deep - 1), self.condition(deep - 1)
            text = self.text(deep - 1)
            forms += [
                f"({left} AND {right})",
                f"({left} OR {right})",
                f"NOT ({left})",
                f"{text} IS NULL",
                f"{text} IS NOT NULL",
                f"{text} LIKE 'large%4'",
                f"{text} IN ('large says 4', 'large says 6')",
                f"{text} IN (SELECT ask(q) FROM u)",
                f"EXISTS (FROM u WHERE u.id = {{t}}.id AND ask(u.q) = {text})",
                f"length({text}) > 12",
            ]
        return self.rng.choice(forms)

    def query(self) -> str:
        """Return a query whose rows do not depend on their order."""
        a, b, where, more = self.text(), self.text(1), self.condition(), self.condition(1)
        t, of_v = (
            "t",
            f"ask(next(v.a)) AS b FROM v WHERE {self.condition(0).replace('.q', '.a').replace('{t}.part', '{t}.id')}",
        )
        forms = [
            f"SELECT t.id, {a} AS a FROM t WHERE {where}",
            f"SELECT t.id, {a} AS a, {b} AS b FROM t WHERE {where} ORDER BY t.id LIMIT 4",
            f"SELECT {a} AS a, count(*), max({b}) FROM t WHERE {where} GROUP BY ALL HAVING count(*) > 0",
            f"SELECT count(*) FILTER ({where}), count(DISTINCT {a}) FROM t",
            f"SELECT t.id, u.id, {a} AS a FROM t JOIN u ON {where} AND t.part = u.id",
            f"SELECT t.id, u.q FROM t LEFT JOIN u ON ask(u.q) = {a} WHERE {more}",
            f"SELECT t.id, first_value({a}) OVER (PARTITION BY t.part ORDER BY t.id) AS a FROM t",
            f"SELECT t.id FROM t WHERE {where} QUALIFY row_number() OVER (PARTITION BY {a} ORDER BY t.id) = 1",
            f"SELECT {a} AS a FROM t WHERE {where} UNION SELECT ask(q) FROM u",
            f"WITH w AS (SELECT t.id, {a} AS a FROM t WHERE {where}) SELECT id, ask(next(a)) FROM w WHERE a IS NOT NULL",
            f"SELECT s.id, s.a FROM (SELECT t.id, {a} AS a FROM t) s WHERE s.a LIKE '%2' OR s.id % 4 = 1",
            f"SELECT v.id, {of_v.format(t='v')}",
            f"SELECT t.id, l.a FROM t, LATERAL (SELECT {a} AS a) l WHERE {where}",
            f"FROM (SELECT unnest([{a}, {b}]) AS a, t.id FROM t WHERE {where})",
        ]
        return self.rng.choice(forms).format(t=t)

    def statement(self) -> str:
        """Return a query, or a statement that writes; then what it wrote is looked at."""
        query = self.query()
        set_, where = self.text(1).format(t="t"), self.condition(1).format(t="t")
        forms = [
            *(query,) * 5,
            f"CREATE OR REPLACE TABLE made AS {query}; FROM made",
            f"CREATE OR REPLACE TABLE made (a VARCHAR DEFAULT 'x'); INSERT INTO made SELECT {set_} FROM t; FROM made",
            f"UPDATE t SET q = {set_} WHERE {where}; FROM t",
            f"DELETE FROM t WHERE {where} AND {set_} IS NOT NULL; FROM t",
            f"BEGIN; CREATE TEMP TABLE made AS {query}; FROM made",
        ]
        return self.rng.choice(forms)


def _rows(con: Any, statement: str) -> list[str] | str:
    """Return the rows in a fixed order, or the kind of error."""
    try:
        return sorted(map(repr, con.execute(statement).fetchall()))
    except duckdb.Error as error:
        return type(error).__name__
    finally:
        if "BEGIN" in statement:
            con.execute("ROLLBACK")


@pytest.mark.filterwarnings("ignore::leeroo.RowsFailedWarning")
def test_statements_give_what_a_plain_function_gives(cases: Cases, pool_file: Path, tmp_path: Path) -> None:
    """The rows or the error are the same, and no statement hangs."""
    plain = duckdb.connect()
    plain.create_function("plain_answer", _answer, ["VARCHAR"], "VARCHAR", null_handling=FunctionNullHandling.SPECIAL)
    plain.execute("CREATE MACRO ask(question) AS plain_answer(question)")
    with connect(pool=pool_file, store=tmp_path / "store") as con, plain:
        con.execute("CREATE TEMP MACRO ask(question) AS leeroo_answer(question)")
        for name, rng in cases(25):
            rows = rng.choice([3, 20, 20, 2500])
            for each in (con, plain):
                each.execute(TABLES.format(rows=rows).replace("REPLACE VIEW", "REPLACE TEMP VIEW"))
            statement = Statements(rng).statement()
            began = time.monotonic()
            assert _rows(con, statement) == _rows(plain, statement), f"case {name}: {statement}"
            assert time.monotonic() - began < LONGEST_S, f"case {name}: {statement}"
