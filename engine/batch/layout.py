"""Layout: prompts made of a task and fields, written so that rows share as much of their beginnings as they can.

A task is text with {names} in it: "Is {review} about {product}?". To people, to the router and to the answer store,
the question is the task with the fields filled in. The expert is shown the task first, which all rows share, and the
fields after it, one to a line, those first whose values are long and come again and again; rows are asked in the order
of their prompts, so that what is shared is computed once. After Liu et al., "Optimizing LLM Queries in Relational Data
Analytics Workloads" (2024): the order of fields is found greedily by what it saves, one order for all rows of a task.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import duckdb

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
    """Write the prompts of questions of more than one field into the column `laid_out` of the table `questions`."""
    for (task,) in con.execute("SELECT DISTINCT task FROM questions WHERE fields IS NOT NULL").fetchall():
        fielded = list(names(task))
        if len(fielded) < 2:
            continue
        # A name is letters, digits and underscores; as a path into JSON, text comes without its quotes.
        values = ", ".join(f"json_extract_string(fields, '$.{name}') AS \"{name}\"" for name in fielded)
        con.execute(f"CREATE OR REPLACE TEMP TABLE laying AS SELECT id, {values} FROM questions WHERE task = ?", [task])
        lines = ", ".join(f"chr(10) || '{{{name}}}: ' || \"{name}\"" for name in _order(con, fielded))
        shown = _PLACE.sub(lambda found: found[0] if found[1] else found[0][0], task)
        con.execute(
            f"UPDATE questions SET laid_out = concat(?, chr(10), {lines}) FROM laying WHERE laying.id = questions.id",
            [shown],
        )
    con.execute("DROP TABLE IF EXISTS laying")


def _order(con: duckdb.DuckDBPyConnection, fielded: list[str]) -> list[str]:
    """The fields of the table `laying`, each next one that saves most bytes among rows that are alike so far."""
    order: list[str] = []
    rest = list(fielded)
    while len(rest) > 1:
        saved = {}
        for name in rest:
            alike = ", ".join(f'"{field}"' for field in [*order, name])
            saved[name] = con.execute(
                f"SELECT sum(bytes * (rows - 1)) FROM"
                f' (SELECT any_value(strlen("{name}")) AS bytes, count(*) AS rows FROM laying GROUP BY {alike})'
            ).fetchall()[0][0]
        order.append(max(rest, key=saved.__getitem__))
        rest.remove(order[-1])
    return order + rest
