"""leeroo_experts(), leeroo_runs() and leeroo_spend(): what an engine has and did, in SQL."""

from __future__ import annotations

import pytest

from leeroo.udfs.connection import Connection


def test_the_experts_of_the_pool_are_a_table(con: Connection) -> None:
    """leeroo_experts() has the rows that `leeroo experts` lists."""
    rows = con.execute(
        'SELECT expert, "default", backend, usd_per_m_input, unavailable FROM leeroo_experts()'
    ).fetchall()
    assert rows == [("large", True, "replay", 100.0, None), ("small", False, "replay", 10.0, None)]


def test_runs_and_spend_grow_with_statements(con: Connection) -> None:
    """Every batch is a run; what is answered from the store costs nothing."""
    assert con.execute("SELECT count(*) FROM leeroo_runs()").fetchall() == [(0,)]
    assert con.execute("FROM leeroo_spend()").fetchall() == []
    con.execute("SELECT leeroo_answer(question) FROM t")
    con.execute("SELECT leeroo_answer(question, expert := 'small') FROM t WHERE id < 4")
    runs = con.execute(
        "SELECT rows, cost_usd, list_cost_usd, finished - started < INTERVAL 1 MINUTE FROM leeroo_runs()"
    )
    assert runs.fetchall() == [
        (40, pytest.approx(0.06), pytest.approx(0.06), True),
        (4, pytest.approx(0.0006), pytest.approx(0.0006), True),
    ]
    spend = con.execute(
        "SELECT expert, answers, prompt_tokens, completion_tokens, cost_usd FROM leeroo_spend() ORDER BY 1"
    )
    assert spend.fetchall() == [
        ("large", 40, 400, 200, pytest.approx(0.06)),
        ("small", 4, 40, 20, pytest.approx(0.0006)),
    ]
    assert (
        con.execute("SELECT day = current_date OR day = current_date - 1 FROM leeroo_spend()").fetchall()
        == [(True,)] * 2
    )
