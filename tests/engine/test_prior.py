"""A shipped router stands in for a router: how runs, statements and labelling use it, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import leeroo
from leeroo.engine.answer import Criteria, Engine, open_engine
from leeroo.engine.errors import RouterError
from leeroo.engine.jobs.label import Labels, label_rows

QUESTIONS = [f"What is {i} plus {i}?" for i in range(12)]
CRITERIA = Criteria()


@pytest.fixture
def pool(tmp_path: Path, api_entry: Callable[..., str]) -> Path:
    """Provide a pool of two known models and one that nobody knows; the cheapest is the default."""
    experts = (("gpt-4o-mini", 0.3, 30), ("gpt-4o", 5, 30), ("house-model-3", 1, 30))
    (tmp_path / "pool.toml").write_text("".join(api_entry(*expert) for expert in experts))
    return tmp_path / "pool.toml"


def _answer(engine: Engine, criteria: Criteria = CRITERIA) -> pa.Table:
    return engine.answer_table(pa.table({"question": QUESTIONS}).to_reader(), criteria)


def test_answers_carry_what_the_prior_expected(pool: Path, tmp_path: Path) -> None:
    """Rows have a predicted score each, and the best expert has most of them; with 'none' the default has all."""
    with open_engine(pool, store=tmp_path / "store") as engine:
        answers = _answer(engine)
    assert all(0 < score < 1 for score in answers.column("predicted_score").to_pylist())
    assert set(answers.column("expert").to_pylist()) - {"gpt-4o-mini"}
    assert answers.column("error").null_count == len(QUESTIONS)
    with open_engine(pool, "none", tmp_path / "store") as engine:
        assert set(_answer(engine).column("expert").to_pylist()) == {"gpt-4o-mini"}


def test_the_prior_is_named_once(pool: Path, tmp_path: Path) -> None:
    """The first run that it chooses for has the line among its warnings; runs with a pinned expert have none."""
    said: list[tuple[str, ...]] = []
    with open_engine(pool, store=tmp_path / "store", on_progress=lambda now: said.append(now.warnings)) as engine:
        assert engine.prior is not None
        _answer(engine, Criteria(expert="gpt-4o"))
        assert not any(said)
        _answer(engine)
        assert said[-1] == (engine.prior.remark,)
        before = len(said)
        _answer(engine, Criteria(cost_weight=1))
        assert len(said) > before
        assert not any(said[before:])


def test_statements_name_the_prior_once(pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SQL has scores of the known models, and prints the line once for a connection."""
    with leeroo.connect(pool=pool, store=tmp_path / "store") as con:
        for number in (1, 2):
            con.execute(f"SELECT leeroo_route('What is {number} plus {number}?')").fetchall()
        assert capsys.readouterr().err.count("the shipped router 'mmlu-redux' chooses") == 1
        row = con.execute("SELECT map_keys(leeroo_scores('What is 2 plus 2?'))").fetchone()
    assert row == (["gpt-4o-mini", "gpt-4o"],)
    with leeroo.connect(pool=pool, store=tmp_path / "store", router="none") as con, pytest.raises(RouterError):
        con.execute("SELECT leeroo_scores('What is 2 plus 2?')")


def test_labels_do_not_rest_on_scores_of_other_tasks(tmp_path: Path, api: Any, api_entry: Callable[..., str]) -> None:
    """An unsure label goes on to a more expensive expert, also to one with low scores on knowledge questions."""
    experts = (("qwen2.5-72b-instruct", 1, 3), ("gemma-2-2b-it", 10, 3))
    (tmp_path / "pool.toml").write_text("".join(api_entry(*expert) for expert in experts))
    api.says = lambda model, prompt: {"red": 0.95, "blue": 0.05} if "gemma" in model else {"red": 0.1, "blue": 0.9}
    table = pa.table({"text": ["sunset", "blood"]})
    with open_engine(tmp_path / "pool.toml", store=tmp_path / "store") as engine:
        assert engine.prior is not None
        expected = engine.expect(pa.table({"question": ["sunset"]}).to_reader(), Criteria()).scores[0]
        assert expected[1] < 0.9  # by which no row would be sent on
        labelled = label_rows(
            engine, table.to_reader(), Labels(("red", "blue")), Criteria(column="text"), calibrate=False, enough=0.95
        )
    assert labelled.column("expert").to_pylist() == ["gemma-2-2b-it"] * 2


def test_stored_answers_say_how_long_answers_are_where_the_prior_does_not(
    tmp_path: Path, api_entry: Callable[..., str]
) -> None:
    """HELM's single letters say nothing of lengths: the limit is expected, and stored answers once there are ten."""
    experts = (("gpt-4-0613", 1, 500), ("gpt-4-1106-preview", 2, 500))
    (tmp_path / "pool.toml").write_text("".join(api_entry(*expert) for expert in experts))
    said: list[str] = []
    with open_engine(
        tmp_path / "pool.toml", store=tmp_path / "store", on_progress=lambda now: said.extend(now.warnings)
    ) as engine:
        first = engine.expect(pa.table({"question": QUESTIONS}).to_reader(), Criteria()).costs
        assert any("has not learned how long answers" in line for line in said)
        for expert, *_ in experts:
            _answer(engine, Criteria(expert=expert))
        said.clear()
        later = engine.expect(pa.table({"question": QUESTIONS}).to_reader(), Criteria()).costs
    assert not said
    assert (later < first / 2).all()
