"""Turn a file of outcomes, in whatever form people have them, into a data folder that `read` reads.

All rows of all files go into one table of text, `staged`. What is wrong with them is found there, so that each form
says only where its values stand. Knows nothing of routers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from leeroo.engine.errors import InputError, UsageError
from leeroo.engine.orchestrator.outcomes import harness, preferences
from leeroo.engine.orchestrator.outcomes.columns import guess
from leeroo.engine.orchestrator.outcomes.forms import FORMS, KNOWN, Form, recognise, select, select_preferences
from leeroo.engine.orchestrator.outcomes.staged import (
    NOTHING,
    NUMBERS,
    TEXTS,
    FileOutcomes,
    Grade,
    create,
    finish,
    points_of,
    read_first,
    word,
)
from leeroo.engine.tables import input_paths, open_input
from leeroo.engine.tables.inputs import is_url
from leeroo.engine.tables.values import is_json, quote

_SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".gz", ".zst")
_MARKS = "*?["


def is_data_folder(source: str) -> bool:
    """Return whether a source is to be read as a data folder: it holds one, or it is nothing that could be a file."""
    place = Path(source)
    if place.is_dir():
        return any((place / f"{name}.parquet").exists() for name in ("queries", "outcomes")) or not _paths(source)
    named = source.lower().endswith(_SUFFIXES) or any(mark in source for mark in _MARKS) or is_url(source)
    return not (place.exists() or named or source == "-")


def convert(
    source: str, folder: Path, mapped: Mapping[str, str], grade: Grade, rows: pa.RecordBatchReader | None = None
) -> FileOutcomes:
    """Write the outcomes of a file, a pattern or a folder of results as a data folder.

    Args:
        source: Parquet, CSV or JSON, as `open_input` takes it, or results of an evaluation program.
        folder: The new data folder.
        mapped: Our names of columns by their own, as by `read_map`.
        grade: Scores answers where only right ones are recorded.
        rows: A table in memory that is called so, in place of a file.

    Raises:
        InputError: nothing is there, it is of no known form, or a value cannot be read.
        UsageError: it is of no known form, and a mapped column is not there.
    """
    found = FileOutcomes(source)
    try:
        with duckdb.connect() as con:
            create(con)
            for path in [source] if rows is not None else _paths(source) or [source]:
                _stage(con, path, mapped, found, rows)
            finish(con, folder, found, grade)
    except duckdb.Error as error:
        raise InputError(f"{source} cannot be read as outcomes: {str(error).splitlines()[0]}") from error
    return found


def check_map(mapped: Mapping[str, str], files: Sequence[FileOutcomes]) -> None:
    """Check that each mapped column is in one of the files.

    Raises:
        UsageError: one is in none.
    """
    names = {name for found in files for name in found.names}
    for theirs in mapped:
        if theirs not in names:
            raise UsageError(_unmapped(theirs, mapped, ", ".join(found.source for found in files), sorted(names)))


def _unmapped(theirs: str, mapped: Mapping[str, str], source: str, names: Sequence[str]) -> str:
    return f"map= {theirs}={mapped[theirs]}: {source} has no column {theirs!r}; it has {_listed(names)}"


def describe(found: FileOutcomes) -> str:
    """Return one line that says what was recognised in a file."""
    forms = " and ".join(FORMS[kind] for kind in found.forms)
    several = f" in {found.files:,} files" if found.files > 1 else ""
    shown = [f"{ours} = {theirs!r}" for ours, theirs in found.columns.items()]
    scores = f"scores are {found.scores}"
    tokens = any(each.with_tokens for each in found.experts)
    cost = any(each.with_cost for each in found.experts)
    lacks = [name for name, there in (("no cost", cost), ("no tokens", tokens)) if not there]
    left = sum(each.rows for each in found.left_out)
    lacks += [f"{_count(left, 'row')} left out"] if left else []
    lacks += [] if found.has_splits else ["no splits: all questions are for training"]
    counts = f"{_count(found.questions, 'question')}, {_count(len(found.experts), 'expert')}"
    return "; ".join([f"{found.source}: {', '.join([forms + several, *shown, scores])}", ", ".join([counts, *lacks])])


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _paths(source: str) -> list[str]:
    """Return the files of a source: in a folder those of an evaluation program, or else all tables."""
    if source == "-" or is_url(source):
        return [source]
    paths = [path for path in input_paths(source) if Path(path).is_file()]
    if len(paths) < 2 and not Path(source).is_dir():
        return paths
    samples = [path for path in paths if Path(path).name.startswith("samples_") and ".jsonl" in Path(path).name]
    for name in harness.HELM_FILES[:2]:
        runs = [path for path in paths if Path(path).name == name]
        if runs:
            return runs
    return samples or [path for path in paths if path.lower().endswith(_SUFFIXES)]


def _stage(
    con: duckdb.DuckDBPyConnection,
    path: str,
    mapped: Mapping[str, str],
    found: FileOutcomes,
    rows: pa.RecordBatchReader | None,
) -> None:
    """Stage the rows of one file, or of a table that is called so."""
    found.files += 1
    if rows is None and not is_url(path) and harness.is_helm(Path(path)):
        _insert(con, path, harness.read_helm(Path(path), _metric(mapped)))
        found.names |= set(mapped)  # names of metrics
        _note(found, Form("helm"))
        return
    columns = _read(con, path, open_input(path) if rows is None else rows)
    found.names |= set(columns)
    form = recognise(columns, _score_like(con, columns), mapped)
    if form is None:
        for theirs in mapped:
            if theirs not in columns:
                raise UsageError(_unmapped(theirs, mapped, path, columns))
        raise InputError(_unknown(path, columns, mapped))
    if form.kind in ("lm-eval", "zeroeval"):
        _insert(con, path, _of_harness(con, form, path, mapped, found))
    elif form.kind == "preferences":
        _stage_preferences(con, form, path, columns)
    else:
        con.execute(f"INSERT INTO staged BY NAME ({select(form, path)})")
    con.execute("UPDATE staged SET graded = $graded WHERE graded IS NULL", {"graded": form.graded})
    _note(found, form)


def _of_harness(
    con: duckdb.DuckDBPyConnection, form: Form, path: str, mapped: Mapping[str, str], found: FileOutcomes
) -> list[harness.Row]:
    """Return the rows of a log or a result of an evaluation program, mapped columns as they stand there."""
    rows = con.sql("SELECT * EXCLUDE (leeroo_row) FROM source ORDER BY leeroo_row").to_arrow_table().to_pylist()
    if form.kind == "lm-eval":
        taken, remarks = harness.read_lm_eval(path, rows, _metric(mapped))
        found.remarks += [remark for remark in remarks if remark not in found.remarks]
    else:
        taken = harness.read_zero_eval(rows)
    for row in taken:
        there = rows[row["row"] - 1]
        row.update({ours: there[theirs] for theirs, ours in mapped.items() if theirs in there})
    return taken


def _metric(mapped: Mapping[str, str]) -> str | None:
    return next((theirs for theirs, ours in mapped.items() if ours == "score"), None)


def _note(found: FileOutcomes, form: Form) -> None:
    if form.kind not in found.forms:
        found.forms.append(form.kind)
    if form.kind in ("long", "run", "wide", "routerbench", "preferences"):
        shown = {ours: theirs for ours, theirs in form.columns.items() if ours != "failure"}
        found.columns = found.columns or shown
        found.has_splits = found.has_splits or "split" in form.columns
    if form.kind == "preferences":
        found.scores = "shares of wins from preferences (Bradley-Terry)"


def _read(con: duckdb.DuckDBPyConnection, path: str, rows: pa.RecordBatchReader) -> list[str]:
    """Read rows into the table `source`, all values as text, with the number of each row; return the columns."""
    table = rows.read_all()
    names = table.column_names
    if not names:
        raise InputError(f"{path} has no rows")
    if len(set(map(str.casefold, names))) < len(names):
        raise InputError(f"{path}: two of its columns have the same name: {_listed(names)}; rename one")
    values = ", ".join(f"{_as_text(each)} AS {quote(each.name)}" for each in table.schema)
    con.register("opened", table)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE source AS SELECT {values}, row_number() OVER () AS leeroo_row FROM opened"
    )
    con.unregister("opened")
    return list(map(str, names))


def _as_text(each: pa.Field) -> str:
    if is_json(each.type):
        return f"({quote(each.name)}->>'$')"
    if pa.types.is_nested(each.type):
        return f"to_json({quote(each.name)})::VARCHAR"
    return f"{quote(each.name)}::VARCHAR"


def _score_like(con: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> list[str]:
    """Return the columns whose values, where there are any, are scores in [0, 1]."""
    if not columns:
        return []
    checks = ", ".join(
        f"bool_and(coalesce({points_of(name)} BETWEEN 0 AND 1, false)) "
        f"FILTER ({name} IS NOT NULL AND {word(name)} NOT IN {NOTHING})"
        for name in map(quote, columns)
    )
    [found] = con.sql(f"SELECT {checks} FROM source").fetchall()
    return [name for name, scores in zip(columns, found, strict=True) if scores]


def _listed(columns: Sequence[str]) -> str:
    """Return names of columns on one line."""
    return ", ".join(" ".join(name.split()) for name in columns) or "none"


def _unknown(path: str, columns: Sequence[str], mapped: Mapping[str, str]) -> str:
    """Return the line about a file of no known form."""
    found = guess(columns, mapped)
    there = f"its columns are {_listed(columns)}"
    if "query_id" in columns and (Path(path).parent / "queries.parquet").is_file():
        return f"{path} is a part of a data folder: name the folder {Path(path).parent}"
    if "question" in found and "expert" in found:
        return (
            f"{path} has no column of scores, nor one of right answers beside answers; {there}: name it with map= "
            "COLUMN=score or COLUMN=gold"
        )
    return f"{path} is of no known form; {there}; forms that are read: {KNOWN}; map= COLUMN=NAME names a column"


def _insert(con: duckdb.DuckDBPyConnection, path: str, rows: Iterable[harness.Row]) -> None:
    """Stage rows that were read in Python."""
    names = (*TEXTS, *NUMBERS)
    values = [
        {name: None if row.get(name) is None else str(row[name]) for name in names} | {"file": path, "row": row["row"]}
        for row in rows
    ]
    schema = pa.schema([*((name, pa.string()) for name in names), ("row", pa.int64())])
    con.register("taken", pa.Table.from_pylist(values, schema=schema))
    con.execute("INSERT INTO staged BY NAME (SELECT *, true AS graded FROM taken)")
    con.unregister("taken")


def _stage_preferences(con: duckdb.DuckDBPyConnection, form: Form, path: str, columns: Sequence[str]) -> None:
    """Stage the scores that follow from comparisons; one that cannot be counted is staged without a score.

    Raises:
        InputError: a winner is none.
    """
    con.execute(f"CREATE OR REPLACE TEMP TABLE compared AS {select_preferences(form, path, columns)}")
    wrong = read_first(
        con,
        f"SELECT row, winner FROM compared WHERE wins IS NULL AND {word('winner')} NOT IN {NOTHING} "
        "ORDER BY row LIMIT 1",
    )
    if wrong:
        raise InputError(
            f"{path}: row {wrong[0]}: the winner {wrong[1]!r} is none of model_a, model_b, tie and both_bad, and "
            "neither of the two models: write it as one of these"
        )
    con.register("scored", _scored(con))
    con.execute(f"INSERT INTO staged BY NAME ({_SCORED})")
    con.execute(f"INSERT INTO staged BY NAME (SELECT {_SHARED}, row, model_a AS expert FROM uncounted)")
    con.unregister("scored")


def _scored(con: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the score of each expert on each question, by their numbers and names."""
    con.execute(_COUNTED)
    table = con.sql("FROM counted ORDER BY row").to_arrow_table()
    sides = [table[side].to_pylist() for side in ("model_a", "model_b")]
    names = sorted({name for side in sides for name in side})
    number = {name: i for i, name in enumerate(names)}
    first, second = (np.array([number[name] for name in side], np.int64) for side in sides)
    q, who, points = preferences.score_experts(
        table["q"].to_numpy(), first, second, table["wins"].to_numpy(), table["neither"].to_pylist(), len(names)
    )
    return pa.table({"q": q, "expert": pa.array([names[i] for i in who], pa.string()), "score": points})


_SHARED = "file, question, prompt, subject, category, dataset, split, field"
_COUNTED = """
CREATE OR REPLACE TEMP VIEW countable AS
    SELECT *, wins IS NOT NULL AND model_a <> model_b AND trim(question) <> '' AS counts FROM compared;
CREATE OR REPLACE TEMP TABLE counted AS
    SELECT *, dense_rank() OVER (ORDER BY question, prompt) - 1 AS q FROM countable WHERE counts;
CREATE OR REPLACE TEMP VIEW uncounted AS FROM countable WHERE counts IS NOT TRUE;
"""
_SCORED = f"""
SELECT {_SHARED}, row, expert, score::VARCHAR AS score
FROM scored JOIN (FROM counted QUALIFY row_number() OVER (PARTITION BY q ORDER BY row) = 1) USING (q)
"""
