"""Layout: prompts made of a task and fields, written so that rows share as much of their beginnings as they can.

A task is text with {names} in it: "Is {review} about {product}?". To people, to the router and to the answer store,
the question is the task with the fields filled in, and so the expert is shown it, unless that hides too much of what
rows have in common. Then the task comes first, which all rows share, and the fields after it, one to a line, those
first whose values are long and come again and again; rows are asked in the order of their prompts, so that what is
shared is computed once. After Liu et al., "Optimizing LLM Queries in Relational Data Analytics Workloads" (2024): the
order of fields is found greedily by what it saves, one order for all rows of a task.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import duckdb

# The part of all bytes in fields that laying them out must save: a question reads better with its fields filled in.
_WORTH_IT = 0.2
_PLACE = re.compile(r"\{\{|\}\}|\{(\w+)\}")


def names(task: str) -> tuple[str, ...]:
    """The names of the fields of a task, in the order they come first; two braces stand for one, and make no field."""
    return tuple(dict.fromkeys(found[1] for found in _PLACE.finditer(task) if found[1]))


def filled(task: str, fields: Mapping[str, object]) -> str:
    """The task with its fields filled in; values that are no text are written as JSON."""

    def put(found: re.Match[str]) -> str:
        return text_of(fields[found[1]]) if found[1] else found[0][0]

    return _PLACE.sub(put, task)


def text_of(value: object) -> str:
    """A field as it is written in a prompt."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def lay_out(con: duckdb.DuckDBPyConnection) -> None:
    """Write the prompts of questions that are laid out into the column `laid_out` of the table `questions`."""
    for (task,) in con.execute("SELECT DISTINCT task FROM questions WHERE fields IS NOT NULL").fetchall():
        fielded = names(task)
        if len(fielded) < 2:
            continue
        # A name is letters, digits and underscores; as a path into JSON, text comes without its quotes. The columns
        # have numbers for names: a field may be called as a column of `questions` is.
        values = ", ".join(f"json_extract_string(fields, '$.{name}') AS field_{i}" for i, name in enumerate(fielded))
        con.execute(f"CREATE OR REPLACE TEMP TABLE laying AS SELECT id, {values} FROM questions WHERE task = ?", [task])
        order = _order(con, len(fielded))
        if order is not None:
            lines = ", ".join(f"chr(10) || '{{{fielded[i]}}}: ' || field_{i}" for i in order)
            shown = _PLACE.sub(lambda found: found[0] if found[1] else found[0][0], task)
            con.execute(
                f"UPDATE questions SET laid_out = concat(?, chr(10), {lines}) FROM laying"
                " WHERE laying.id = questions.id",
                [shown],
            )
    con.execute("DROP TABLE IF EXISTS laying")


def _order(con: duckdb.DuckDBPyConnection, count: int) -> list[int] | None:
    """The order in which the fields of the table `laying` share most; None where filling them in is about as good."""
    order: list[int] = []
    while len(order) < count:
        rest = [i for i in range(count) if i not in order]
        order.append(max(rest, key=lambda i: _shared(con, [*order, i])))
    bytes_of = " + ".join(f"strlen(field_{i})" for i in range(count))
    whole = con.execute(f"SELECT sum({bytes_of}) FROM laying").fetchall()[0][0]
    gain = sum(_shared(con, order[:n]) - _shared(con, list(range(n))) for n in range(1, count + 1))
    return order if gain > _WORTH_IT * whole else None


def _shared(con: duckdb.DuckDBPyConnection, fields: list[int]) -> int:
    """How many bytes of the last of these fields follow on a beginning that another row has too, itself included."""
    alike = ", ".join(f"field_{i}" for i in fields)
    query = f"SELECT any_value(strlen(field_{fields[-1]})) AS bytes, count(*) AS n FROM laying GROUP BY {alike}"
    return int(con.execute(f"SELECT sum(bytes * (n - 1)) FROM ({query})").fetchall()[0][0])
