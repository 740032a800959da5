"""SQL over a real language model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from leeroo.udfs.register import connect


def test_a_model_answers_a_table(smollm2_pool: Path, store: Path, did: Callable[[], Any]) -> None:
    """SmolLM2 answers the questions of a table in one batch, and again from the store alone."""
    statement = """
        SELECT country, a.answer, a.expert, a.prompt_tokens, a.completion_tokens, a.cost_usd, a.latency_ms
        FROM (SELECT country, leeroo('What is the capital of ' || country || '?', system := 'Answer in a word.', max_tokens := 12) AS a
              FROM (VALUES ('France'), ('Italy'), ('France')) v(country)) ORDER BY country"""
    with connect(pool=smollm2_pool, store=store) as con:
        rows = con.execute(statement).fetchall()
    assert did() == (1, 2)
    assert [row[0] for row in rows] == ["France", "France", "Italy"]
    assert rows[0] == rows[1]
    assert "Paris" in rows[0][1]
    assert rows[2][1] not in ("", rows[0][1])
    for _, _, expert, prompt, completion, cost, latency in rows:
        assert expert == "smollm2"
        assert 10 < prompt < 60
        assert 0 < completion <= 12
        assert abs(cost - (prompt * 0.01 + completion * 0.02) / 1e6) < 1e-12
        assert latency > 0
    with connect(pool=smollm2_pool, store=store) as con:
        assert [row[1] for row in con.execute(statement).fetchall()] == [row[1] for row in rows]
    assert did() == (1, 0)
