"""The one road: a table of questions in, the same table with answers and costs out."""

from __future__ import annotations

import datetime
import decimal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Engine, Progress
from leeroo.engine.errors import InputError, PoolError, RowsFailed
from leeroo.engine.pool import load_pool
from leeroo.engine.schema import ANSWERS

Ask = Callable[..., pa.RecordBatchReader]
LARGE = 15 * 100 / 1e6  # USD: 15 tokens at 100 dollars a million
SMALL = 15 * 10 / 1e6


def q(i: int) -> str:
    """Return the i-th question of the recorded ones."""
    return f"What is {i} plus {i}?"


def test_every_row_gets_its_recorded_answer(engine: Engine, questions: Ask) -> None:
    """Without a router the default expert answers, and the row says who, what, and at what cost."""
    rows = engine.answer_table(questions(q(1), q(2)), Criteria()).to_pylist()
    assert [r["answer"] for r in rows] == ["large says 2", "large says 4"]
    first = rows[0]
    assert (first["expert"], first["prompt_tokens"], first["completion_tokens"]) == ("large", 10, 5)
    assert first["cost_usd"] == first["list_cost_usd"] == pytest.approx(LARGE)
    assert (first["finish_reason"], first["error"], first["predicted_score"]) == ("stop", None, None)
    assert first["recorded_score"] == 1.0


def test_rows_keep_their_order_and_columns(engine: Engine) -> None:
    """The input's own columns come back as they were, of any type, in their order."""
    table = pa.table(
        {
            "when": pa.array([datetime.datetime(2024, 5, i + 1) for i in range(20)], pa.timestamp("us", "UTC")),
            "amount": pa.array([decimal.Decimal(i) for i in range(20)], pa.decimal128(12, 3)),
            "question": pa.array([q(i % 7) for i in range(20)]).dictionary_encode(),
            "Question": list(range(20)),
            "nested": [{"a": [i]} for i in range(20)],
        }
    )
    out = engine.answer_table(table.to_reader(max_chunksize=3), Criteria())
    assert out.select(table.column_names).equals(table)
    assert out.schema.names == [*table.column_names, *ANSWERS.names, "recorded_score"]
    assert out.column("answer").to_pylist() == [f"large says {2 * (i % 7)}" for i in range(20)]


def test_a_long_table_keeps_its_order(engine: Engine, questions: Ask) -> None:
    """Threads work on many parts of a long table at once, and every row still has its own answer."""
    out = engine.answer_table(questions(*(q(i % 40) for i in range(500_000))), Criteria())
    assert out.column("answer").to_pylist() == [f"large says {2 * (i % 40)}" for i in range(500_000)]


def test_equal_rows_are_paid_for_once(engine: Engine, questions: Ask) -> None:
    """The first of equal rows carries the cost, all of them the list cost."""
    rows = engine.answer_table(questions(q(1), q(2), q(1), q(1)), Criteria()).to_pylist()
    assert [r["cost_usd"] for r in rows] == pytest.approx([LARGE, LARGE, 0, 0])
    assert [r["list_cost_usd"] for r in rows] == pytest.approx([LARGE] * 4)


def test_null_and_blank_ask_nothing(engine: Engine, questions: Ask) -> None:
    """A NULL or blank question is NULL at no cost and no fault."""
    rows = engine.answer_table(questions(None, "  ", q(1), "", "\x00"), Criteria()).to_pylist()
    assert rows[2]["answer"] == "large says 2"
    nothing = dict.fromkeys(rows[0]) | {"cost_usd": 0, "list_cost_usd": 0}
    for i in (0, 1, 3, 4):
        assert rows[i] == nothing | {"id": i, "question": rows[i]["question"]}


def test_an_unknown_question_fails_alone(engine: Engine, questions: Ask) -> None:
    """A row that the expert cannot answer has its error and costs nothing; the next row is answered."""
    rows = engine.answer_table(questions("never recorded", q(3)), Criteria()).to_pylist()
    assert rows[0]["answer"] is None
    assert rows[0]["error"]
    assert rows[0]["cost_usd"] == 0
    assert rows[1]["answer"] == "large says 6"


def test_an_empty_table_is_answered(engine: Engine, questions: Ask) -> None:
    """A table without rows comes back without rows, and with all columns."""
    out = engine.answer_table(questions(), Criteria())
    assert out.num_rows == 0
    assert "answer" in out.column_names


def test_a_pinned_expert_answers_everything(engine: Engine, questions: Ask) -> None:
    """`expert=` overrides the choice, and an unknown name is refused with the names there are."""
    out = engine.answer_table(questions(q(1)), Criteria(expert="small"))
    assert out.column("answer").to_pylist() == ["small says 2"]
    with pytest.raises(PoolError, match="large"):
        engine.answer_table(questions(q(1)), Criteria(expert="huge"))


def test_a_row_may_pin_its_own_expert(engine: Engine) -> None:
    """Arguments of a row's own travel in the ask column, and differ from row to row."""
    asks = pa.array([{"expert": "small"}, None, {"expert": "large"}], pa.struct([("expert", pa.string())]))
    table = pa.table({"question": [q(1)] * 3, "ask": asks})
    rows = engine.answer_table(table.to_reader(), Criteria(ask_column="ask")).to_pylist()
    assert [r["answer"] for r in rows] == ["small says 2", "large says 2", "large says 2"]
    # The last two differ in how the expert came to be asked, not in what it was asked.
    assert [r["cost_usd"] for r in rows] == pytest.approx([SMALL, LARGE, 0])


def test_an_unknown_expert_of_a_row_is_named(engine: Engine) -> None:
    """A row with an unknown expert is a usage error before anything is generated."""
    asks = pa.array([{"expert": "huge"}], pa.struct([("expert", pa.string())]))
    with pytest.raises(PoolError, match="'huge'.*large, small"):
        engine.answer_table(pa.table({"question": [q(1)], "ask": asks}).to_reader(), Criteria(ask_column="ask"))


def test_private_rows_stay_local(pool_file: Path, tmp_path: Path) -> None:
    """A private row never reaches a remote expert: another takes it, or it fails and says why."""
    text = pool_file.read_text().replace('name = "large"', 'name = "large"\nlocation = "remote"')
    pool_file.write_text(text)
    table = pa.table({"question": [q(1), q(2)], "secret": [True, False]})
    with Engine(load_pool(pool_file), store=tmp_path / "store") as engine:
        rows = engine.answer_table(table.to_reader(), Criteria(private_column="secret")).to_pylist()
        assert [r["expert"] for r in rows] == ["small", "large"]
        pinned = Criteria(private_column="secret", expert="large")
        rows = engine.answer_table(table.to_reader(), pinned).to_pylist()
        assert rows[0]["error"] == "the row is private and no local expert can answer it"
        assert rows[1]["expert"] == "large"


def test_names_that_clash_need_a_prefix(engine: Engine) -> None:
    """A column of the input is never hidden: the run is refused until a prefix is given."""
    table = pa.table({"question": [q(1)], "Answer": ["mine"]})
    with pytest.raises(InputError, match="'answer'.*prefix"):
        engine.answer_table(table.to_reader(), Criteria())
    out = engine.answer_table(table.to_reader(), Criteria(prefix="l_"))
    assert out.column("Answer").to_pylist() == ["mine"]
    assert out.column("l_answer").to_pylist() == ["large says 2"]


def test_failing_rows_fail_the_run_with_on_error_fail(engine: Engine, questions: Ask) -> None:
    """on_error='fail' raises, names the first row that failed, and keeps what was answered."""
    with pytest.raises(RowsFailed, match="1 rows failed, the first of them row 2: the question is not among"):
        engine.answer_table(questions(q(1), "never recorded"), Criteria(on_error="fail"))
    seen: list[Progress] = []
    engine.on_progress = seen.append
    engine.answer_table(questions(q(1)), Criteria())
    assert seen[-1].from_store == 1


def test_the_progress_adds_up(engine: Engine, questions: Ask) -> None:
    """The last snapshot has the rows, failures, duplicates and each expert's share."""
    seen: list[Progress] = []
    engine.on_progress = seen.append
    engine.answer_table(questions(q(1), q(1), " ", None, q(2)), Criteria())
    last = seen[-1]
    assert (last.stage, last.rows, last.rows_done, last.failed, last.duplicates) == ("done", 5, 5, 0, 1)
    assert last.cost_usd == pytest.approx(2 * LARGE)
    assert last.list_cost_usd == pytest.approx(3 * LARGE)
    assert (last.experts["large"].rows, last.experts["large"].completion_tokens) == (3, 10)


def test_working_files_are_gone_when_the_rows_are_read(engine: Engine, questions: Ask) -> None:
    """Nothing is left in the scratch folder after a run, or after one that failed."""
    engine.answer_table(questions(q(1)), Criteria())
    with pytest.raises(RowsFailed):
        engine.answer_table(questions("never recorded"), Criteria(on_error="fail"))
    assert list(engine.store.scratch.iterdir()) == []


def test_recorded_answers_are_kept_in_the_order_of_their_keys(engine: Engine, questions: Ask) -> None:
    """Their keys then lie beside each other in the index of the store, however many it holds."""
    engine.answer_table(questions(*(q(i) for i in range(40))), Criteria())
    with sqlite3.connect(engine.store.folder / "answers.sqlite") as db:
        kept = [key for (key,) in db.execute("SELECT key FROM answers ORDER BY rowid")]
    assert len(kept) == 40
    assert kept == sorted(kept)
