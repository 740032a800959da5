"""An output replaces only what an earlier run wrote there; everything else stays, and is named before money is spent."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.errors import OutputError
from leeroo.engine.tables import check_output, open_input, write_table
from leeroo.engine.tables.outputs import Keep, check_file, write_file

ROWS = pa.table({"question": ["a", "b"]})
OTHER = pa.table({"question": ["c"]})


def _read(path: Path) -> list[str]:
    texts: list[str] = open_input(path).read_all().column("question").to_pylist()
    return texts


@pytest.mark.parametrize(
    "name", ["precious.txt", "other.parquet", "part-00000.parquet", "sub/part-00000.parquet", ".hidden"]
)
def test_a_folder_with_anything_else_in_it_is_refused(tmp_path: Path, name: str) -> None:
    """A file of the user's is named, also one that is called as a part of ours would be, and it stays."""
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    pq.write_table(OTHER, file)
    with pytest.raises(OutputError, match=f"holds {name.partition('/')[0]}.*another folder"):
        check_output(tmp_path / "out")
    with pytest.raises(OutputError, match="holds"):
        write_table(ROWS.to_reader(), tmp_path / "out")
    assert pq.read_table(file).equals(OTHER)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name.partition("/")[0]]


def test_parts_of_an_earlier_run_are_replaced(tmp_path: Path) -> None:
    """Parts that a run wrote are its own to replace; one that was changed since is the user's."""
    out = tmp_path / "out"
    for rows in (ROWS, OTHER):
        check_output(out)
        write_table(rows.to_reader(), out)
        assert [path.name for path in out.iterdir()] == ["part-00000.parquet"]
    assert _read(out) == ["c"]
    changed = pq.read_table(out / "part-00000.parquet")
    pq.write_table(changed.set_column(0, "question", pa.array(["mine"])), out / "part-00000.parquet")
    with pytest.raises(OutputError, match="holds part-00000.parquet"):
        check_output(out)


def test_surplus_parts_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of fewer parts leaves none of the earlier ones."""
    monkeypatch.setattr("leeroo.engine.tables.write.PART_ROWS", 1)
    rows = pa.Table.from_batches([*ROWS.to_batches(1), *OTHER.to_batches()])
    write_table(rows.to_reader(1), tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 4
    write_table(OTHER.to_reader(1), tmp_path / "out")
    assert _read(tmp_path / "out") == ["c"]


def test_an_input_is_not_replaced(tmp_path: Path) -> None:
    """The input, a folder above it, and a place in the input's folder are refused, unless --overwrite says so."""
    folder = tmp_path / "in"
    write_table(ROWS.to_reader(), folder)
    file = folder / "part-00000.parquet"
    (tmp_path / "link").symlink_to(folder)
    for out, source in (
        (folder, folder),
        (folder, file),
        (file, file),
        (tmp_path / "link", file),
        (folder / "o.csv", folder),
    ):
        with pytest.raises(OutputError, match="would replace the input .* --overwrite"):
            check_output(out, Keep(inputs=[source]))
    check_output(folder, Keep(inputs=[folder], overwrite=True))


def test_the_answer_store_is_not_replaced(tmp_path: Path) -> None:
    """The store, a folder above it and one in it are refused, also before the store is there."""
    store = tmp_path / "results" / "store"
    for out in (store, tmp_path / "results", store / "out", store / "o.parquet"):
        with pytest.raises(OutputError, match="answer store"):
            check_output(out, Keep(store=store, overwrite=True))
    check_output(tmp_path / "other", Keep(store=store))


def test_the_current_folder_keeps_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """'.' is refused when it has something in it, and filled when it is empty, as other folders."""
    monkeypatch.chdir(tmp_path)
    write_table(ROWS.to_reader(), ".")
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000.parquet"]
    (tmp_path / "precious.txt").touch()
    with pytest.raises(OutputError, match="holds precious.txt"):
        check_output(".")


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    """That holds for links to a file, to nothing yet, and to a folder."""
    (tmp_path / "elsewhere").mkdir()
    for name, target in (("o.parquet", "elsewhere/t.parquet"), ("folder", "elsewhere/parts")):
        link = tmp_path / name
        link.symlink_to(tmp_path / target)
        for rows in (ROWS, OTHER):
            check_output(link)
            write_table(rows.to_reader(), link)
        assert link.is_symlink()
        assert _read(tmp_path / target) == ["c"]


@pytest.mark.parametrize(
    ("name", "begins"), [("pipe", b'{"question":"a"}'), ("pipe.csv", b"question"), ("pipe.parquet", b"PAR1")]
)
def test_a_pipe_is_written_to(tmp_path: Path, name: str, begins: bytes) -> None:
    """A pipe gets the table as its suffix says, JSONL without one, and stays a pipe."""
    pipe = tmp_path / name
    os.mkfifo(pipe)
    check_output(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    assert write_table(ROWS.to_reader(), pipe) == 2
    reader.join(10)
    assert got[0].startswith(begins)
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_standard_output_is_jsonl(capfd: pytest.CaptureFixture[str], name: str) -> None:
    """'-' makes no file of that name."""
    check_output(name)
    write_table(ROWS.to_reader(), name)
    assert capfd.readouterr().out == '{"question":"a"}\n{"question":"b"}\n'
    assert not Path("-").exists()


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".parquet", "t.txt/o.parquet", "loop.csv"])
def test_an_impossible_name_is_one_line(tmp_path: Path, name: str) -> None:
    """A name that is too long, below a file, or a link to itself is refused in one line."""
    (tmp_path / "t.txt").touch()
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    with pytest.raises(OutputError, match="cannot write|does not exist") as error:
        check_output(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_long_name_is_written(tmp_path: Path) -> None:
    """A name as long as names may be leaves room for the hidden file of the writer."""
    out = tmp_path / ("ü" * 123 + ".parquet")
    check_output(out)
    write_table(ROWS.to_reader(), out)
    assert _read(out) == ["a", "b"]


def test_a_name_with_a_date_is_a_folder(tmp_path: Path) -> None:
    """Digits after a dot are no suffix."""
    check_output(tmp_path / "results_2024.05")
    write_table(ROWS.to_reader(), tmp_path / "results_2024.05")
    assert _read(tmp_path / "results_2024.05") == ["a", "b"]


def test_a_folder_that_vanishes_is_one_line(tmp_path: Path) -> None:
    """The folder of the output is gone when the answers are there."""
    (tmp_path / "gone").mkdir()
    for name in ("o.parquet", "o.csv", "parts"):
        check_output(tmp_path / "gone" / name)
    (tmp_path / "gone").rmdir()
    for name in ("o.parquet", "o.csv", "parts"):
        with pytest.raises(OutputError, match="cannot write"):
            write_table(ROWS.to_reader(), tmp_path / "gone" / name)


def test_files_that_appear_meanwhile_stay(tmp_path: Path) -> None:
    """A file that appears while rows are written is not replaced, and no half written file is left."""
    out = tmp_path / "out"
    out.mkdir()

    def rows() -> Iterator[pa.RecordBatch]:
        yield from ROWS.to_batches()
        (out / "precious.txt").write_text("mine")

    with pytest.raises(OutputError, match="holds precious.txt"):
        write_table(pa.RecordBatchReader.from_batches(ROWS.schema, rows()), out)
    assert [path.name for path in out.iterdir()] == ["precious.txt"]


def test_pages_are_checked_and_written_like_tables(tmp_path: Path) -> None:
    """The same rules hold for pages: suffix, store, link, and permissions that stay."""
    page = tmp_path / "p.html"
    page.write_text("old")
    page.chmod(0o640)
    (tmp_path / "l.html").symlink_to(page)
    check_file(tmp_path / "l.html", ".html")
    write_file("new", tmp_path / "l.html")
    assert (page.read_text(), page.stat().st_mode & 0o777) == ("new", 0o640)
    with pytest.raises(OutputError, match="ends in .html"):
        check_file(tmp_path / "p.txt", ".html")
    with pytest.raises(OutputError, match="answer store"):
        check_file(page, ".html", Keep(store=tmp_path))


@pytest.mark.parametrize("name", ["o.csv", "o.jsonl", "o.parquet", "parts"])
def test_a_table_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is synced before it is renamed, and its folder after: a power cut leaves the old table or the new one."""
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write_table(ROWS.to_reader(), tmp_path / name)
    assert ".part" in synced[0]
    assert synced[-1] == str(tmp_path)
