"""Routers learned from outcomes that do not say how long answers are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from leeroo.cli.main import app
from leeroo.engine.orchestrator.training.learn import train
from tests.orchestrator.conftest import Topics


def _folder(topics: Topics, folder: Path, *, costs: bool = False) -> Path:
    """Return outcomes of model, question and score, with costs if wanted, and prices then."""
    questions = topics.sums(15) + topics.facts(15)
    queries, outcomes = topics.recorded(questions)
    bare: list[dict[str, Any]] = [{name: row[name] for name in ("query_id", "expert", "score")} for row in outcomes]
    if costs:  # one dollar a million in, ten out: 40 tokens each, beside the prompt's
        for row, whole in zip(bare, outcomes, strict=True):
            prompt = next(query["prompt"] for query in queries if query["query_id"] == whole["query_id"])
            row["cost_usd"] = (len(prompt) / 4 * 1 + 40 * 10) / 1e6
        names = ["counter", "oracle", "reader"]
        prices = {"expert": names, "usd_per_m_input": [1.0] * 3, "usd_per_m_output": [10.0] * 3}
        folder.mkdir()
        pq.write_table(pa.table(prices), folder / "experts.parquet")
    return topics.write(folder, queries, bare)


def test_lengths_follow_from_costs_and_prices(topics: Topics, tmp_path: Path) -> None:
    """Where only costs are recorded, lengths follow from them; that is said once."""
    lines: list[str] = []
    router = train([_folder(topics, tmp_path / "data", costs=True)], ["static"], on_progress=lines.append)
    prediction = router.predict(["What is 4 plus 9?"])
    assert prediction.completion_tokens == pytest.approx(np.full((1, 3), 40), abs=1)
    assert sum("follow from costs and prices" in line for line in lines) == 1


def test_unknown_lengths_are_nan(topics: Topics, tmp_path: Path) -> None:
    """Lengths that were never recorded are predicted as NaN."""
    lines: list[str] = []
    folder = _folder(topics, tmp_path / "data")
    router = train([folder], ["static"], on_progress=lines.append)
    assert np.isnan(router.predict(["What is 4 plus 9?"]).completion_tokens).all()
    assert sum("max_tokens" in line for line in lines) == 1


def test_a_router_without_lengths_works(topics: Topics, tmp_path: Path) -> None:
    """Routing, running and explaining take the experts' limits for the lengths, and leave no row out."""
    data = _folder(topics, tmp_path / "data")
    train([data], ["static"]).save(tmp_path / "router")
    entry = '[[expert]]\nname = "{}"\nmodel = "data"\nbackend = "replay"\nusd_per_m_input = 1\nusd_per_m_output = {}\n'
    pool = "".join(entry.format(name, price) for name, price in (("counter", 1), ("reader", 2), ("oracle", 9)))
    (tmp_path / "pool.toml").write_text(pool)
    pq.write_table(pa.table({"question": topics.sums(6) + topics.facts(6)}), tmp_path / "t.parquet")
    options = ["--pool", "pool.toml", "--router", "router", "--store", str(tmp_path / "store")]
    for more in ([], ["--max-cost-usd", "0.05"]):
        for command in (["route", "t.parquet", "--out", "r.parquet"], ["run", "t.parquet", "--out", "o.parquet"]):
            _run(tmp_path, [*command, *options, *more])
        assert pq.read_table(tmp_path / "r.parquet")["expert"].null_count == 0
        assert pq.read_table(tmp_path / "o.parquet")["recorded_score"].null_count == 0
    estimates = json.loads(_run(tmp_path, ["explain", "t.parquet", "--json", *options]))["estimates"]
    assert len(estimates) == 1


def _run(folder: Path, arguments: list[str]) -> str:
    here = [str(folder / each) if (folder / each).exists() or each.endswith("parquet") else each for each in arguments]
    result = CliRunner().invoke(app, here, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout
