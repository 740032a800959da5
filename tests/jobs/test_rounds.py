"""Asking cheap experts first and letting their agreement decide, as MMLU does it with a router that has learned when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.errors import RouterError
from leeroo.engine.jobs.mmlu.data import read_questions
from leeroo.engine.jobs.mmlu.mmlu import Results, run_mmlu
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.training.learn import extend, train
from leeroo.engine.pool import load_pool
from leeroo.engine.schema import EXPERTS, OUTCOMES, QUERIES
from leeroo.reports.mmlu import headline

TRAIN, TEST = 1000, 400
# Name, how often it is right, and USD per million tokens; each answer costs 12 tokens.
CHEAP, ALSO_CHEAP, DEAR = ("cheap", 0.6, 1.0), ("also-cheap", 0.6, 1.0), ("dear", 0.9, 20.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions that tell nothing about who will be right, which is by luck, each expert's own."""
    random = np.random.default_rng(0)
    place = tmp_path_factory.mktemp("luck")
    letters = "ABCDEFGH"
    queries, outcomes = [], []
    for i in range(TRAIN + TEST):
        gold = int(random.integers(8))
        text = f"Which of the boxes in room {i} is full?"
        split = "train" if i < TRAIN else "test"
        about = {"dataset": "luck", "split": split, "subject": "anatomy", "category": "other"}
        choices = [f"box {k}" for k in range(8)]
        query = {"query_id": f"q{i}", "question": text, "prompt": text, "choices": choices, "answer": letters[gold]}
        queries.append(query | about)
        for name, rate, _ in (CHEAP, ALSO_CHEAP, DEAR):
            right = random.random() < rate
            said = letters[gold if right else (gold + int(random.integers(1, 8))) % 8]
            told = {"response": said, "prediction": said, "prompt_tokens": 11, "completion_tokens": 1}
            outcomes.append({"query_id": f"q{i}", "expert": name, "score": float(right), **told})
    prices = [
        {"expert": name, "model": name, "license_open": True, "usd_per_m_input": usd, "usd_per_m_output": usd}
        for name, _, usd in (CHEAP, ALSO_CHEAP, DEAR)
    ]
    tables = (("queries", queries, QUERIES), ("outcomes", outcomes, OUTCOMES), ("experts", prices, EXPERTS))
    for name, rows, schema in tables:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), place / f"{name}.parquet")
    entry = '[[expert]]\nname = "{}"\nmodel = "."\nbackend = "replay"\nusd_per_m_input = {}\nusd_per_m_output = {}\n'
    (place / "pool.toml").write_text(
        "".join(entry.format(name, usd, usd) for name, _, usd in (CHEAP, ALSO_CHEAP, DEAR))
    )
    return place


@pytest.fixture(scope="module")
def router(folder: Path) -> Router:
    """Learned with what cascades are planned on."""
    return train([folder], cascades=True)


def _run(folder: Path, router: Router, store: Path, budget_usd: float | None) -> Results:
    with Engine(load_pool(folder / "pool.toml"), router, store) as engine:
        return run_mmlu(engine, read_questions(str(folder)), Criteria(max_cost_usd=budget_usd), compare=False)


def test_the_dear_one_is_asked_where_the_cheap_ones_differ(folder: Path, router: Router, tmp_path: Path) -> None:
    """More are right than by choosing once for the same money, and all that was asked is paid for, once."""
    budget = 0.7 * TEST * 12 * 20e-6
    rounds = _run(folder, router, tmp_path / "rounds", budget)
    once = _run(folder, replace(router, precedents=None), tmp_path / "once", budget)
    assert set(rounds.asked_first) == {"cheap", "also-cheap"}
    assert once.asked_first == ()
    assert rounds.accuracy.value > once.accuracy.value + 0.03
    asked = rounds.experts["dear"].n
    assert rounds.cost_usd == pytest.approx((TEST * 2 * 1e-6 + asked * 20e-6) * 12)
    assert rounds.cost_usd == pytest.approx(rounds.list_cost_usd)
    assert rounds.cost_usd <= budget
    assert "cheap asked first" in headline(rounds)
    assert once.cost_usd <= budget


def test_a_run_that_was_not_delivered_goes_on(folder: Path, router: Router, tmp_path: Path) -> None:
    """The same call again comes to the same answers at the same cost, as after a kill."""
    budget = 0.7 * TEST * 12 * 20e-6
    first, again = (_run(folder, router, tmp_path / "store", budget) for _ in range(2))
    assert again.answers.equals(first.answers)


@pytest.mark.parametrize("budget_usd", [None, 1.5 * TEST * 12 * 1e-6, 100.0])
def test_where_it_does_not_pay_it_is_not_done(
    folder: Path, router: Router, tmp_path: Path, budget_usd: float | None
) -> None:
    """Without a budget the best is asked; with a small one the dear one is out of reach; a large one pays for it."""
    assert _run(folder, router, tmp_path / "store", budget_usd).asked_first == ()


def test_what_was_learned_is_kept(folder: Path, router: Router, tmp_path: Path) -> None:
    """A saved router plans the same, one without does as before, and new experts end it, which is said."""
    router.save(tmp_path / "router")
    loaded = Router.load(tmp_path / "router")
    assert loaded.fingerprint == Router.load(tmp_path / "router").fingerprint
    assert loaded.precedents is not None
    assert loaded.precedents.scores.shape == (TRAIN, 3)
    budget = 0.7 * TEST * 12 * 20e-6
    assert set(_run(folder, loaded, tmp_path / "store", budget).asked_first) == {"cheap", "also-cheap"}
    other = tmp_path / "other"
    other.mkdir()
    pq.write_table(pq.read_table(folder / "queries.parquet"), other / "queries.parquet")
    outcomes = pq.read_table(folder / "outcomes.parquet").to_pylist()
    new = [row | {"expert": "new"} for row in outcomes if row["expert"] == "dear"]
    pq.write_table(pa.Table.from_pylist(new, schema=OUTCOMES), other / "outcomes.parquet")
    said: list[str] = []
    assert extend(loaded, [other], on_progress=said.append).precedents is None
    assert any("no cascades are planned" in line for line in said)


def test_without_recorded_answers_there_is_nothing_to_plan_on(folder: Path, tmp_path: Path) -> None:
    """And this is said before anything is learned."""
    pq.write_table(pq.read_table(folder / "queries.parquet"), tmp_path / "queries.parquet")
    told = pq.read_table(folder / "outcomes.parquet").drop_columns(["prediction"])
    pq.write_table(told, tmp_path / "outcomes.parquet")
    with pytest.raises(RouterError, match="no column 'prediction'"):
        train([tmp_path], cascades=True)
