"""leeroo_record and leeroo_decide with a real vLLM engine, on whatever this machine has."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leeroo.udfs.register import connect

pytestmark = pytest.mark.vllm


def test_vllm_keeps_records_to_their_types_and_decides(
    smollm2_pool: Path, tmp_path: Path, store: Path, did: Callable[[], Any]
) -> None:
    """Types of all kinds are understood; one request a text; the store keeps values and confidences."""
    pool = tmp_path / "pool.toml"
    engine = "[expert.engine]\nmax_model_len = 512\nmax_num_seqs = 4\n"
    pool.write_text(smollm2_pool.read_text().replace('"transformers"', '"vllm"') + engine)
    fields = """{'name': 'VARCHAR', 'age': 'INTEGER', 'kind': ['person', 'firm'], 'due': 'DATE', 'price': 'DECIMAL(10,2)',
                 'at': 'TIMESTAMP', 'home': {'city': 'VARCHAR'}}"""
    record = f"SELECT leeroo_recorded('John Smith, 42, lives in Boston.', {fields}, max_tokens := 120) AS r"
    decided = """SELECT leeroo_decided(x, {'urgent': ['yes', 'no'], 'stars': [1, 2, 3]}) FROM (VALUES
                 ('I was charged twice!'), (NULL), ('The page is blank.')) v(x)"""
    with connect(pool=pool, store=store) as con:
        ((made,),) = con.execute(record).fetchall()
        assert did() == (1, 1)
        first, null, last = (row for (row,) in con.execute(decided).fetchall())
        assert did() == (1, 2)
    assert made["error"] is None
    assert made["value"]["kind"] in ("person", "firm", None)
    assert isinstance(made["value"]["due"], datetime.date | None)
    assert isinstance(made["value"]["at"], datetime.datetime | None)
    assert null is None
    assert all(1 / 3 <= row["value"]["stars"]["confidence"] <= 1 for row in (first, last))
    with connect(pool=pool, store=store) as con:
        assert con.execute(record).fetchall()[0][0]["value"] == made["value"]
        assert [row and row["value"] for (row,) in con.execute(decided).fetchall()] == [
            first["value"],
            None,
            last["value"],
        ]
    assert did().generated == 0
