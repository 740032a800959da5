"""An input is what its name says: the file itself, a pattern, a folder, a stream or a URL."""

from __future__ import annotations

import io
import os
import subprocess
import threading
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.errors import InputError
from leeroo.engine.tables import Layout, open_input
from leeroo.engine.tables.values import as_text


def _questions(source: str | Path, layout: Layout = Layout()) -> list[str]:  # noqa: B008
    texts: list[str] = open_input(source, layout=layout).read_all().column("question").to_pylist()
    return texts


@pytest.mark.parametrize("name", ["data[1].csv", "a*b.csv", "what?.csv", "~tilde.csv", "it's.csv", "ü {x}.csv"])
def test_the_file_that_is_named_is_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of that name is no pattern, even when the pattern would match others."""
    for other in ("data1.csv", "aab.csv", "whatx.csv"):
        (tmp_path / other).write_text("question\nwrong\n")
    (tmp_path / name).write_text("question\nright\n")
    monkeypatch.chdir(tmp_path)
    assert _questions(name) == ["right"]
    assert _questions(f"file://{tmp_path}/{name}") == ["right"]


def test_files_of_a_pattern_may_have_marks_in_their_names(tmp_path: Path) -> None:
    """A pattern reads each file that it matches once."""
    for name, text in (("p1.csv", "one"), ("p[1].csv", "two")):
        (tmp_path / name).write_text(f"question\n{text}\n")
    assert sorted(_questions(str(tmp_path / "*.csv"))) == ["one", "two"]


@pytest.mark.parametrize("text", ["question,n\na,1\n", '{"question": "a", "n": 1}\n', '[{"question": "a"}]', "parquet"])
@pytest.mark.parametrize("way", ["-", "pipe"])
def test_a_stream_is_read_by_its_content(tmp_path: Path, text: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input and pipes hold CSV, JSON or Parquet."""
    content = text.encode()
    if text == "parquet":
        pq.write_table(pa.table({"question": ["a"]}), tmp_path / "t.parquet")
        content = (tmp_path / "t.parquet").read_bytes()
    if way == "-":
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert _questions("-") == ["a"]
        return
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(content))
    writer.start()
    assert _questions(pipe) == ["a"]
    writer.join(10)


def test_an_option_decides_the_format_of_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--format has precedence over the content."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"question\tn\na,b\t1\n")))
    assert _questions("-", Layout(kind="tsv")) == ["a,b"]


def test_packed_lines_are_read(tmp_path: Path) -> None:
    """JSON lines packed with zstd are read, even with half a character in them."""
    (tmp_path / "t.jsonl").write_text('{"question": "a \\ud83d"}\n')
    subprocess.run(["zstd", "-q", str(tmp_path / "t.jsonl")], check=True)
    assert _questions(tmp_path / "t.jsonl.zst") == ["a \ufffd"]


def test_columns_of_parquet_files_are_united(tmp_path: Path) -> None:
    """Files may have other columns and wider types, and nothing is dropped or rounded."""
    pq.write_table(pa.table({"question": ["a"], "n": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"x": ["y"], "n": [2.5], "question": ["b"]}), tmp_path / "2.parquet")
    assert open_input(str(tmp_path / "*.parquet")).read_all().to_pylist() == [
        {"question": "a", "n": 1.0, "x": None},
        {"question": "b", "n": 2.5, "x": "y"},
    ]


def test_columns_whose_names_differ_by_case_are_several(tmp_path: Path) -> None:
    """Each value stays in the column of its name, in whatever order a file has them."""
    pq.write_table(pa.table({"ID": ["a"], "id": ["b"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"id": ["c"], "ID": ["d"], "x": ["e"]}), tmp_path / "2.parquet")
    assert open_input(str(tmp_path / "*.parquet")).read_all().to_pylist() == [
        {"ID": "a", "id": "b", "x": None},
        {"ID": "d", "id": "c", "x": "e"},
    ]


def test_json_in_parquet_is_asked_as_text(tmp_path: Path) -> None:
    """A text in a column of the type JSON has no quotes."""
    duckdb.execute(f"COPY (SELECT '\"What?\"'::JSON AS question) TO '{tmp_path}/t.parquet'")
    assert as_text(open_input(tmp_path / "t.parquet").read_all().column("question")).to_pylist() == ["What?"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x" * 400, "there is no file x"),
        ("no-*.csv", "no file matches"),
        ("t.xlsx", "cannot tell what kind .*--format"),
        ("mixed", "several kinds"),
        ("https://127.0.0.1:9/t.csv", "needs DuckDB's extension httpfs|cannot be read as CSV"),
        ("s3://nowhere/t.parquet", "needs DuckDB's extension httpfs|cannot be read as Parquet"),
    ],
)
def test_a_missing_file_is_one_line(tmp_path: Path, name: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fault of a name is one line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.xlsx").touch()
    (tmp_path / "mixed").mkdir()
    for suffix in ("csv", "jsonl"):
        (tmp_path / "mixed" / f"t.{suffix}").touch()
    with pytest.raises(InputError, match=says) as error:
        open_input(name)
    assert "\n" not in str(error.value)
