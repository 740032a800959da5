"""Bad input gets one clear line - what, where, how to mend it - and costs no other row anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command import leeroo


def _run(cwd: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and standard error of `leeroo run`."""
    done = leeroo("run", *arguments, "--store", "store", cwd=cwd)
    assert done.stdout == ""
    return done.returncode, done.stderr.strip()


def _one_line(result: tuple[int, str], *says: str) -> None:
    code, error = result
    assert code == 2, error
    assert error.count("\n") == 0, error
    assert error.startswith("leeroo: ")
    for word in says:
        assert word in error


@pytest.fixture
def pool(pool_file: Path) -> list[str]:
    """Provide the options for the replayed pool."""
    return ["--pool", str(pool_file)]


def _table(path: Path, *texts: str | None) -> str:
    pq.write_table(pa.table({"question": pa.array(texts, pa.string())}), path)
    return str(path)


def test_a_missing_file_is_named(tmp_path: Path, pool: list[str]) -> None:
    """An input that does not exist is refused by name."""
    _one_line(_run(tmp_path, "nowhere.parquet", "--out", "o.parquet", *pool), "there is no file nowhere.parquet")


def test_a_pattern_without_files_is_named(tmp_path: Path, pool: list[str]) -> None:
    """A glob that matches nothing is refused by name."""
    _one_line(_run(tmp_path, "part-*.parquet", "--out", "o.parquet", *pool), "no file matches part-*.parquet")


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, pool: list[str]) -> None:
    """Text under the name of a Parquet file."""
    (tmp_path / "fake.parquet").write_text("question\nwho?\n" * 10)
    _one_line(_run(tmp_path, "fake.parquet", "--out", "o.parquet", *pool), "fake.parquet cannot be read as Parquet")


def test_an_unknown_suffix_is_named(tmp_path: Path, pool: list[str]) -> None:
    """A kind of file that is not read."""
    (tmp_path / "table.xlsx").touch()
    _one_line(_run(tmp_path, "table.xlsx", "--out", "o.parquet", *pool), "table.xlsx", ".parquet")


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path, pool: list[str]) -> None:
    """A table without a column `question` is refused with the names of its columns."""
    pq.write_table(pa.table({"text": ["a"], "id": [1]}), tmp_path / "t.parquet")
    result = _run(tmp_path, "t.parquet", "--out", "o.parquet", *pool)
    _one_line(result, "no column 'question'", "text, id", "--column")


def test_a_column_of_numbers_is_named(tmp_path: Path, pool: list[str]) -> None:
    """A question column of the wrong type is refused by name."""
    pq.write_table(pa.table({"question": [1.5]}), tmp_path / "t.parquet")
    _one_line(_run(tmp_path, "t.parquet", "--out", "o.parquet", *pool), "'question' is of type double, not text")


def test_a_broken_line_of_json_is_numbered(tmp_path: Path, pool: list[str]) -> None:
    """Malformed JSONL says which line, before anything is spent."""
    (tmp_path / "t.jsonl").write_text('{"question": "a"}\n{"question": oops}\n{"question": "b"}\n')
    _one_line(_run(tmp_path, "t.jsonl", "--out", "o.parquet", *pool), "t.jsonl: line 2 is not JSON")


def test_difficult_text_comes_back(tmp_path: Path, pool: list[str]) -> None:
    """NUL, half characters, right-to-left text and emoji come back, and harm no other row."""
    (tmp_path / "t.jsonl").write_text(
        r'{"question": "NUL \u0000 inside"}'
        + "\n"
        + r'{"question": "half \ud83d a character"}'
        + "\n"
        + r'{"question": "whole \ud83d\ude00, and a literal \\ud83d"}'
        + '\n{"question": "שלום עולם 👩‍👩‍👧"}\n{"question": "What is 2 plus 2?"}\n'
        + '{"question": ""}\n{"question": null}\n',
        encoding="utf-8",
    )
    code, said = _run(tmp_path, "t.jsonl", "--out", "o.parquet", *pool)
    assert code == 1, said
    rows = pq.read_table(tmp_path / "o.parquet").to_pylist()
    assert [row["question"] for row in rows] == [
        "NUL \x00 inside",
        "half \ufffd a character",
        "whole 😀, and a literal \\ud83d",
        "שלום עולם 👩‍👩‍👧",
        "What is 2 plus 2?",
        "",
        None,
    ]
    assert rows[4]["answer"] == "large says 4"
    assert all("not among those recorded" in row["error"] for row in rows[:4])
    assert (rows[5]["error"], rows[6]["error"]) == (None, None)
    assert "7 rows (4 failed)" in said
    assert "4 x the question is not among those recorded" in said


def test_a_stream_on_standard_input_is_read(tmp_path: Path, pool: list[str]) -> None:
    """JSONL on standard input is answered."""
    command = [sys.executable, "-m", "leeroo", "run", "-", "--out", "o.parquet", *pool, "--store", "store"]
    line = b'{"question": "What is 1 plus 1?"}\n'
    done = subprocess.run(command, cwd=tmp_path, input=line, capture_output=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert pq.read_table(tmp_path / "o.parquet").column("answer").to_pylist() == ["large says 2"]


def test_a_million_equal_rows_are_sent_once(tmp_path: Path, pool: list[str]) -> None:
    """Equal rows cost one answer, and every row has it."""
    same = pa.table({"question": pa.array(["What is 1 plus 1?"]).take(pa.array([0] * 1_000_000))})
    pq.write_table(same, tmp_path / "t.parquet")
    code, said = _run(tmp_path, "t.parquet", "--out", "o.parquet", *pool)
    assert code == 0, said
    out = pq.read_table(tmp_path / "o.parquet", columns=["answer", "cost_usd"])
    assert out.column("answer").unique().to_pylist() == ["large says 2"]
    assert sum(cost > 0 for cost in out.column("cost_usd").to_pylist()) == 1


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("nowhere/o.parquet", "does not exist"),
        ("/proc/o.parquet", "cannot write in the folder /proc"),
        ("o.xlsx", "written as .parquet, .csv, .tsv or .jsonl"),
    ],
)
def test_an_impossible_output_is_refused_first(tmp_path: Path, pool: list[str], out: str, says: str) -> None:
    """A place that cannot be written is refused before anything is generated."""
    _one_line(_run(tmp_path, _table(tmp_path / "t.parquet", "What is 1 plus 1?"), "--out", out, *pool), says)
    assert not (tmp_path / "store").exists()


# Files may not grow beyond this in the run below: what a full disk does, without filling one.
_FULL = """
import resource, sys
from leeroo.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
main()
"""


@pytest.mark.parametrize("limit", [3000, 20_000, 100_000, 300_000, 700_000])
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, pool: list[str], limit: int) -> None:
    """Wherever the room ends - working files, store, output - it is one line, and the table appears whole or not."""
    questions = [f"What is {i % 40} plus {i % 40}? " for i in range(60_000)]
    texts = [text.strip() if i % 2 else text + "x" * (i % 97) for i, text in enumerate(questions)]
    _table(tmp_path / "t.parquet", *texts)
    command = ["-c", _FULL, str(limit), "run", "t.parquet", "--out", "o.parquet", "--store", "store", *pool]
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("leeroo: ")
    assert not (tmp_path / "o.parquet").exists()
    code, said = _run(tmp_path, "t.parquet", "--out", "o.parquet", *pool)
    assert code == 1, said
    assert pq.read_table(tmp_path / "o.parquet").num_rows == 60_000


def test_an_expert_that_does_not_start_leaves_its_rows_to_the_next(tmp_path: Path, pool_file: Path) -> None:
    """Its rows go to the next best, and one line gives the cause."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    text = f"""
default = "broken"
[[expert]]
name = "broken"
model = "{broken}"
backend = "transformers"
usd_per_m_input = 1
usd_per_m_output = 1
"""
    pool_file.write_text(text + pool_file.read_text().replace('default = "large"', ""))
    source = _table(tmp_path / "t.parquet", "What is 1 plus 1?", "What is 2 plus 2?")
    code, said = _run(tmp_path, source, "--out", "o.parquet", "--pool", str(pool_file))
    assert code == 1, said
    assert said.count("broken cannot answer, its rows go to the next best") == 1
    assert said.splitlines()[-1].startswith("warning: broken was never reached: ")
    assert pq.read_table(tmp_path / "o.parquet").column("expert").to_pylist() == ["small", "small"]


def test_an_api_that_refuses_the_key_is_one_line(tmp_path: Path, api: Any) -> None:
    """A 401 ends the expert: its rows fail with the reason, and none of them is sent again."""
    api.faults, api.repeat = {"q": [401]}, True
    pool = f"""
[[expert]]
name = "api"
model = "m"
backend = "openai"
base_url = "{api.url}"
usd_per_m_input = 1
usd_per_m_output = 1
"""
    (tmp_path / "p.toml").write_text(pool)
    source = _table(tmp_path / "t.parquet", *(f"q{i}" for i in range(300)))
    code, said = _run(tmp_path, source, "--out", "o.parquet", "--pool", "p.toml")
    assert code == 1
    assert "refuses the key" in said
    assert sum(api.asked.values()) <= 32
    errors = pq.read_table(tmp_path / "o.parquet").column("error").to_pylist()
    assert all("refuses the key" in error for error in errors)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--max-cost-usd", "1", "--cost-weight", "2"], "not both"),
        (["--max-cost-usd", "-1"], "--max-cost-usd must be a number of at least 0"),
        (["--expert", "huge"], "no expert is called 'huge'; the pool has: large, small"),
        (["--router", "nowhere"], "nowhere"),
    ],
)
def test_impossible_options_are_one_line(tmp_path: Path, pool: list[str], options: list[str], says: str) -> None:
    """Wrong options are one line that says how to mend them."""
    source = _table(tmp_path / "t.parquet", "What is 1 plus 1?")
    _one_line(_run(tmp_path, source, "--out", "o.parquet", *pool, *options), says)


@pytest.mark.parametrize("command", ["run", "label", "sql"])
def test_an_expert_that_was_never_reached_is_reported_last(
    tmp_path: Path, api: Any, pool_file: Path, command: str
) -> None:
    """Others answer for it, and the exit code is 1; with --on-expert-down fail its rows fail."""
    api.faults, api.repeat = {"": [401]}, True
    local = pool_file.read_text().replace('default = "large"', "")
    remote = f'name = "api"\nmodel = "m"\nbackend = "openai"\nbase_url = "{api.url}"\n'
    pool_file.write_text(
        f'default = "api"\n[[expert]]\n{remote}usd_per_m_input = 1\nusd_per_m_output = 1\nmax_tokens = 5\n{local}'
    )
    source = _table(tmp_path / "t.parquet", "What is 1 plus 1?")
    options = {
        "run": [source, "--out", "o.parquet"],
        "label": [source, "--labels", "a,b", "--column", "question", "--out", "o.parquet", "--expert", "api"],
        "sql": [f"SELECT leeroo_answer(question) FROM '{source}'"],
    }[command]
    command_line = [command, *options, "--pool", str(pool_file), "--store", "store"]
    done = leeroo(*command_line, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("warning: api was never reached: ")
    command_line[-1] = "another"
    done = leeroo(*command_line, "--on-expert-down", "fail", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("leeroo: api cannot answer: ")
