"""What a router makes of a run: the subject that a table tells, and experts that it has not learned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.training.learn import train
from leeroo.engine.pool import Pool, load_pool

N = 60
QUESTIONS = [f"What is item {i} of the list?" for i in range(N)]
SUBJECTS = [("botany", "zoology")[i // 2 % 2] for i in range(N)]


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Router:
    """'gardener' is right on botany and 'keeper' on zoology, and nothing in the words tells which is which."""
    folder = tmp_path_factory.mktemp("subjects")
    ids = [f"q-{i}" for i in range(N)]
    columns = {"query_id": ids, "split": ["train"] * N, "question": QUESTIONS, "subject": SUBJECTS}
    pq.write_table(pa.table({**columns, "category": ["life"] * N}), folder / "queries.parquet")
    rows = [
        {"query_id": q, "expert": expert, "score": float(subject == knows), "completion_tokens": 5}
        for q, subject in zip(ids, SUBJECTS, strict=True)
        for expert, knows in (("gardener-7b", "botany"), ("keeper-7b", "zoology"))
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "outcomes.parquet")
    return train([folder])


@pytest.fixture
def engine(router: Router, tmp_path: Path, data_folder: Path) -> Iterator[Engine]:
    """Provide an engine over the two, and a third expert that was never recorded."""
    pool = tmp_path / "pool.toml"
    pool.write_text(
        "".join(
            f'[[expert]]\nname = "{name}"\nmodel = "{data_folder}"\nbackend = "replay"\n'
            f"usd_per_m_input = {usd}\nusd_per_m_output = {usd}\n"
            for name, usd in (("gardener-7b", 2), ("keeper-7b", 2), ("keeper-8b", 1))
        )
    )
    with Engine(load_pool(pool), router, tmp_path / "store") as engine:
        yield engine


def routed(engine: Engine, **columns: list[str | None]) -> list[str]:
    """Return the experts chosen for the first four questions."""
    table = pa.table({"question": QUESTIONS[:4], **columns})
    return list(engine.route(table.to_reader(), Criteria()).read_all().column("expert").to_pylist())


def test_the_subject_decides_where_it_is_known(engine: Engine) -> None:
    """Columns `subject` and `category` of the input are used, and a question without one is still routed."""
    chosen = routed(engine, subject=["botany", "zoology", "botany", None], category=["life"] * 4)
    assert [name.split("-")[0] for name in chosen[:3]] == ["gardener", "keeper", "gardener"]
    assert all(routed(engine, subject=["Re: your invoice", None, "x", "y"]))


def test_a_free_expert_leaves_the_budget_to_others(router: Router, tmp_path: Path, engine: Engine) -> None:
    """Where one of two is free, a budget for one question buys the other's answer where it is better."""
    gardener, keeper, _ = engine.pool.experts
    free = gardener.model_copy(update={"usd_per_m_input": 0.0, "usd_per_m_output": 0.0})
    table = pa.table({"question": QUESTIONS[:4], "subject": SUBJECTS[:4], "category": ["life"] * 4})
    with Engine(Pool(default=keeper.name, experts=(free, keeper)), router, tmp_path / "other") as other:
        at_most = float(other.expect(table.to_reader(), Criteria()).at_most[:, 1].max())
        for answers in range(3):
            routed = other.route(table.to_reader(), Criteria(max_cost_usd=answers * at_most + 1e-9)).read_all()
            chosen = routed.column("expert").to_pylist()
            assert chosen.count(keeper.name) >= answers
            assert chosen.count(None) == 0
            assert {SUBJECTS[i] for i, name in enumerate(chosen) if name == keeper.name} <= {"zoology"}
            assert routed["expected_cost_usd"].to_pylist().count(0.0) == chosen.count(free.name)


def test_an_unknown_expert_does_as_the_most_similar(engine: Engine) -> None:
    """An expert without any outcome is expected to do as one of its name and size, and this is said."""
    said: list[str] = []
    engine.on_progress = lambda progress: said.extend(progress.warnings)
    chosen = routed(engine, subject=["zoology"] * 4, category=["life"] * 4)
    assert any("'keeper-8b': it is expected to do as 'keeper-7b' does, the most similar" in line for line in said)
    assert set(chosen) <= {"keeper-7b", "keeper-8b"}
    table = pa.table({"question": QUESTIONS[:4], "subject": ["zoology"] * 4, "category": ["life"] * 4})
    scores = {}
    for name in ("keeper-7b", "keeper-8b"):
        one = engine.route(table.to_reader(), Criteria(cost_weight=0 if name == "keeper-7b" else 1e6))
        scores[name] = one.read_all().column("predicted_score").to_pylist()
    assert scores["keeper-7b"] == pytest.approx(scores["keeper-8b"])


def test_lengths_that_a_router_has_not_learned_are_the_limit(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, engine: Engine
) -> None:
    """A router of outcomes without tokens still forecasts and keeps a budget, by `max_tokens`; this is said once."""
    folder = tmp_path_factory.mktemp("no-tokens")
    ids = [f"q-{i}" for i in range(N)]
    columns = {"query_id": ids, "split": ["train"] * N, "question": QUESTIONS}
    pq.write_table(pa.table(columns), folder / "queries.parquet")
    names = ("gardener-7b", "keeper-7b")
    rows = [{"query_id": q, "expert": name, "score": float(i % 2)} for i, q in enumerate(ids) for name in names]
    pq.write_table(pa.Table.from_pylist(rows), folder / "outcomes.parquet")
    with Engine(engine.pool, train([folder]), tmp_path / "other") as other:
        table = pa.table({"question": QUESTIONS[:4]})
        explanation = other.explain(table.to_reader(), Criteria())
        assert sum(part.completion_tokens for part in explanation.parts) == 4 * 256
        assert sum("has not learned how long answers of" in warning for warning in explanation.warnings) == 1
        assert other.route(table.to_reader(), Criteria(max_cost_usd=1.0)).read_all().column("expert").null_count == 0
