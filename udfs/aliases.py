"""Names that other systems have for functions of ours, where arguments, meaning and type are the same.

A name that the connection already has, such as one of a loaded extension, is left as it is.
"""

from __future__ import annotations

import duckdb

# By name: the parameters, and the call of ours. Where they come from stands in docs/explanation/other-systems.md.
ALIASES = {
    "ai_complete": ("prompt", "leeroo_answer(prompt)"),
    "ai_gen": ("prompt", "leeroo_answer(prompt)"),
    "ai_classify": ('"text", labels', 'leeroo_label("text", labels)'),
    "ai_filter": ('"text", condition', 'leeroo_filter("text", condition)'),
    "ai_score": ('"text", criteria', 'leeroo_score("text", criteria)'),
    "ai_agg": ('"text", task', 'leeroo_agg("text", task)'),
    "ai_summarize_agg": ('"text"', 'leeroo_summarize("text")'),
    "ai_similarity": ("a, b", "leeroo_similarity(a, b)"),
}


def define(con: duckdb.DuckDBPyConnection) -> None:
    """Define the names on a connection that has our functions."""
    query = """SELECT DISTINCT function_name FROM duckdb_functions()
               WHERE list_contains(?, function_name) AND database_name <> 'temp'"""
    taken = {name for (name,) in con.execute(query, [list(ALIASES)]).fetchall()}
    for name, (parameters, call) in ALIASES.items():
        if name not in taken:
            con.execute(f"CREATE OR REPLACE TEMP MACRO {name}({parameters}) AS {call}")
