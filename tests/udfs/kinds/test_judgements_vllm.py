"""leeroo_filter and leeroo_score with a real vLLM engine, on whatever this machine has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leeroo.udfs.register import connect

pytestmark = pytest.mark.vllm


def test_vllm_judges_by_probabilities(smollm2_pool: Path, tmp_path: Path, store: Path, did: Callable[[], Any]) -> None:
    """One request for each distinct text and judgement; a score is an expectation; the store keeps both."""
    pool = tmp_path / "pool.toml"
    engine = "[expert.engine]\nmax_model_len = 512\nmax_num_seqs = 4\n"
    pool.write_text(smollm2_pool.read_text().replace('"transformers"', '"vllm"') + engine)
    statement = """SELECT leeroo_filtered(x, 'is angry') AS f, leeroo_scored(x, 'how angry is the writer') AS s
                   FROM (VALUES ('I am furious!'), (NULL), ('Thanks, all fine.'), ('I am furious!')) v(x)"""
    with connect(pool=pool, store=store) as con:
        first, null, second, again = con.execute(statement).fetchall()
    assert did() == (1, 4)
    assert first[0]["value"] == again[0]["value"]
    assert null == (None, None)
    for filtered, scored in (first, second):
        assert 0.5 <= filtered["confidence"] <= 1
        assert 0 < scored["value"] < 1
        assert scored["error"] is filtered["error"] is None
    with connect(pool=pool, store=store) as con:
        known = con.execute(statement).fetchall()
    assert [row[1] and row[1]["value"] for row in known] == [
        first[1]["value"],
        None,
        second[1]["value"],
        first[1]["value"],
    ]
    assert did().generated == 0
