"""CSV is read by its standard: no dialect and no type is guessed, and what cannot be read is said in one line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from leeroo.engine.errors import InputError
from leeroo.engine.tables import Layout, open_input


def _rows(path: Path, text: str | bytes, layout: Layout = Layout()) -> list[tuple[str | None, ...]]:  # noqa: B008
    """Return the header and the rows of a file with this text."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    table = open_input(path, layout=layout).read_all()
    return [tuple(table.column_names), *zip(*(column.to_pylist() for column in table.columns), strict=True)]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("q,n\nHow, then?,1\n".replace("How, then?", '"How, then?"'), [("q", "n"), ("How, then?", "1")]),
        ("q\nHow much is 3, or 4?\n", [("q",), ("How much is 3, or 4?",)]),
        ("q\nred|blue\n# green;black\n", [("q",), ("red|blue",), ("# green;black",)]),
        (",q\n0,first\n1,second\n", [("column0", "q"), ("0", "first"), ("1", "second")]),
        ("q,n\na,1\r\nb,2\n", [("q", "n"), ("a", "1"), ("b", "2")]),
        ('q,n\r\n"a\nb",1\r\nc,2\n', [("q", "n"), ("a\nb", "1"), ("c", "2")]),
        (
            "2001,yes\n1.10,007\ntrue,12345678901234567890123\n",
            [("2001", "yes"), ("1.10", "007"), ("true", "12345678901234567890123")],
        ),
        ('q,n\n"",1\n,2\nNULL,3\n', [("q", "n"), ("", "1"), (None, "2"), ("NULL", "3")]),
        ("\ufeffq,n\na,1", [("q", "n"), ("a", "1")]),
        ('q,n\n"he said ""so""",\\\n', [("q", "n"), ('he said "so"', "\\")]),
    ],
)
def test_values_are_texts_as_written(tmp_path: Path, text: str, rows: list[tuple[str | None, ...]]) -> None:
    """Every value passes as it is written; only an empty cell without quotes is NULL."""
    assert _rows(tmp_path / "t.csv", text) == rows


def test_a_quote_may_come_late(tmp_path: Path) -> None:
    """The first quoted value after 30,000 rows is read like the first."""
    rows = _rows(tmp_path / "t.csv", "q,n\n" + "plain,1\n" * 30_000 + '"a, ""b""\nc",2\n')
    assert len(rows) == 30_002
    assert rows[-1] == ('a, "b"\nc', "2")


def test_a_row_may_be_long(tmp_path: Path) -> None:
    """A row of several megabytes is a row."""
    assert _rows(tmp_path / "t.csv", f"q,n\n{'x' * 5_000_000},1\n")[1] == ("x" * 5_000_000, "1")


def test_the_dialect_can_be_named(tmp_path: Path) -> None:
    """Delimiter, header and encoding can be set; a tab is the delimiter of .tsv."""
    assert _rows(tmp_path / "t.csv", "q;n\na,b;1\n", Layout(delimiter=";")) == [("q", "n"), ("a,b", "1")]
    assert _rows(tmp_path / "t.csv", "a,1\n", Layout(header=False)) == [("column0", "column1"), ("a", "1")]
    assert _rows(tmp_path / "t.tsv", "q\tn\na,b\t1\n") == [("q", "n"), ("a,b", "1")]
    assert _rows(tmp_path / "t.csv", "q,n\nGröße,1\n".encode("latin-1"), Layout(encoding="latin-1"))[1] == (
        "Größe",
        "1",
    )
    assert _rows(tmp_path / "t.csv", "q,n\nGröße,1\n".encode("utf-16"))[1] == ("Größe", "1")


def test_packed_files_are_read(tmp_path: Path) -> None:
    """A file may be gzipped, its row ends mixed."""
    assert _rows(tmp_path / "t.csv.gz", gzip.compress(b"q,n\na,1\r\nb,2\n")) == [("q", "n"), ("a", "1"), ("b", "2")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"q,n\na,1,2\n", "line 2: it has 3 values, the first line has 2"),
        (b"q,n\na\n", "line 2: it has 1 values, the first line has 2"),
        (b'q,n\na,1\n"b,2\n', "line 3: a quoted value does not end"),
        ("q,n\nGröße,1\n".encode("latin-1"), "not UTF-8; name .* --encoding"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(tmp_path: Path, text: bytes, says: str) -> None:
    """The error is one line with the number of the line."""
    with pytest.raises(InputError, match=says) as error:
        _rows(tmp_path / "t.csv", text)
    assert "\n" not in str(error.value)


def test_an_encoding_that_is_none_is_named(tmp_path: Path) -> None:
    """A wrong name of an encoding, or the wrong encoding, is an error that says which."""
    with pytest.raises(InputError, match="no encoding 'klingon'"):
        _rows(tmp_path / "t.csv", "q\na\n", Layout(encoding="klingon"))
    with pytest.raises(InputError, match="not text in ascii"):
        _rows(tmp_path / "t.csv", "q\nä\n", Layout(encoding="ascii"))


def test_columns_of_several_files_are_united(tmp_path: Path) -> None:
    """Files may have other columns in another order; what a file lacks is NULL, and no value changes."""
    (tmp_path / "1.csv").write_text("q,n\na,1\n")
    (tmp_path / "2.csv").write_text("n,x,q\n2.5,y,b\n")
    assert open_input(str(tmp_path / "*.csv")).read_all().to_pylist() == [
        {"q": "a", "n": "1", "x": None},
        {"q": "b", "n": "2.5", "x": "y"},
    ]
