"""The command line as a newcomer meets it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

import leeroo
from tests.command import leeroo as run

COMMANDS = (
    "run",
    "route",
    "solve",
    "sql",
    "train",
    "evaluate",
    "select-experts",
    "gaps",
    "experts",
    "routers",
    "limits",
    "spend",
)


def _leeroo(*arguments: str, cwd: Path | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "leeroo", *arguments]
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=120)


def test_the_help_names_every_command() -> None:
    """`leeroo --help` lists the commands and says where to start."""
    said = run("--help").stdout
    for command in COMMANDS:
        assert f" {command} " in said
    assert "Start here:" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str) -> None:
    """The help of a command ends with a line to try."""
    done = run(command, "--help")
    assert done.returncode == 0
    assert f"leeroo {command}" in done.stdout.split("Example:")[-1]


def test_the_public_names_are_these() -> None:
    """The facade has exactly these names, and each can be imported."""
    for name in leeroo.__all__:
        assert getattr(leeroo, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'anser'"):
        _ = leeroo.anser


def test_heavy_libraries_wait_until_they_are_needed() -> None:
    """Importing the package and its command line loads nothing that takes long."""
    code = "import sys, leeroo.cli.main; print([m for m in ('torch', 'transformers', 'duckdb', 'vllm', 'pydantic', 'pyarrow', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_experts_are_listed_for_people_and_programs(pool_file: Path) -> None:
    """People get a table; --json prints one object on standard output and nothing else."""
    said = run("experts", "--pool", pool_file).stdout
    assert "large*" in said
    assert "100 / 100" in said
    listed = json.loads(run("experts", "--pool", pool_file, "--json").stdout)["experts"]
    assert [(e["expert"], e["usd_per_m_input"], e["unavailable"]) for e in listed] == [
        ("large", 100.0, None),
        ("small", 10.0, None),
    ]


def test_an_expert_that_cannot_run_says_why(tmp_path: Path) -> None:
    """The list says no, and gives the reason below."""
    pool = tmp_path / "p.toml"
    pool.write_text('[[expert]]\nname = "gpt"\nmodel = "gpt-4o"\nbackend = "openai"\napi_key_env = "NO_SUCH_KEY"\n')
    said = run("experts", "--pool", pool).stdout
    assert "gpt: the environment variable NO_SUCH_KEY with its API key is not set" in said


def test_whose_price_it_is_stands_in_the_list(tmp_path: Path) -> None:
    """An expert with a list price says whose it is and of which day, and one that costs nothing that it is free."""
    pool = tmp_path / "p.toml"
    listed = '[[expert]]\nname = "gpt"\nmodel = "gpt-4o"\nbackend = "openai"\n'
    free = '[[expert]]\nname = "own"\nmodel = "m"\nbackend = "openai"\nbase_url = "http://127.0.0.1:9/v1"\n'
    pool.write_text(f"{listed}{free}usd_per_m_input = 0\nusd_per_m_output = 0\n")
    said = run("experts", "--pool", pool).stdout
    assert "2.5 / 10" in said
    assert re.search(r"^gpt: openai, genai-prices \S+ of 20\d\d-\d\d-\d\d$", said, re.MULTILINE)
    assert re.search(r"own .* free ", said)
    assert "own: price 0 in the pool file" in said


def test_run_prints_a_summary(pool_file: Path, tmp_path: Path) -> None:
    """The summary has rows, experts, spend against the budget and the table's place, on standard error alone."""
    (tmp_path / "t.csv").write_text("question\nWhat is 1 plus 1?\nWhat is 1 plus 1?\nWhat is 2 plus 2?\n")
    done = _leeroo(
        *("run", "t.csv", "--out", "o.parquet", "--pool", str(pool_file), "--store", "s", "--max-cost-usd", "1"),
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "3 rows (1 asked before)" in done.stderr
    assert "spent $0.003 of $1.00; the list cost of all rows is $0.0045" in done.stderr
    assert "o.parquet" in done.stderr
    assert pq.read_table(tmp_path / "o.parquet").num_rows == 3


def test_sql_prints_and_writes(pool_file: Path, tmp_path: Path) -> None:
    """A statement is read from the command line or standard input, and its rows are printed or written."""
    options = ("--pool", str(pool_file), "--store", "s")
    said = _leeroo("sql", "SELECT leeroo_answer('What is 4 plus 4?') AS a", *options, cwd=tmp_path)
    assert "large says 8" in said.stdout, said.stderr
    done = _leeroo(
        "sql",
        "-",
        "--out",
        "o.parquet",
        *options,
        cwd=tmp_path,
        stdin="SELECT leeroo('What is 4 plus 4?').cost_usd AS c",
    )
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "o.parquet").num_rows == 1


def test_wrong_sql_is_one_line(pool_file: Path, tmp_path: Path) -> None:
    """A mistake in a statement is reported without a traceback, with exit code 2."""
    done = _leeroo("sql", "SELEC 1", "--pool", str(pool_file), "--store", "s", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("leeroo: ")


def test_a_router_is_trained_and_used(shared_data: Path, tmp_path: Path) -> None:
    """Training gives a router, which routes a table within the budget, or without generating."""
    data = tmp_path / "data"
    data.mkdir()
    for name in ("queries", "outcomes", "experts"):
        source = shared_data / "mmlu9" / f"{name}.parquet"
        queries = f"SELECT query_id FROM '{shared_data}/mmlu9/queries.parquet' ORDER BY query_id LIMIT 150"
        only = "" if name == "experts" else f"WHERE query_id IN ({queries})"
        duckdb.sql(f"COPY (FROM '{source}' {only}) TO '{data / name}.parquet'")
    done = run("train", "--data", data, "--out", tmp_path / "router")
    assert done.returncode == 0, done.stderr
    assert "router for 9 experts" in done.stderr
    pool = "".join(
        f'[[expert]]\nname = "{name}"\nmodel = "{data}"\nbackend = "replay"\n'
        f"usd_per_m_input = {price}\nusd_per_m_output = {price}\n"
        for name, price in (("gpt-4-1106-preview", 10), ("llama-3-8b", 0.2))
    )
    (tmp_path / "pool.toml").write_text(pool)
    routed = run(
        *("route", str(data / "queries.parquet"), "--out", "r.parquet", "--column", "prompt", "--pool", "pool.toml"),
        *("--router", "router", "--store", "s", "--max-cost-usd", "0.08", "--prefix", "r_"),
        cwd=tmp_path,
    )
    assert routed.returncode == 0, routed.stderr
    table = pq.read_table(tmp_path / "r.parquet")
    assert table.num_rows == 150
    assert set(table.column("r_expert").to_pylist()) == {"gpt-4-1106-preview", "llama-3-8b"}
    assert sum(table.column("r_expected_cost_usd").to_pylist()) <= 0.08
    assert all(0 <= score <= 1 for score in table.column("r_predicted_score").to_pylist())
    _check_half(tmp_path)


def _check_half(place: Path) -> None:
    """Check that a run without a budget ends with what half of the money would bring, and that this is so."""
    given = (
        "data/queries.parquet",
        "--column",
        "prompt",
        "--pool",
        "pool.toml",
        "--router",
        "router",
        "--prefix",
        "r_",
    )
    said = run("run", *given, "--store", "a", "--out", "a.parquet", cwd=place).stderr
    found = re.search(
        r"predicted score of (0\.\d\d) instead of (0\.\d\d): --max-cost-usd (\d+\.\d\d)$", said, re.MULTILINE
    )
    assert found is not None, said
    at_half, whole, usd = map(float, found.groups())
    routed = run("route", *given, "--store", "b", "--out", "b.parquet", "--max-cost-usd", str(usd), cwd=place)
    assert routed.returncode == 0, routed.stderr
    for file, score in (("a.parquet", whole), ("b.parquet", at_half)):
        predicted = pq.read_table(place / file).column("r_predicted_score").to_pylist()
        assert sum(predicted) / len(predicted) == pytest.approx(score, abs=0.011)
    assert at_half < whole
    budgeted = run("run", *given, "--store", "a", "--out", "a.parquet", "--max-cost-usd", "1", cwd=place)
    assert "half of the expected cost" not in budgeted.stderr


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (("run",), "missing argument 'INPUT'; see leeroo run --help"),
        (("sql", "SELECT 1", "--expert", "x"), "no such option: --expert (Possible options: --on-expert-down)"),
        (("run", "a", "--out", "b", "--on-error", "maybe"), "'maybe' is not one of 'null', 'fail'; see leeroo run"),
        (("run", "a", "--out", "b", "--limit", "-1"), "invalid value for '--limit': Input should be greater than"),
        (("store", "nope"), "no such command 'nope'; see leeroo store --help"),
        (("nonsense",), "no such command 'nonsense'; see leeroo --help"),
    ],
)
def test_a_wrong_command_line_is_one_line(command: tuple[str, ...], line: str) -> None:
    """It says what is wrong, and where the help is."""
    done = run(*command)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("leeroo: ")
    assert line in done.stderr


def test_a_family_without_a_command_prints_its_help() -> None:
    """`leeroo store` alone lists its commands."""
    done = run("store")
    assert done.returncode == 2
    assert "prune" in done.stdout + done.stderr
