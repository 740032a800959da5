"""Rows of outcomes as text, of whatever form: what is wrong with them is found, and the rest is a data folder.

The rows are in the table `staged` of a connection, which `create` makes. Knows nothing of forms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from leeroo.engine.errors import InputError
from leeroo.engine.orchestrator.heads import TOKENS_PER_BYTE
from leeroo.engine.orchestrator.outcomes.forms import Kind
from leeroo.engine.prices import cheapest_price

# Compares an answer with the right one: 1 where it is right, 0 where it is not.
Grade = Callable[[str, str], float]

# Rows that are shown as examples of each reason for which rows are left out.
_EXAMPLES = 3
NOTHING = "('', 'nan', 'none', 'null', 'n/a', 'na')"
_YES = "('true', 'yes', 'correct', 'right', 'pass', 'passed', 't', 'y')"
_NO = "('false', 'no', 'incorrect', 'wrong', 'fail', 'failed', 'f', 'n')"
_TRAIN = "('train', 'training')"
_TEST = "('test', 'testing', 'eval', 'evaluation', 'validation', 'valid', 'val', 'dev', 'held-out', 'held_out')"
TEXTS = (
    "file", "question", "prompt", "expert", "field", "score", "gold", "response", "prediction", "subject", "category",
    "dataset", "split", "failure",
)  # fmt: skip
NUMBERS = ("prompt_tokens", "completion_tokens", "cost_usd", "latency_ms", "usd_per_m_input", "usd_per_m_output")


class LeftOut(NamedTuple):
    """Rows that were left out for one reason, with some of them as 'FILE: row N'."""

    reason: str
    rows: int
    examples: list[str]


class ExpertCounts(NamedTuple):
    """The outcomes of an expert in a file."""

    expert: str
    outcomes: int
    mean_score: float
    with_tokens: int
    with_cost: int
    priced: bool


@dataclass
class FileOutcomes:
    """What was read from a file, or from files together, of outcomes.

    Attributes:
        source: As the user named it.
        files: How many files were read.
        names: The columns of all of them.
        forms: The forms of these.
        columns: Their column for each of our names, of the first file of a table's form.
        scores: How scores are written: 'numbers', 'true/false', 'compared with right answers', 'preferences'.
        rows: All rows that may be outcomes.
        questions: Distinct questions with outcomes.
        splits: Questions of each split; without a column of splits all are 'train'.
        has_splits: Whether there is such a column.
        experts: By name.
        repeated, contradicting: Pairs of question and expert that are there more than once, and those of them whose
            scores differ. Their means count.
        left_out: Rows without an outcome, by reason.
        remarks: Sentences about what was chosen.
    """

    source: str
    files: int = 0
    names: set[str] = field(default_factory=set)
    forms: list[Kind] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    scores: str = "numbers"
    rows: int = 0
    questions: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    has_splits: bool = False
    experts: list[ExpertCounts] = field(default_factory=list)
    repeated: int = 0
    contradicting: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def outcomes(self) -> int:
        """How many outcomes there are."""
        return sum(each.outcomes for each in self.experts)


def create(con: duckdb.DuckDBPyConnection) -> None:
    """Create the table `staged`, in which each row has its file, its number, and the column that its score is from."""
    columns = [f"{name} VARCHAR" for name in (*TEXTS, *NUMBERS)] + ["row BIGINT", "points DOUBLE", "graded BOOLEAN"]
    con.execute(f"CREATE TABLE staged ({', '.join(columns)})")


def finish(con: duckdb.DuckDBPyConnection, folder: Path, found: FileOutcomes, grade: Grade) -> None:
    """Write the rows of `staged` as a data folder, and note what is in them.

    Raises:
        InputError: a value cannot be read.
    """
    _score(con, found, grade)
    _check_numbers(con)
    _leave_out(con, found)
    _write(con, folder, found)


def word(column: str) -> str:
    """Return SQL for the text of a column in lower case, without spaces around it."""
    return f"lower(trim({column}))"


def points_of(column: str) -> str:
    """Return SQL for the number that a score stands for; NULL where it is none."""
    said = word(column)
    return f"CASE WHEN {said} IN {_YES} THEN 1 WHEN {said} IN {_NO} THEN 0 ELSE TRY_CAST({said} AS DOUBLE) END"


def _score(con: duckdb.DuckDBPyConnection, found: FileOutcomes, grade: Grade) -> None:
    """Turn scores into points in [0, 1]; where a file has none, compare answers with right ones.

    Raises:
        InputError: a value is no score, or out of range.
    """
    con.execute(f"UPDATE staged SET score = NULL WHERE {word('score')} IN {NOTHING}")
    con.execute(f"UPDATE staged SET points = {points_of('score')} WHERE score IS NOT NULL")
    bad = read_first(
        con,
        "SELECT file, row, field, score FROM staged "
        "WHERE score IS NOT NULL AND (points IS NULL OR NOT isfinite(points)) LIMIT 1",
    )
    if bad:
        raise InputError(
            f"{bad[0]}: row {bad[1]}: {bad[3]!r} in the column {bad[2]!r} is no score: write numbers from 0 to 1, or "
            "true and false, or name another column with map= COLUMN=score"
        )
    wide = read_first(
        con,
        "SELECT file, field, min(row), arg_min(score, row), "
        "(SELECT max(points) FROM staged s WHERE s.file = t.file AND s.field = t.field) AS most "
        "FROM staged t WHERE points NOT BETWEEN 0 AND 1 GROUP BY file, field ORDER BY file, field LIMIT 1",
    )
    if wide:
        file, column, row, score, most = wide
        raise InputError(
            f"{file}: row {row}: the score {score} in the column {column!r} is not between 0 and 1: "
            f"scale that column to this range{_how(most)}, or name another with map= COLUMN=score"
        )
    if _number(con, f"SELECT count(*) FROM staged WHERE {word('score')} IN {_YES} OR {word('score')} IN {_NO}"):
        found.scores = "true/false"
    _grade(con, found, grade)


def _how(most: float) -> str:
    """Return how scores are brought between 0 and 1, where their scale can be seen."""
    if 10 < most <= 100:
        return ", such as by dividing by 100"
    return ", such as by (score - 1) / 9 for a scale from 1 to 10" if 5 < most <= 10 else ""


def _grade(con: duckdb.DuckDBPyConnection, found: FileOutcomes, grade: Grade) -> None:
    wanted = "points IS NULL AND graded AND trim(gold) <> '' AND coalesce(prediction, response) IS NOT NULL"
    pairs = con.sql(
        f"SELECT DISTINCT coalesce(prediction, response) AS said, gold FROM staged WHERE {wanted}"
    ).fetchall()
    if not pairs:
        return
    found.scores = "compared with right answers"
    said, right = zip(*pairs, strict=True)
    marks = [float(grade(*pair)) for pair in pairs]
    con.register("marks", pa.table({"said": said, "right_one": right, "mark": pa.array(marks, pa.float64())}))
    con.execute(
        f"UPDATE staged SET points = mark FROM marks WHERE {wanted} AND gold = right_one "
        "AND coalesce(prediction, response) = said"
    )
    con.unregister("marks")


def _check_numbers(con: duckdb.DuckDBPyConnection) -> None:
    """Check that tokens, costs and prices are numbers from 0.

    Raises:
        InputError: one is none.
    """
    for name in NUMBERS:
        value = f"replace(replace(trim({name}), '$', ''), ',', '')"
        con.execute(f"UPDATE staged SET {name} = nullif({value}, '')")
        con.execute(f"UPDATE staged SET {name} = NULL WHERE lower({name}) IN {NOTHING}")
        bad = read_first(
            con,
            f"SELECT file, row, {name} FROM staged WHERE {name} IS NOT NULL "
            f"AND NOT coalesce(TRY_CAST({name} AS DOUBLE) BETWEEN 0 AND 1e300, false) LIMIT 1",
        )
        if bad:
            raise InputError(
                f"{bad[0]}: row {bad[1]}: {bad[2]!r} is read as {name}, and is no number from 0: mend it, leave it "
                "empty, or pass over its column with map= COLUMN=ignore"
            )


def _leave_out(con: duckdb.DuckDBPyConnection, found: FileOutcomes) -> None:
    """Count the rows that hold no outcome, by reason, and drop them."""
    con.execute(
        "ALTER TABLE staged ADD COLUMN reason VARCHAR; UPDATE staged SET reason = CASE "
        "WHEN coalesce(trim(question), '') = '' THEN 'no question' "
        "WHEN coalesce(trim(expert), '') = '' THEN 'no expert' "
        "WHEN coalesce(trim(failure), '') <> '' AND response IS NULL THEN 'the row failed and has no answer' "
        "WHEN points IS NULL AND graded THEN 'no score, and no answer that can be compared with a right one' "
        "WHEN points IS NULL THEN 'no score' END"
    )
    bad = read_first(
        con,
        f"SELECT file, row, split FROM staged WHERE split IS NOT NULL AND {word('split')} NOT IN {_TRAIN} "
        f"AND {word('split')} NOT IN {_TEST} AND trim(split) <> '' LIMIT 1",
    )
    if bad:
        raise InputError(
            f"{bad[0]}: row {bad[1]}: the split {bad[2]!r} is neither train nor test: write it as one of these, or "
            "pass over its column with map= COLUMN=ignore"
        )
    found.rows = _number(con, "SELECT count(*) FROM staged")
    rows = con.sql(
        "SELECT reason, count(*), list(file || ': row ' || row ORDER BY file, row)[:$most] FROM staged "
        "WHERE reason IS NOT NULL GROUP BY reason ORDER BY count(*) DESC, reason",
        params={"most": _EXAMPLES},
    ).fetchall()
    found.left_out = [LeftOut(*row) for row in rows]
    con.execute("DELETE FROM staged WHERE reason IS NOT NULL")


def read_first(con: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...] | None:
    """Return the first row of a query, None where there is none."""
    rows = con.sql(query).fetchall()
    return rows[0] if rows else None


def _number(con: duckdb.DuckDBPyConnection, query: str) -> int:
    [(number,)] = con.sql(query).fetchall()
    return int(number)


_TABLES = f"""
CREATE TABLE outcome AS
    SELECT md5(concat_ws(chr(31), question, prompt, split)) AS query_id, * FROM (
        SELECT question, coalesce(nullif(prompt, ''), question) AS prompt, trim(expert) AS expert, points, response,
               prediction, gold, subject, category, dataset,
               CASE WHEN {word("split")} IN {_TEST} THEN 'test' ELSE 'train' END AS split,
               TRY_CAST(completion_tokens AS DOUBLE) AS completion_tokens, TRY_CAST(cost_usd AS DOUBLE) AS cost_usd,
               CASE WHEN prompt_tokens IS NOT NULL THEN TRY_CAST(prompt_tokens AS DOUBLE)
                    WHEN completion_tokens IS NOT NULL
                    THEN ceil(strlen(coalesce(nullif(prompt, ''), question)) * {TOKENS_PER_BYTE}) END AS prompt_tokens,
               TRY_CAST(latency_ms AS DOUBLE) AS latency_ms, TRY_CAST(usd_per_m_input AS DOUBLE) AS usd_per_m_input,
               TRY_CAST(usd_per_m_output AS DOUBLE) AS usd_per_m_output, file, row
        FROM staged);
CREATE TABLE queries AS
    SELECT query_id, coalesce(min(dataset), 'outcomes') AS dataset, any_value(split) AS split,
           min(nullif(trim(subject), '')) AS subject, min(nullif(trim(category), '')) AS category,
           any_value(question) AS question, NULL::VARCHAR[] AS choices, min(gold) AS answer, any_value(prompt) AS prompt
    FROM outcome GROUP BY query_id ORDER BY query_id;
CREATE TABLE outcomes AS
    SELECT query_id, expert, avg(points) AS score, arg_min(response, row) AS response,
           arg_min(nullif(prediction, ''), row) AS prediction, avg(prompt_tokens)::INTEGER AS prompt_tokens,
           avg(completion_tokens)::INTEGER AS completion_tokens, avg(cost_usd) AS cost_usd,
           avg(latency_ms) AS latency_ms
    FROM outcome GROUP BY query_id, expert ORDER BY query_id, expert;
CREATE TABLE experts (expert VARCHAR, model VARCHAR, params_b DOUBLE, license_open BOOLEAN, usd_per_m_input DOUBLE,
                      usd_per_m_output DOUBLE, note VARCHAR);
"""


def _write(con: duckdb.DuckDBPyConnection, folder: Path, found: FileOutcomes) -> None:
    """Write the tables of the data folder, and note what is in them."""
    con.execute(_TABLES)
    repeated = con.sql(
        "SELECT count(*), count(*) FILTER (least <> most) FROM (SELECT min(points) AS least, max(points) AS most "
        "FROM outcome GROUP BY query_id, expert HAVING count(*) > 1)"
    ).fetchall()
    found.repeated, found.contradicting = repeated[0]
    if _number(con, "SELECT count(*) FROM staged WHERE prompt_tokens IS NULL AND completion_tokens IS NOT NULL"):
        found.remarks.append("tokens of prompts are not recorded: they follow from the length of the texts")
    found.questions = _number(con, "SELECT count(DISTINCT (question, prompt)) FROM queries")
    found.splits = dict(con.sql("SELECT split, count(*) FROM queries GROUP BY split ORDER BY split DESC").fetchall())
    counts = con.sql(
        "SELECT expert, count(*), avg(score), count(completion_tokens), count(cost_usd) FROM outcomes "
        "GROUP BY expert ORDER BY expert"
    ).fetchall()
    priced = _priced(con, [name for name, *_ in counts], found)
    found.experts = [
        ExpertCounts(name, n, mean, with_tokens, with_cost, name in priced)
        for name, n, mean, with_tokens, with_cost in counts
    ]
    folder.mkdir(parents=True)
    for name in ("queries", "outcomes", "experts"):
        con.sql(f"FROM {name}").write_parquet(str(folder / f"{name}.parquet"))


def _priced(con: duckdb.DuckDBPyConnection, experts: Sequence[str], found: FileOutcomes) -> set[str]:
    """Fill the table of experts with those whose prices stand in the file, follow from its costs, or are listed."""
    of_file = {
        name: (usd_in, usd_out)
        for name, usd_in, usd_out in con.sql(
            "SELECT expert, max(usd_per_m_input), max(usd_per_m_output) FROM outcome GROUP BY expert "
            "HAVING max(usd_per_m_input) IS NOT NULL AND max(usd_per_m_output) IS NOT NULL"
        ).fetchall()
    }
    derived: list[str] = []
    listed: list[str] = []
    rows: list[tuple[Any, ...]] = []
    for name in experts:
        pair, source = of_file.get(name), "the file"
        if pair is None:
            pair, source = _from_costs(con, name), "costs and tokens"
            derived += [name] if pair else []
        if pair is None and (price := cheapest_price(name)) is not None:
            pair, source = (price.usd_per_m_input, price.usd_per_m_output), price.source
            listed.append(name)
        if pair is not None:
            rows.append((name, name, None, False, *pair, f"price: {source}"))
    if rows:
        con.executemany("INSERT INTO experts VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    if derived:
        found.remarks.append(f"prices per token follow from the recorded costs: {', '.join(derived)}")
    if listed:
        found.remarks.append(f"prices are list prices of today: {', '.join(listed)}")
    return {row[0] for row in rows}


def _from_costs(con: duckdb.DuckDBPyConnection, expert: str) -> tuple[float, float] | None:
    """Return the prices that fit an expert's recorded costs best; tokens that are not recorded follow from the texts.

    Where no text of an answer is there either, both prices are the same.
    """
    from scipy.optimize import nnls

    rows = con.execute(
        "SELECT cost_usd, coalesce(prompt_tokens, strlen(prompt) * $per_byte), "
        "coalesce(completion_tokens, strlen(response) * $per_byte) FROM outcome "
        "WHERE expert = $expert AND cost_usd IS NOT NULL",
        {"expert": expert, "per_byte": TOKENS_PER_BYTE},
    ).fetchall()
    if not rows:
        return None
    cost, tokens_in, tokens_out = np.array(rows, np.float64).T  # what is not there is NaN
    known = np.isfinite(tokens_out)
    if known.any():
        usd, _ = nnls(np.stack([tokens_in[known], tokens_out[known]], axis=1), cost[known] * 1e6)
        return float(usd[0]), float(usd[1])
    usd = cost.sum() * 1e6 / max(tokens_in.sum(), 1)
    return float(usd), float(usd)
