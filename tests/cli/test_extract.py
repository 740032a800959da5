"""The commands extract and decide: typed columns in the output, a report, and mistakes as one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from tests.command import leeroo
from tests.provider import Provider

TICKETS = "id,text\n1,I was charged twice.\n2,The page is blank.\n3,\n"
CLASS = """
import datetime
from enum import Enum
from pydantic import BaseModel

class Kind(Enum):
    BILLING = "billing"
    BUG = "bug"

class Ticket(BaseModel):
    kind: Kind
    due: datetime.date | None
    tags: list[str]
"""


@pytest.fixture
def folder(api: Provider, api_entry: Callable[..., str], tmp_path: Path) -> Path:
    """Return a folder with tickets, a class for them, and a pool whose expert knows them."""
    said = {
        "twice": {"kind": "billing", "due": "2024-05-01", "tags": ["money"]},
        "blank": {"kind": "bug", "due": None, "tags": []},
    }
    api.says = lambda _, prompt: json.dumps(next(each for word, each in said.items() if word in prompt))
    (tmp_path / "pool.toml").write_text(api_entry("m", 1, 100))
    (tmp_path / "tickets.csv").write_text(TICKETS)
    (tmp_path / "ticket.py").write_text(CLASS)
    return tmp_path


COMMON = ["--pool", "pool.toml", "--store", "store"]


def test_extract_writes_typed_columns(folder: Path, api: Provider) -> None:
    """Types are those of the class, in Parquet and as text in CSV; the report counts them; again it costs nothing."""
    command = ["extract", "tickets.csv", "--schema", "ticket.py:Ticket", *COMMON]
    done = leeroo(*command, "--out", "fields.parquet", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "3 rows, 0 of them failed" in done.stdout
    with duckdb.connect() as con:
        made = con.sql(f"SELECT id, kind, due, tags, error FROM '{folder / 'fields.parquet'}' ORDER BY id")
        assert [str(kind) for kind in made.types[2:4]] == ["DATE", "VARCHAR[]"]
        rows = made.fetchall()
    assert [row[1] for row in rows] == ["billing", "bug", None]
    assert str(rows[0][2]) == "2024-05-01"
    assert rows[0][3] == ["money"]
    sent = len(api.bodies)
    for out in ("fields.csv", "fields.jsonl"):
        done = leeroo(*command, "--out", out, "--json", cwd=folder)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert (report["fields"], report["cost_usd"]) == ({"kind": 2, "due": 1, "tags": 2}, 0)
    assert "billing,2024-05-01" in (folder / "fields.csv").read_text()
    assert json.loads((folder / "fields.jsonl").read_text().splitlines()[0])["kind"] == "billing"
    assert len(api.bodies) == sent == 2


def test_extract_takes_fields_and_json_schemas(folder: Path) -> None:
    """Fields as text give columns, a JSON schema a column of JSON."""
    fields = "kind VARCHAR, due DATE, tags VARCHAR[]"
    done = leeroo("extract", "tickets.csv", "--schema", fields, "--out", "a.parquet", *COMMON, cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "schema.json").write_text('{"type": "object", "required": ["kind"]}')
    done = leeroo("extract", "tickets.csv", "--schema", "schema.json", "--out", "b.parquet", *COMMON, cwd=folder)
    assert done.returncode == 0, done.stderr
    with duckdb.connect() as con:
        assert con.sql(f"SELECT kind FROM '{folder / 'a.parquet'}'").fetchall() == [("billing",), ("bug",), (None,)]
        answers = con.sql(f"SELECT answer FROM '{folder / 'b.parquet'}'").fetchall()
    assert [each and json.loads(each)["kind"] for (each,) in answers] == ["billing", "bug", None]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--schema", "nowhere.py:Ticket"], "the schema nowhere.py cannot be read: No such file"),
        (["--schema", "ticket.py:Tocket"], "the schema ticket.py has no 'Tocket'; it has Ticket"),
        (["--schema", "id"], "the fields 'id' cannot be read"),
        (["--schema", "id BIGINT"], "the input already has the column 'id': give a prefix"),
        (["--schema", "kind VARCHAR", "--column", "body"], "the input has no column 'body'"),
        (["--schema", "kind VARCHAR", "--expert", "nobody"], "nobody"),
    ],
)
def test_mistakes_in_extract_are_one_line(folder: Path, api: Provider, options: list[str], line: str) -> None:
    """Nothing is sent, and the exit code is 2."""
    done = leeroo("extract", "tickets.csv", *options, "--out", "a.parquet", *COMMON, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert line in done.stderr.strip().splitlines()[-1]
    assert not api.bodies


def test_decide_writes_choices(folder: Path, api: Provider) -> None:
    """One request a row; whole numbers are numbers; a row that fails has its reason, and the exit code is 1."""
    api.says = lambda _, prompt: '{"team": "bug", "stars": 2}' if "blank" in prompt else '{"team": "bug"}'
    command = ["decide", "tickets.csv", "--question", "team=billing,bug", "--question", "stars=1,2,3", *COMMON]
    done = leeroo(*command, "--out", "decided.parquet", cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "the answer has no choice for 'stars'" in done.stderr
    assert ["team", "bug", "1"] in [line.split()[:3] for line in done.stdout.splitlines()]
    with duckdb.connect() as con:
        made = con.sql(
            f"SELECT team, stars, round(stars_confidence, 2) FROM '{folder / 'decided.parquet'}' ORDER BY id"
        )
        assert [str(kind) for kind in made.types] == ["VARCHAR", "INTEGER", "DOUBLE"]
        assert made.fetchall() == [(None, None, None), ("bug", 2, 0.82), (None, None, None)]
    assert len(api.bodies) == 2


@pytest.mark.parametrize(
    ("question", "line"),
    [
        ("team", "--question takes a name and its choices, as in urgent=yes,no, but was given 'team'"),
        ("=a,b", "--question takes a name and its choices"),
        ("team=a", "the decision 'team' needs at least two choices, not 1"),
        ("team=a,,b", "--question takes choices with commas between, but was given 'a,,b'"),
        ("team=a,a", "the decision 'team' has a choice twice"),
        ("id=a,b", "the input already has the column 'id': give a prefix"),
    ],
)
def test_mistakes_in_decide_are_one_line(folder: Path, api: Provider, question: str, line: str) -> None:
    """Nothing is sent, and the exit code is 2."""
    done = leeroo("decide", "tickets.csv", "--question", question, "--out", "a.parquet", *COMMON, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert line in done.stderr.strip().splitlines()[-1]
    assert not api.bodies
