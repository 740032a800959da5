"""The rows of an answered table in a database: the columns of any job under one set of names, with observed scores.

Knows nothing of figures and reports.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from leeroo.engine.batch.prompts import first_line
from leeroo.engine.errors import InputError, UsageError
from leeroo.engine.jobs.feedback import judge_feedback
from leeroo.engine.jobs.verify import check_for, score
from leeroo.engine.paths import default_store
from leeroo.engine.store.store import Store
from leeroo.engine.tables.streams import take_columns

# Columns that every job appends; what stands before these names is the prefix of the run.
_ALWAYS = ("list_cost_usd", "cost_usd", "error")
# Where the text of a row stands, if nobody says so.
_TEXTS = ("question", "text", "prompt")
_ROWS_AT_ONCE = 50_000

# A number that is none counts as unknown.
_READ = """
CREATE TABLE rows AS SELECT row_number() OVER () AS row, question::VARCHAR AS question, answer::VARCHAR AS answer,
    expert::VARCHAR AS expert, {predicted} AS predicted, TRY_CAST(prompt_tokens AS BIGINT) AS prompt_tokens,
    TRY_CAST(completion_tokens AS BIGINT) AS completion_tokens, coalesce({cost_usd}, 0) AS cost_usd,
    coalesce({list_cost_usd}, 0) AS list_cost_usd, {latency_ms} AS latency_ms, nullif(error::VARCHAR, '') AS error,
    nullif(trim(gold::VARCHAR), '') AS gold, {observed} AS observed, {steps} AS steps
FROM source
"""
_NUMBERS = ("predicted", "cost_usd", "list_cost_usd", "latency_ms", "observed")
_NUMBER = "CASE WHEN isfinite(TRY_CAST({name} AS DOUBLE)) THEN TRY_CAST({name} AS DOUBLE) END"
_STEPS = """from_json(steps::JSON, '[{"expert": "VARCHAR", "list_cost_usd": "DOUBLE", "error": "VARCHAR"}]')"""

# Compares an answer with the right one.
Compare = Callable[[str, str], float]


@dataclass(frozen=True)
class AnsweredRows:
    """The table `rows` of a database: row (from 1), question, answer, expert, predicted, tokens, costs, and so on.

    Attributes:
        con: The database.
        observed: Where observed scores come from, in words; None where there are none.
        predicted: What was predicted, in words: a score, or the confidence in a label.
        steps: True where rows were answered in steps, each with an expert of its own.
    """

    con: duckdb.DuckDBPyConnection
    observed: str | None
    predicted: str
    steps: bool


@contextlib.contextmanager
def open_rows(
    reader: pa.RecordBatchReader,
    *,
    column: str | None = None,
    gold: str | None = None,
    score: str | None = None,
    store: str | Path | None = None,
) -> Iterator[AnsweredRows]:
    """Read an answered table into a database.

    Args:
        reader: A table as a run, labelling, solving or MMLU wrote it.
        column: That with the questions; by default the first of question, text and prompt that is there.
        gold: The column with right answers, to compare with.
        score: That with observed scores; it goes before `gold`. MMLU's own and recorded scores need no name.
        store: Folder of the answer store; its feedback stands in where the table has no observed scores.

    Raises:
        InputError: it is no such table, a column is missing, or it breaks off.
        UsageError: no answer store is in the folder.
    """
    names = reader.schema.names
    prefix = _prefix(names)
    for name in filter(None, (column, gold, score)):
        if name not in names:
            raise InputError(f"the input has no column {name!r}; its columns are: {', '.join(names)}")
    labels = f"{prefix}label" in names
    observed = score or (None if gold else _own_scores(names, prefix))
    found: dict[str, str | None] = {
        name: f"{prefix}{name}" for name in (*_ALWAYS, "expert", "prompt_tokens", "completion_tokens")
    }
    found |= {"answer": prefix + ("label" if labels else "answer"), "latency_ms": f"{prefix}latency_ms"}
    found |= {"predicted": prefix + ("confidence" if labels else "predicted_score")}
    found |= {"question": column or next((name for name in _TEXTS if name in names), ""), "gold": gold or ""}
    found |= {"observed": observed or "", "steps": f"{prefix}steps"}
    stepped = found["steps"] in names and found["expert"] not in names
    numbers = {name: _NUMBER.format(name=name) for name in _NUMBERS}
    with duckdb.connect() as con:
        con.register("source", take_columns(reader, found))
        try:
            con.execute(_READ.format(**numbers, steps=_STEPS if stepped else "NULL"))
        except duckdb.Error as error:
            raise InputError(f"the input cannot be read to its end: {first_line(error)}") from error
        con.unregister("source")
        whence = f"column {observed}" if observed else None
        if gold and not observed:
            _compare(con, _same_label if labels else _right)
            whence = f"comparison with {gold}"
        elif not observed and _take_feedback(con, store):
            whence = "feedback in the store"
        yield AnsweredRows(con, whence, "confidence" if labels else "predicted score", stepped)


def _prefix(names: Sequence[str]) -> str:
    """Return what stands before the names of the appended columns; of several runs that of the last."""
    ends = [name.removesuffix(_ALWAYS[0]) for name in names if name.endswith(_ALWAYS[0])]
    whole = [prefix for prefix in ends if all(prefix + name in names for name in _ALWAYS)]
    if not whole:
        raise InputError(
            "the input is no table of answers: it has no columns cost_usd, list_cost_usd and error; give a file that"
            f" leeroo run, label, solve or mmlu wrote (its columns are: {', '.join(names) or 'none'})"
        )
    return whole[-1]


def _own_scores(names: Sequence[str], prefix: str) -> str | None:
    """Return the column of scores that the job itself wrote: of replays, or of MMLU."""
    if f"{prefix}recorded_score" in names:
        return f"{prefix}recorded_score"
    return "score" if {"letter", "score"} <= set(names) else None


def _compare(con: duckdb.DuckDBPyConnection, compare: Compare) -> None:
    """Score the answers that have a right one, equal pairs once; a row that failed scores nothing."""
    con.execute("CREATE TABLE compared (answer VARCHAR, gold VARCHAR, observed DOUBLE)")
    query = "SELECT DISTINCT answer, gold FROM rows WHERE gold IS NOT NULL AND answer IS NOT NULL"
    for batch in con.sql(query).to_arrow_reader(_ROWS_AT_ONCE):
        answers, golds = batch.columns
        scores = [compare(*pair) for pair in zip(answers.to_pylist(), golds.to_pylist(), strict=True)]
        scored = pa.table({"answer": answers, "gold": golds, "observed": pa.array(scores, pa.float64())})
        with con.cursor() as writing:
            writing.register("scored", scored)
            writing.execute("INSERT INTO compared FROM scored")
    con.execute(
        "UPDATE rows SET observed = c.observed FROM compared c WHERE (rows.answer, rows.gold) = (c.answer, c.gold)"
    )


def _right(answer: str, gold: str) -> float:
    return score(answer, gold, check_for(gold))


def _same_label(label: str, gold: str) -> float:
    return float(label.strip() == gold)


def _take_feedback(con: duckdb.DuckDBPyConnection, folder: str | Path | None) -> bool:
    """Take the scores that people gave to these answers; return whether there are any."""
    kept = [{name: row[name] for name in ("question", "expert", "score")} for row in _kept(folder)]
    if not kept:
        return False
    con.register("feedback", pa.Table.from_pylist(kept))
    con.execute(
        "UPDATE rows SET observed = f.score FROM (SELECT question, expert, avg(score) AS score FROM feedback"
        " GROUP BY ALL) f WHERE (rows.question, rows.expert) = (f.question, f.expert) AND rows.error IS NULL"
    )
    con.unregister("feedback")
    return bool(con.sql("SELECT 1 FROM rows WHERE observed IS NOT NULL LIMIT 1").fetchall())


def _kept(named: str | Path | None) -> list[dict[str, Any]]:
    """Return the feedback of a store; without a name that of the usual one, which need not be there."""
    folder = Path(named or default_store())
    if (folder / "answers.sqlite").is_file():
        with contextlib.closing(Store(folder)) as store:
            return judge_feedback(store)
    if named is not None:
        raise UsageError(f"there is no answer store in {folder}; name its folder with store=")
    return []
