"""Tables in and out: files of every kind, frames of every kind, and nothing half written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import leeroo
from leeroo.engine.errors import InputError, OutputError
from leeroo.engine.tables import check_output, from_frame, like_frame, open_input, write_table

ROWS = pa.table({"id": [1, 2, 3], "question": ["a", "b, c", None]})


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv", "jsonl", "json"])
def test_every_kind_of_file_is_read(tmp_path: Path, suffix: str) -> None:
    """Parquet, CSV, TSV, JSONL and JSON give the same rows in their order."""
    path = tmp_path / f"t.{suffix}"
    how = {
        "parquet": "FORMAT parquet",
        "csv": "FORMAT csv, HEADER",
        "tsv": "FORMAT csv, HEADER, DELIMITER '\t'",
        "jsonl": "FORMAT json",
        "json": "FORMAT json, ARRAY true",
    }[suffix]
    con = duckdb.connect()
    con.register("rows", ROWS)
    con.execute(f"COPY rows TO '{path}' ({how})")
    read = open_input(path).read_all()
    assert read.column("question").to_pylist() == ["a", "b, c", None]
    assert open_input(path, limit=2).read_all().num_rows == 2


def test_a_pattern_reads_all_its_files(tmp_path: Path) -> None:
    """A glob is read as one table, file after file."""
    for i in range(3):
        pq.write_table(pa.table({"question": [f"q{i}"]}), tmp_path / f"part-{i}.parquet")
    read = open_input(str(tmp_path / "part-*.parquet")).read_all()
    assert read.column("question").to_pylist() == ["q0", "q1", "q2"]


def test_a_folder_reads_all_its_files(tmp_path: Path) -> None:
    """A folder is read as one table with its subfolders and the values in their names; an empty one is named."""
    for year in ("2023", "01"):
        (tmp_path / f"year={year}").mkdir()
        pq.write_table(pa.table({"question": [year]}), tmp_path / f"year={year}" / "t.parquet")
    (tmp_path / "_SUCCESS").touch()
    rows = open_input(tmp_path).read_all()
    assert rows.select(["question", "year"]).to_pylist() == [
        {"question": "01", "year": "01"},
        {"question": "2023", "year": "2023"},
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="the folder .*empty holds no files"):
        open_input(tmp_path / "empty")


@pytest.mark.parametrize("name", ["o.parquet", "o.csv", "o.jsonl"])
def test_every_kind_of_file_is_written(tmp_path: Path, name: str) -> None:
    """A written file reads back the same, and nothing else is left in the folder."""
    assert write_table(ROWS.to_reader(), tmp_path / name) == 3
    assert open_input(tmp_path / name).read_all().column("question").to_pylist() == ["a", "b, c", None]
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_folder_of_parts_is_written(tmp_path: Path) -> None:
    """Without a suffix the table is a folder of Parquet parts, which replaces the one there was."""
    for _ in range(2):
        assert write_table(ROWS.to_reader(), tmp_path / "out") == 3
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["part-00000.parquet"]
    assert pq.read_table(tmp_path / "out").num_rows == 3


def test_a_write_that_fails_leaves_the_old_table(tmp_path: Path) -> None:
    """The old table stays until the new one is whole, and the half of a new one is removed."""
    out = tmp_path / "o.parquet"
    write_table(ROWS.to_reader(), out)

    def breaking() -> Iterator[pa.RecordBatch]:
        yield from ROWS.to_batches()
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="cannot write .*No space left on device"):
        write_table(pa.RecordBatchReader.from_batches(ROWS.schema, breaking()), out)
    assert pq.read_table(out).equals(ROWS)
    assert [p.name for p in tmp_path.iterdir()] == ["o.parquet"]


def test_leftovers_of_killed_writers_are_removed(tmp_path: Path) -> None:
    """The half table of a process that has ended is removed by the next write; one of a living process stays."""
    (tmp_path / ".o.parquet.999999999.part").touch()
    (tmp_path / ".o.parquet.1.part").touch()
    write_table(ROWS.to_reader(), tmp_path / "o.parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".o.parquet.1.part", "o.parquet"]


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    """A missing folder, or a folder or file in the way, is refused before anything is spent."""
    (tmp_path / "file").touch()
    (tmp_path / "dir.parquet").mkdir()
    for out, says in (("no/o.parquet", "does not exist"), ("dir.parquet", "is a folder"), ("file", "is a file")):
        with pytest.raises(OutputError, match=says):
            check_output(tmp_path / out)
    check_output(tmp_path / "fine.parquet")


def test_frames_of_every_kind_are_answered_in_kind(pool_file: Path, tmp_path: Path) -> None:
    """Polars, pandas, Arrow and DuckDB relations go in and come out, columns and order kept."""
    asked = pa.table({"n": [3, 1], "question": ["What is 3 plus 3?", "What is 1 plus 1?"]})
    expected = ["large says 6", "large says 2"]
    options: dict[str, Any] = {"pool": pool_file, "store": tmp_path / "store"}
    polars = leeroo.answer(pl.from_arrow(asked), **options)
    assert isinstance(polars, pl.DataFrame)
    assert polars["answer"].to_list() == expected
    frame = asked.to_pandas().set_index(pd.Index(["x", "y"]))
    pandas = leeroo.answer(frame, **options)
    assert isinstance(pandas, pd.DataFrame)
    assert pandas["answer"].to_dict() == {"x": expected[0], "y": expected[1]}
    arrow = leeroo.answer(asked, **options)
    assert isinstance(arrow, pa.Table)
    assert arrow.column("n").to_pylist() == [3, 1]
    relation = leeroo.answer(duckdb.connect().sql("SELECT 'What is 3 plus 3?' AS question"), **options)
    assert isinstance(relation, duckdb.DuckDBPyRelation)
    assert relation.project("answer").fetchall() == [(expected[0],)]


def test_a_relation_that_cannot_be_read_is_one_line() -> None:
    """An error of DuckDB's is one line."""
    con = duckdb.connect()
    con.execute("CREATE TABLE t AS SELECT 'a' AS question")
    gone = con.sql("FROM t")
    con.execute("DROP TABLE t")
    with pytest.raises(InputError, match="^the relation cannot be read: .* t does not exist!$"):
        from_frame(gone)


def test_half_characters_in_a_frame_harm_no_other_row(pool_file: Path, tmp_path: Path) -> None:
    """A Python string that is no text is sent with U+FFFD; the frame keeps it, and the other rows are answered."""
    frame = pd.DataFrame({"question": ["half \ud83d", "What is 1 plus 1?"]}, dtype="object")
    out = leeroo.answer(frame, pool=pool_file, store=tmp_path / "store")
    assert out["question"].tolist() == frame["question"].tolist()
    assert out["answer"].tolist()[1] == "large says 2"


def test_a_list_is_no_frame() -> None:
    """A list is refused, because it has no columns."""
    with pytest.raises(InputError, match="cannot read rows from list"):
        from_frame(["a"])
    assert like_frame(ROWS.to_reader(), ROWS).equals(ROWS)
