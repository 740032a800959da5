"""Results: how probably each answer is right, the best answer to each question, and the rows of the table with them."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa

from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.jobs.learn.asked import AskedTable
from leeroo.engine.jobs.learn.compare import leaning
from leeroo.engine.jobs.learn.truth import posterior, rates, right
from leeroo.engine.money import DECIMALS

# Columns that are not those of the chosen answer alone.
_OWN = ("predicted_score", "cost_usd", "list_cost_usd", "error")
# The first row of a question pays for it. A question without an answer has the error of its last request.
_ROWS = """
WITH paid AS (SELECT q, round(sum(cost_usd), {decimals}) AS cost_usd,
                     round(sum(list_cost_usd), {decimals}) AS list_cost_usd,
                     arg_max(error, i) FILTER (error IS NOT NULL) AS error
              FROM answers GROUP BY q)
SELECT {columns}, b.sure AS predicted_score,
       CASE WHEN row_number() OVER (PARTITION BY r.q ORDER BY r.row) = 1 THEN coalesce(p.cost_usd, 0) ELSE 0 END
       AS cost_usd,
       coalesce(p.list_cost_usd, 0) AS list_cost_usd,
       CASE WHEN r.q >= 0 AND a.q IS NULL THEN coalesce(p.error, 'the budget does not reach this row') END AS error
FROM rows r LEFT JOIN best b ON r.q = b.q AND r.q >= 0 LEFT JOIN paid p ON r.q = p.q AND r.q >= 0
     LEFT JOIN answers a ON a.q = b.q AND a.e = b.e AND a.error IS NULL
ORDER BY r.row
"""


def scores(asked: AskedTable, theta: Float64s) -> Float64s:
    """Return the probability that each answer bought is right [n, e]; NaN where nobody can say.

    Args:
        asked: The batch at its end.
        theta: [e], skills.

    """
    if not asked.comparable:
        return asked.scores
    found = right(asked.evidence, posterior(asked.evidence, theta))
    return np.where(asked.evidence.bought, found.clip(0.0, 1.0), np.nan)


def best_answers(asked: AskedTable, theta: Float64s) -> tuple[Int64s, Float64s]:
    """Return the expert of the best answer to each question [n], and the probability that it is right [n].

    They are -1 and NaN where there is no answer.

    Args:
        asked: The batch at its end.
        theta: [e], skills.

    """
    n, skill = len(asked.rows), theta + asked.evidence.offset
    if asked.comparable:
        post = posterior(asked.evidence, theta)
        best = post.best
        says_it = (asked.evidence.answers == best[:, None]) & (best[:, None] >= 0)
        other = asked.bought & ~says_it.any(axis=1, keepdims=True)
        sure = post.sure.clip(0.0, 1.0)
    else:
        level = np.nan_to_num(asked.scores, nan=-1.0)
        top = np.where(asked.bought, level, -2.0).max(axis=1, keepdims=True)
        says_it, other = asked.bought & (level == top), np.zeros_like(asked.bought)
        sure = np.where(top[:, 0] >= 0, top[:, 0], np.nan)
    candidates = says_it | other
    expert = np.where(candidates, skill, -np.inf).argmax(axis=1)
    none = ~candidates.any(axis=1)
    guess = rates(skill[np.arange(n), expert]) if n else np.zeros(0)
    return np.where(none, -1, expert), np.where(none, np.nan, np.where(np.isnan(sure), guess, sure))


def leanings(asked: AskedTable) -> dict[str, tuple[str, float]]:
    """Return the experts that lean to a letter of the options, with the letter and how often they give it."""
    offered = asked.lettered
    answers = [
        (e, text, offered[q])
        for wave in asked.answers
        for q, e, text in zip(*(wave.column(name).to_pylist() for name in ("q", "e", "answer")), strict=True)
        if offered[q]
    ]
    found = {}
    for j, name in enumerate(asked.names):
        own = [(text, options) for e, text, options in answers if e == j]
        leans = leaning([text for text, _ in own], [options for _, options in own])
        if leans is not None:
            found[name] = leans
    return found


def append_answers(
    table: pa.Table, asked: AskedTable, expert: Int64s, sure: Float64s, added: pa.Schema, prefix: str
) -> pa.Table:
    """Return a table with the best answer to each question, and all that was paid for it.

    Args:
        table: Of the user.
        asked: Its questions, with all answers.
        expert: [n], of the best answer to each question; -1 without one.
        sure: [n], the probability that it is right.
        added: The columns that are appended.
        prefix: Of their names.

    """
    columns = ", ".join(f"a.{name}" for name in added.names if name not in _OWN)
    with duckdb.connect() as db:
        answers = _all_answers(asked, added)
        db.register("answers", answers)
        db.register("rows", pa.table({"row": np.arange(len(table)), "q": asked.questions.of_row}))
        db.register("best", pa.table({"q": np.arange(len(expert)), "e": expert, "sure": sure}))
        done = db.sql(_ROWS.format(columns=columns, decimals=DECIMALS)).to_arrow_table()
    for field in added:
        table = table.append_column(prefix + field.name, done.column(field.name).cast(field.type))
    return table


def _all_answers(asked: AskedTable, added: pa.Schema) -> pa.Table:
    """Return all answers of all waves, each with its number `i`."""
    empty = pa.schema([*added, pa.field("q", pa.int64()), pa.field("e", pa.int64())]).empty_table()
    found = pa.concat_tables([empty, *asked.answers], promote_options="permissive")
    return found.append_column("i", pa.array(range(len(found)), pa.int64()))
