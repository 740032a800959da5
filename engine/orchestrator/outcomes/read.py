"""Read the outcomes of experts on questions from data folders, and check them.

A data folder holds `queries.parquet` and `outcomes.parquet` with the columns of `schema.QUERIES` and
`schema.OUTCOMES`. An absent optional column counts as not recorded, and `latency_ms` may be there. Its
`experts.parquet` has the prices of tokens. Knows nothing of routers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from leeroo.engine.arrays import Float32s
from leeroo.engine.errors import RouterError

LEAST_QUESTIONS = 10


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of e experts on n distinct questions; arrays float32 [n, e], NaN where nothing is recorded.

    A question that stands in several folders, or several times, is here once, with the means of its outcomes.

    Attributes:
        questions, prompts: The bare question, and the text as shown to the experts (often the same).
        subjects, categories: The question's subject and category, as the folder names them; None where it does not.
        experts: Sorted by name.
        scores: In [0, 1].
        prompt_tokens: Tokens of the prompts.
        completion_tokens: Tokens of the answers.
        latency_ms: Time of the answers.
        cost_usd: Cost of the calls, where the folder records it; `costs` also gives those that follow from tokens.
    """

    questions: list[str]
    prompts: list[str]
    subjects: list[str | None]
    categories: list[str | None]
    experts: tuple[str, ...]
    scores: Float32s
    prompt_tokens: Float32s
    completion_tokens: Float32s
    latency_ms: Float32s
    cost_usd: Float32s

    @property
    def contexts(self) -> list[tuple[str | None, str | None]]:
        """Subject and category of each question."""
        return list(zip(self.subjects, self.categories, strict=True))

    def only(self, experts: Sequence[str]) -> Outcomes:
        """Keep these experts, and the questions on which at least one of them has an outcome."""
        columns = [self.experts.index(name) for name in experts]
        rows = np.flatnonzero(np.isfinite(self.scores[:, columns]).any(axis=1))
        kept: dict[str, Any] = {
            name: values[rows][:, columns] if isinstance(values, np.ndarray) else [values[row] for row in rows]
            for name, values in vars(self).items()
            if name != "experts"
        }
        return Outcomes(**kept, experts=tuple(experts))

    def costs(self, prices: Float32s) -> Float32s:
        """Return USD of every call [n, e]: recorded, or tokens times prices [2, e] in USD per million tokens."""
        by_tokens = (self.prompt_tokens * prices[0] + self.completion_tokens * prices[1]) / 1e6
        return np.where(np.isfinite(self.cost_usd), self.cost_usd, by_tokens).astype(np.float32)


def read_outcomes(folders: Sequence[Path], split: str = "train") -> Outcomes:
    """Read one split of data folders, together; with the split 'all' every row.

    Raises:
        RouterError: a folder, file or column is missing or wrong; an outcome is of an unknown query, has a score
            outside [0, 1] or is there twice; or there are fewer than ten questions with outcomes in the split.
    """
    if not folders:
        raise RouterError("no data folder was given: name one that holds queries.parquet and outcomes.parquet")
    with duckdb.connect() as con:
        for i, folder in enumerate(folders):
            _open(con, i, folder)
            _check(con, i, folder)
        con.execute(_JOINED.format(folders=_union(len(folders))), {"split": split})
        con.execute(_CELLS)
        [(found,)] = con.sql("SELECT count(DISTINCT item) FROM cells").fetchall()
        if found < LEAST_QUESTIONS:
            where = ", ".join(map(str, folders))
            raise RouterError(
                f"{where}: {found} questions with outcomes in the split {split!r}; "
                f"at least {LEAST_QUESTIONS} are needed"
            )
        return _collect(con)


def read_prices(folders: Sequence[Path], experts: Sequence[str]) -> Float32s:
    """Read list prices from `experts.parquet` of data folders, USD per million tokens, [2, e]: input, and output.

    A folder without that file names no prices. If several folders name an expert, the first one counts. Unknown prices
    are NaN.

    Raises:
        RouterError: a file is there but cannot be read, lacks a column, or has a price that is below 0 or no number.
    """
    prices = np.full((2, len(experts)), np.nan, np.float32)
    for folder in reversed(folders):
        file = folder / "experts.parquet"
        if not file.is_file():
            continue
        with _one_line(file), duckdb.connect() as con:
            listed = con.execute(_PRICES, {"file": str(file)}).fetchall()
        for name, *pair in listed:
            if name in experts and None not in pair:
                if not all(0 <= price < np.inf for price in pair):
                    raise RouterError(f"{file} gives {name!r} a price that is below 0, or no number")
                prices[:, experts.index(name)] = pair
    return prices


_PRICES = """
SELECT expert::VARCHAR, usd_per_m_input::DOUBLE, usd_per_m_output::DOUBLE FROM read_parquet($file)
"""

# Column, its type, and True if it must be there.
_COLUMNS: dict[str, list[tuple[str, str, bool]]] = {
    "queries": [
        ("query_id", "VARCHAR", True),
        ("split", "VARCHAR", True),
        ("question", "VARCHAR", True),
        ("prompt", "VARCHAR", False),
        ("subject", "VARCHAR", False),
        ("category", "VARCHAR", False),
    ],
    "outcomes": [
        ("query_id", "VARCHAR", True),
        ("expert", "VARCHAR", True),
        ("score", "DOUBLE", True),
        ("prompt_tokens", "DOUBLE", False),
        ("completion_tokens", "DOUBLE", False),
        ("latency_ms", "DOUBLE", False),
        ("cost_usd", "DOUBLE", False),
    ],
}

# Errors in the data: a query for the number of such rows and the first of them, and the message.
_WRONG = [
    ("SELECT count(*), min(coalesce(query_id, question)) FROM queries{i} WHERE query_id IS NULL OR question IS NULL",
     "{n} rows of {queries} have no query_id or no question ({first}): leave them out"),
    ("SELECT count(*), min(query_id) FROM (SELECT query_id FROM queries{i} GROUP BY ALL HAVING count(*) > 1)",
     "{n} query_ids occur more than once in {queries} ({first}): keep one row of each"),
    ("SELECT count(*), min(coalesce(query_id, expert)) FROM outcomes{i} WHERE query_id IS NULL OR expert IS NULL",
     "{n} rows of {outcomes} have no query_id or no expert ({first}): leave them out"),
    ("SELECT count(*), min(query_id) FROM outcomes{i} ANTI JOIN queries{i} USING (query_id)",
     "{n} outcomes in {outcomes} are of queries that are not in queries.parquet ({first}): add those, or leave the "
     "outcomes out"),
    ("SELECT count(*), arg_min(score || ' of ' || expert || ' on ' || query_id, query_id)"
     " FROM (SELECT * REPLACE (coalesce(score::VARCHAR, 'none') AS score) FROM outcomes{i}"
     " WHERE (score BETWEEN 0 AND 1) IS NOT TRUE)",
     "{n} scores in {outcomes} are not between 0 and 1 ({first}): scale them to that range, or leave them out"),
    ("SELECT count(*), min(query_id || ' and ' || expert)"
     " FROM (SELECT query_id, expert FROM outcomes{i} GROUP BY ALL HAVING count(*) > 1)",
     "{n} pairs of query and expert occur more than once in {outcomes} ({first}): keep one row of each"),
]  # fmt: skip

# Every outcome of the split with its question.
_JOINED = """
CREATE TABLE joined AS
    SELECT question, coalesce(prompt, question) AS prompt, subject, category, expert, score, prompt_tokens,
           completion_tokens, latency_ms, cost_usd
    FROM ({folders}) WHERE $split IN (split, 'all')
"""

# The same question in several folders becomes one item.
_CELLS = """
CREATE TABLE items AS
    SELECT row_number() OVER (ORDER BY question, prompt) - 1 AS item, question, prompt,
           min(subject) AS subject, min(category) AS category
    FROM joined GROUP BY question, prompt;
CREATE TABLE names AS
    SELECT row_number() OVER (ORDER BY expert) - 1 AS slot, expert FROM (SELECT DISTINCT expert FROM joined);
CREATE TABLE cells AS
    SELECT item, slot, avg(score) AS scores, coalesce(avg(prompt_tokens), 'nan') AS prompt_tokens,
           coalesce(avg(completion_tokens), 'nan') AS completion_tokens, coalesce(avg(latency_ms), 'nan') AS latency_ms,
           coalesce(avg(cost_usd), 'nan') AS cost_usd
    FROM joined JOIN items USING (question, prompt) JOIN names USING (expert) GROUP BY item, slot;
"""


def _open(con: duckdb.DuckDBPyConnection, i: int, folder: Path) -> None:
    """Make the tables `queries{i}` and `outcomes{i}` of a data folder."""
    if not folder.is_dir():
        raise RouterError(f"there is no data folder {folder}")
    for name, columns in _COLUMNS.items():
        file = folder / f"{name}.parquet"
        if not file.is_file():
            raise RouterError(f"the data folder {folder} has no {file.name}")
        with _one_line(file):
            there = con.read_parquet(str(file)).columns
            for column, _, needed in columns:
                if needed and column not in there:
                    raise RouterError(f"{file} has no column {column!r}; it has {', '.join(there)}")
            taken = ", ".join(
                f"CAST({column if column in there else 'NULL'} AS {kind}) AS {column}" for column, kind, _ in columns
            )
            con.execute(f"CREATE TABLE {name}{i} AS SELECT {taken} FROM read_parquet($file)", {"file": str(file)})


@contextlib.contextmanager
def _one_line(file: Path) -> Iterator[None]:
    """Turn errors while a file of a data folder is read into one line."""
    try:
        yield
    except duckdb.Error as error:
        reason = str(error).split("\n")[0]
        raise RouterError(f"{file} cannot be read as a data folder's {file.stem}: {reason}") from error
    except (RuntimeError, UnicodeDecodeError) as error:  # its message quotes the bytes, which are no text
        raise RouterError(f"{file} cannot be read as a data folder's {file.stem}: its text is not UTF-8") from error


def _check(con: duckdb.DuckDBPyConnection, i: int, folder: Path) -> None:
    files = {name: folder / f"{name}.parquet" for name in _COLUMNS}
    for query, message in _WRONG:
        [(found, first)] = con.sql(query.format(i=i)).fetchall()
        if found:
            raise RouterError(message.format(n=found, first=f"the first: {first}", **files))


def _union(folders: int) -> str:
    joins = (f"SELECT * FROM queries{i} JOIN outcomes{i} USING (query_id)" for i in range(folders))
    return " UNION ALL BY NAME ".join(joins)


def _collect(con: duckdb.DuckDBPyConnection) -> Outcomes:
    texts = con.sql("SELECT question, prompt, subject, category FROM items ORDER BY item").fetchall()
    experts = tuple(name for (name,) in con.sql("SELECT expert FROM names ORDER BY slot").fetchall())
    cells = con.sql("FROM cells").to_arrow_table()
    tables: dict[str, Float32s] = {}
    for name in ("scores", "prompt_tokens", "completion_tokens", "latency_ms", "cost_usd"):
        tables[name] = np.full((len(texts), len(experts)), np.nan, np.float32)
        tables[name][cells["item"].to_numpy(), cells["slot"].to_numpy()] = cells[name].to_numpy()
    questions, prompts, subjects, categories = map(list, zip(*texts, strict=True))
    return Outcomes(questions, prompts, subjects, categories, experts, **tables)
