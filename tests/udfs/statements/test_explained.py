"""leeroo explain: the order of calls, what it saves, and where a LIMIT stops, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from leeroo.cli.main import app


def test_the_command_shows_order_and_limits(pool: Path, tmp_path: Path) -> None:
    """Text and JSON have the calls in their order, the most that each asks, and the first step of a LIMIT."""
    statement = """SELECT i FROM range(600) r(i) WHERE leeroo_answer('q' || i, expert := 'strong') = 'yes'
                   AND i % 10 = 0 AND leeroo_answer('q' || i) = 'yes' LIMIT 2"""
    options = ["--pool", str(pool), "--store", str(tmp_path / "store")]
    text = CliRunner().invoke(app, ["explain", statement, *options])
    assert text.exit_code == 0
    assert "1. leeroo_answer(('q' || i)) = 'yes': at most 60 questions" in text.stdout
    assert "until 2 are found. The questions above are those of the first 7 rows." in text.stdout
    found = json.loads(CliRunner().invoke(app, ["explain", statement, *options, "--json"]).stdout)
    (chain,) = found["order"]
    assert [call["questions"] for call in chain] == [60, 60]
    assert chain[0]["usd"] < chain[1]["usd"]
    assert found["limits"] == [{"wanted": 2, "first": 7, "why_not": None}]
    assert found["questions_first"] == found["questions_at_most"] == 60
