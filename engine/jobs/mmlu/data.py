"""MMLU's questions as a table for the engine: from the benchmark's own files, or from a data folder.

The prompt has the format of Hendrycks et al., "Measuring Massive Multitask Language Understanding" (2021), as lm-eval
writes it: a line that names the subject, solved questions of its dev split, and the question, up to "Answer:". Knows
nothing of experts and scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.batch.prompts import build_asks, first_line
from leeroo.engine.errors import InputError, UsageError

HUB = "hf://datasets/cais/mmlu"

# Hendrycks' four categories.
CATEGORIES = {
    "STEM": (
        "abstract_algebra astronomy college_biology college_chemistry college_computer_science "
        "college_mathematics college_physics computer_security conceptual_physics electrical_engineering "
        "elementary_mathematics high_school_biology high_school_chemistry high_school_computer_science "
        "high_school_mathematics high_school_physics high_school_statistics machine_learning"
    ),
    "humanities": (
        "formal_logic high_school_european_history high_school_us_history high_school_world_history "
        "international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory "
        "professional_law world_religions"
    ),
    "social sciences": (
        "econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics "
        "high_school_microeconomics high_school_psychology human_sexuality professional_psychology public_relations "
        "security_studies sociology us_foreign_policy"
    ),
    "other": (
        "anatomy business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing "
        "medical_genetics miscellaneous nutrition professional_accounting professional_medicine virology"
    ),
}

# Each kind of source becomes the table `questions`: number, query_id, subject, category, question, choices, gold.
_SPACE = r"[\s\p{Z}\p{Cc}]+"  # as Python's strip takes it
_OWN_FILES = """
CREATE TABLE {name} AS
SELECT row_number() OVER () AS number, subject || '-' || row_number() OVER (PARTITION BY subject) AS query_id, subject,
       {category} AS category, regexp_replace(question, '^{space}|{space}$', '', 'g')
       || list_reduce(list_transform(range(len(choices)),
           lambda i: chr(10) || chr(65 + i::INTEGER) || '. ' || choices[i + 1]), lambda a, b: a || b, '') AS question,
       choices, {gold} AS gold
FROM read_parquet('{path}', file_row_number = true) ORDER BY file_row_number
"""
_DATA_FOLDER = """
CREATE TABLE questions AS
SELECT row_number() OVER () AS number, query_id, subject, category, prompt AS question, choices, answer AS gold
FROM read_parquet('{path}') WHERE split = 'test' AND len(choices) > 1
"""

# The first question that cannot be scored, with the wrong column.
_WRONG = """
SELECT number, choices, gold, CASE
       WHEN coalesce(len(list_filter(choices, lambda each: each IS NOT NULL)), 0) < greatest(2, len(choices))
       THEN 'choices'
       WHEN gold IS NULL OR length(gold) != 1 OR ord(gold) - ord('A') NOT BETWEEN 0 AND len(choices) - 1 THEN 'answer'
       END AS wrong
FROM {table} WHERE wrong IS NOT NULL ORDER BY number LIMIT 1
"""
_PROMPTS = """
SELECT q.query_id, q.subject, q.category, q.question, q.choices, q.gold,
       concat('The following are multiple choice questions (with answers) about ', replace(q.subject, '_', ' '), '.',
              chr(10), chr(10), s.solved, q.question, chr(10), 'Answer:') AS prompt
FROM questions q LEFT JOIN (
    SELECT subject, string_agg(question || chr(10) || 'Answer: ' || gold || chr(10) || chr(10), '' ORDER BY number)
           AS solved
    FROM (FROM solved QUALIFY row_number() OVER (PARTITION BY subject ORDER BY number) <= $shots) GROUP BY subject
) s USING (subject)
"""
# Subjects take turns, so that a part of the benchmark is like the whole.
_CHOSEN = """
SELECT * EXCLUDE (turn) FROM (
    SELECT *, row_number() OVER (PARTITION BY subject ORDER BY md5(question), number) AS turn FROM questions
) ORDER BY turn, subject LIMIT {limit}
"""


def read_questions(data: str = HUB, subjects: Sequence[str] = (), shots: int = 5, limit: int | None = None) -> pa.Table:
    """Return the test questions with their prompts.

    Args:
        data: A folder with `test.parquet` and `dev.parquet` (subject, question, choices, answer as a letter or a
            number from 0), or with those of the hub's `cais/mmlu`; or a data folder with `queries.parquet`, whose
            test split is taken. A folder of the hub begins with ``hf://``.
        subjects: Only these; all by default.
        shots: Solved questions before each; a data folder has none.
        limit: Most questions, evenly from all subjects.

    Returns:
        query_id, subject, category, question (with its choices below it), choices (list of text), gold (a letter),
        prompt; in the order of the files.

    Raises:
        InputError: there are no such files, or they lack what is needed.
        UsageError: an unknown subject, or more shots than there are solved questions.

    """
    con = duckdb.connect()
    try:
        _load(con, data)
        _keep(con, subjects)
        if limit is not None:
            con.execute(f"CREATE OR REPLACE TABLE questions AS {_CHOSEN.format(limit=int(limit))}")
        _check_shots(con, data, shots)
        return con.sql(f"{_PROMPTS} ORDER BY q.number", params={"shots": shots}).to_arrow_table()
    except duckdb.Error as error:
        raise InputError(f"{data}: {first_line(error)}") from error
    finally:
        con.close()


def _load(con: duckdb.DuckDBPyConnection, data: str) -> None:
    """Make the tables `questions` and `solved`."""
    pairs = [(subject, category) for category, names in CATEGORIES.items() for subject in names.split()]
    known = pa.table(dict(zip(("subject", "category"), zip(*pairs, strict=True), strict=True)))
    con.register("categories", known)
    folder = Path(data)
    if (folder / "queries.parquet").is_file():
        _columns(con, _quote(folder / "queries.parquet"), "query_id", "subject", "category", "prompt")
        con.execute(_DATA_FOLDER.format(path=_quote(folder / "queries.parquet")))
        con.execute("CREATE TABLE solved AS FROM questions LIMIT 0")
        if not (folder / "outcomes.parquet").is_file():  # recorded outcomes have scores of their own
            _check(con, "questions", data)
        return
    if data.startswith("hf://"):
        places = [f"{data}/all"]
    else:
        places = [str(place) for place in (folder, folder / "all") if next(place.glob("test*.parquet"), None)]
    if not places:
        raise InputError(
            f"{data} has no questions: it should hold test.parquet and dev.parquet of MMLU, or queries.parquet; "
            f"without --data they come from {HUB}"
        )
    for name, split in (("questions", "test"), ("solved", "dev")):
        path = _quote(f"{places[0]}/{split}*.parquet")
        columns = _columns(con, path, "subject", "question")
        gold = "answer" if columns["answer"] == "VARCHAR" else "chr(65 + answer::INTEGER)"
        own = "category" if "category" in columns else "(SELECT any_value(c.category) FROM categories c "
        own += "" if "category" in columns else "WHERE c.subject = read_parquet.subject)"
        con.execute(_OWN_FILES.format(space=_SPACE, name=name, path=path, gold=gold, category=own))
        _check(con, name, path, numbers=columns["answer"] != "VARCHAR")


def _columns(con: duckdb.DuckDBPyConnection, path: str, *needed: str) -> dict[str, str]:
    """Return the types of a file's columns; it must have these, and lists of choices with their answers."""
    columns = {column: str(kind) for column, kind, *_ in con.execute(f"DESCRIBE FROM '{path}'").fetchall()}
    for column in (*needed, "choices", "answer"):
        if column not in columns:
            raise InputError(f"{path} has no column {column!r}; its columns are: {', '.join(columns)}")
    if columns["choices"] != "VARCHAR[]":
        raise InputError(f"{path}: the column 'choices' is {columns['choices']}: make it a list of texts for each row")
    return columns


def _check(con: duckdb.DuckDBPyConnection, table: str, path: str, *, numbers: bool = False) -> None:
    """Refuse questions that cannot be scored."""
    found = con.execute(_WRONG.format(table=table)).fetchone()
    if found is None:
        return
    number, choices, gold, wrong = found
    if wrong == "choices":
        raise InputError(f"{path}: the column 'choices' of row {number} is {choices!r}: give at least two texts")
    letters = f"a letter from A to {chr(64 + len(choices))}, or a number from 0 to {len(choices) - 1}"
    shown = ord(gold) - ord("A") if numbers and gold else gold
    raise InputError(f"{path}: the column 'answer' of row {number} is {shown!r}, which names no choice: give {letters}")


def _keep(con: duckdb.DuckDBPyConnection, subjects: Sequence[str]) -> None:
    there = [name for (name,) in con.execute("SELECT DISTINCT subject FROM questions ORDER BY subject").fetchall()]
    unknown = [name for name in subjects if name not in there]
    if unknown:
        raise UsageError(f"there is no subject {unknown[0]!r}; there are: {', '.join(there)}")
    if subjects:
        con.execute("DELETE FROM questions WHERE subject NOT IN (SELECT unnest(?))", [list(subjects)])


def _check_shots(con: duckdb.DuckDBPyConnection, data: str, shots: int) -> None:
    counts = con.execute(
        "SELECT q.subject, count(DISTINCT s.number) FROM (SELECT DISTINCT subject FROM questions) q"
        " LEFT JOIN solved s USING (subject) GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    if not any(count for _, count in counts):
        return  # a data folder: its outcomes were recorded with whatever shots they were
    few = [(subject, count) for subject, count in counts if count < shots]
    if few:
        subject, count = few[0]
        raise UsageError(f"{data} has {count} solved questions of {subject}, and {shots} were asked for with --shots")


def _quote(path: str | Path) -> str:
    return str(path).replace("'", "''")


def with_requests(questions: pa.Table, *, raw: bool, choose: bool) -> pa.Table:
    """Return the table with the column `ask` in place of `prompt`: the arguments of each row.

    Args:
        questions: From `read_questions`.
        raw: The prompt is text to be continued; otherwise it is a turn in a chat.
        choose: The answer is one of the letters of its choices.

    """
    n = len(questions)
    given = {"prompt": questions.column("prompt").combine_chunks(), "raw": pa.array([raw] * n)}
    if choose:
        counts = pc.list_value_length(questions.column("choices")).to_pylist()
        given["choices"] = pa.array([[chr(65 + i) for i in range(count)] for count in counts], pa.list_(pa.string()))
    return questions.drop_columns(["prompt"]).append_column("ask", build_asks(n, given))
