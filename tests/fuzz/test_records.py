"""Descriptions of records, questions, and what models write for them: a value of the types or one line, never an error."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa

from leeroo.engine.backends.decisions import find_decisions, read_decisions
from leeroo.engine.backends.schemas import validator
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.records.kinds import whole_schema
from leeroo.engine.jobs.records.rows import read_record
from leeroo.engine.jobs.records.sql_types import read_spec
from tests.fuzz.conftest import Cases

_TYPES: tuple[Any, ...] = (
    "VARCHAR", "INTEGER", "utinyint", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIME", "DECIMAL(5,2)", "DECIMAL", "BOOLEAN",
    "VARCHAR[]", "DATE[][]", "MAP(VARCHAR, INTEGER)", "STRUCT(a DATE, b ENUM('x', 'y'))", "ENUM('a', 'it''s')", "FLOAT",
    "BLOB", "INTERVAL", "INTEGER[3]", "JSON", "nothing", "", "'", "a); DROP TABLE t; --", ["x", "y"], [1, 2], [], ["x", 1],
    [None], [True], None, 3, {}, {"b": "DATE"}, [{"b": "TIME"}], [{}], "UNION(a INTEGER)", "HUGEINT", "数",
)  # fmt: skip
_NAMES = ("a", "b", 'q"u', "it's", "", "數", "select", "a b", "\n")
_VALUES: tuple[Any, ...] = (
    None, "x", "a", "it's", "2024-02-30", "2024-02-29", "2024-02-29T10:00:00Z", "25:00", "10:00:00+01:00", 0, -1, 2**70, 1.005,
    1e300, True, [], {}, ["x"], ["2024-01-01", None], {"a": 1}, {"b": "2024-01-01"}, [{"b": "10:00"}], "\ud83d", "9" * 5000,
)  # fmt: skip


def _spec(rng: random.Random) -> dict[str, Any]:
    return {rng.choice(_NAMES): rng.choice(_TYPES) for _ in range(rng.randint(0, 4))}


def test_records_hold_values_of_their_types(cases: Cases) -> None:
    """What is a record has a type in DuckDB and in Arrow, and every answer is a value of it or a reason."""
    con = duckdb.connect()
    for name, rng in cases(150):
        record = _or_reason(read_spec, json.dumps(_spec(rng)))
        if isinstance(record, str):
            assert "\n" not in record, name
            continue
        assert con.sqltype(record.sql).id == "struct", name
        validator(whole_schema(record))
        for _ in range(5):
            said = json.dumps({field.name: rng.choice(_VALUES) for field in record.fields})
            value, why = read_record(record, said)
            assert (value is None) == (why is not None), name
            assert pa.array([value], record.arrow).null_count == (value is None), name
            if value is not None:
                read = con.execute(
                    "SELECT from_json($v, $s)", {"v": _json(value), "s": json.dumps(record.sql)}
                ).fetchall()
                assert (read[0][0] is None) is False, name


def _or_reason(read: Callable[[str], Any], text: str) -> Any:
    """Return what a text is read as, or the line that says why it cannot be."""
    try:
        return read(text)
    except (UsageError, ValueError) as error:
        return str(error)


def _json(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def test_decisions_are_choices_or_a_reason(cases: Cases) -> None:
    """A reply names a choice of each question, or the reason says which it does not."""
    for name, rng in cases(150):
        given = {rng.choice(_NAMES): rng.choice(_TYPES) for _ in range(rng.randint(1, 3))}
        decisions = _or_reason(read_decisions, json.dumps(given))
        if isinstance(decisions, str):
            assert "decision" in decisions, name
            continue
        said = json.dumps({each: rng.choice((*choices, *_VALUES)) for each, choices in decisions.items()})
        reply = rng.choice((said, f"```json\n{said}\n```", said[:-1]))
        answer = _or_reason(partial(find_decisions, decisions=decisions), reply)
        if not answer.startswith("{"):
            assert answer.startswith("the answer"), name
            continue
        found = json.loads(answer)
        assert list(found) == list(decisions), name
        assert all(json.dumps(found[each]) in map(json.dumps, choices) for each, choices in decisions.items()), name
