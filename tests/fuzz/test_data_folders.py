"""Data folders of any kind are read, or refused in one line."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.backends.select import load_backend
from leeroo.engine.errors import LeerooError
from leeroo.engine.orchestrator.outcomes.read import read_outcomes, read_prices
from leeroo.engine.pool import Expert
from leeroo.engine.schema import REQUESTS
from tests.fuzz.conftest import Cases

_ODD: list[Any] = [
    None,
    "",
    " ",
    "NaN",
    "x\x00y",
    "\U0001f600",
    -1,
    0,
    0.5,
    85.0,
    10**18,
    float("nan"),
    float("inf"),
    True,
]
_BROKEN = b"\xff\xfe broken \x80"


def _whole(rng: random.Random) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a folder as it should be."""
    n = rng.randint(8, 14)
    queries = [
        {
            "query_id": f"q{i}",
            "split": "train",
            "question": f"What is {i}?",
            "prompt": f"Say: what is {i}?",
            "subject": "s",
        }
        for i in range(n)
    ]
    outcomes = [
        {"query_id": f"q{i}", "expert": name, "score": rng.random(), "response": "r", "prompt_tokens": 5,
         "completion_tokens": 7, "cost_usd": 1e-5, "prediction": "p", "latency_ms": 3.0}
        for i in range(n) for name in ("a", "b")
    ]  # fmt: skip
    experts = [{"expert": name, "usd_per_m_input": 1.0, "usd_per_m_output": 2.0} for name in ("a", "b")]
    return {"queries": queries, "outcomes": outcomes, "experts": experts}


def _drop(rows: list[dict[str, Any]], column: str, _: random.Random) -> None:
    for row in rows:
        del row[column]


def _odd(rows: list[dict[str, Any]], column: str, rng: random.Random) -> None:
    rng.choice(rows)[column] = rng.choice(_ODD)


def _other_type(rows: list[dict[str, Any]], column: str, rng: random.Random) -> None:
    makes: list[Callable[[Any], Any]] = [
        str,
        lambda value: [value],
        lambda value: {"v": value},
        lambda _: rng.choice(_ODD),
        lambda value: str(value).encode(),
    ]
    make = rng.choice(makes)
    for row in rows:
        row[column] = make(row[column])


def _percent(rows: list[dict[str, Any]], column: str, _: random.Random) -> None:
    for row in rows:
        row[column] = row[column] * 100 if isinstance(row[column], float) else row[column]


def _twice(rows: list[dict[str, Any]], _: str, rng: random.Random) -> None:
    rows.append(dict(rng.choice(rows)))


def _none(rows: list[dict[str, Any]], _: str, __: random.Random) -> None:
    del rows[:]


def _extra(rows: list[dict[str, Any]], _: str, rng: random.Random) -> None:
    name = rng.choice(["note", "a b", 'quo"te', "ΔX", ""])
    for row in rows:
        row[name] = rng.choice(_ODD[:6])


_DAMAGE: list[Callable[[list[dict[str, Any]], str, random.Random], None]] = [
    _drop, _odd, _odd, _odd, _other_type, _percent, _twice, _none, _extra,
]  # fmt: skip


def _table(rows: list[dict[str, Any]], rng: random.Random) -> pa.Table:
    """Return columns of whatever type fits; sometimes one with text that is no UTF-8, or two of one name."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = []
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            columns.append(pa.array(values))
        except (pa.ArrowException, OverflowError, ValueError):
            columns.append(pa.array([None if value is None else str(value) for value in values]))
    if names and rng.random() < 0.2:
        at = rng.randrange(len(names))
        raw = [_BROKEN if rng.random() < 0.3 else b"fine" for _ in rows]
        columns[at] = pa.array(raw, pa.binary()).view(pa.string())
    if names and rng.random() < 0.05:
        names[0] = names[-1]
    return pa.Table.from_arrays(columns, names)


def _spoil(path: Path, rng: random.Random) -> None:
    """Change some bytes of a file, or cut it off."""
    raw = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 20)):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    path.write_bytes(bytes(raw[: rng.randrange(len(raw))]) if rng.random() < 0.2 else bytes(raw))


def _made(folder: Path, rng: random.Random) -> None:
    folder.mkdir()
    tables = _whole(rng)
    for _ in range(rng.randint(0, 3)):
        rows = tables[rng.choice(list(tables))]
        if rows:
            rng.choice(_DAMAGE)(rows, rng.choice(list(rows[0]) or ["x"]), rng)
    for name, rows in tables.items():
        pq.write_table(_table(rows, rng), folder / f"{name}.parquet")
    if rng.random() < 0.2:
        _spoil(folder / f"{rng.choice(list(tables))}.parquet", rng)


def test_a_data_folder_is_read_or_refused_in_one_line(cases: Cases, tmp_path: Path) -> None:
    """Learning, prices and replay each read it, or say in one line what is wrong."""
    read = 0
    for name, rng in cases(60):
        folder = tmp_path / name
        _made(folder, rng)
        for use in (_outcomes, _prices, _replay):
            try:
                use(folder)
                read += 1
            except Exception as error:
                if isinstance(error, LeerooError) and "\n" not in str(error):
                    continue
                raise AssertionError(f"case {name}, {use.__name__}: {error!r}") from error
    assert read > 60


def _outcomes(folder: Path) -> None:
    outcomes = read_outcomes([folder])
    known = outcomes.scores[np.isfinite(outcomes.scores)]
    assert len(known)
    assert ((known >= 0) & (known <= 1)).all()
    assert len(outcomes.questions) == len(outcomes.scores)


def _prices(folder: Path) -> None:
    prices = read_prices([folder], ["a", "b"])
    assert (np.isnan(prices) | ((prices >= 0) & np.isfinite(prices))).all()


def _replay(folder: Path) -> None:
    backend = load_backend(Expert(name="a", model=str(folder), backend="replay", usd_per_m_input=1, usd_per_m_output=1))
    asked = [
        {"id": i, "question": q, "prompt": q, "max_tokens": 5, "temperature": 0.0, "raw": False, "choices": choices}
        for i, (q, choices) in enumerate([("What is 3?", None), ("What is 4?", ["p", "x"]), ("?", None)])
    ]
    rows = [b.to_pylist() for b in backend.generate(iter([pa.RecordBatch.from_pylist(asked, schema=REQUESTS)]))]
    assert sum(map(len, rows)) == len(asked)
