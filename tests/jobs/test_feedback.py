"""Feedback: judged, kept, replaced, and written as outcomes that a router learns from."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.errors import OutputError
from leeroo.engine.jobs.feedback import export_feedback, find_drifts, give, judge_feedback, summary, warnings
from leeroo.engine.jobs.verify import check_for
from leeroo.engine.orchestrator.outcomes.read import read_outcomes, read_prices
from leeroo.engine.pool import load_pool
from leeroo.engine.store.feedback import Feedback
from leeroo.engine.store.store import Store

Ask = Callable[..., None]
Q = "What is {0} plus {0}?"


@pytest.fixture
def ask(engine: Engine, questions: Callable[..., pa.RecordBatchReader]) -> Ask:
    """Have an expert answer recorded questions."""

    def make(expert: str, *numbers: int) -> None:
        reader = questions(*(Q.format(i) for i in numbers))
        engine.answer_table(reader, Criteria(expert=expert))

    return make


def _outcomes(store: Store) -> list[tuple[object, ...]]:
    return sorted((r["question"], r["expert"], r["answer"], r["score"], r["judged_by"]) for r in judge_feedback(store))


@pytest.mark.parametrize(
    ("gold", "check"),
    [
        ("12", "numeric"),
        (" -1,234.5e3 ", "numeric"),
        ("B", "choice"),
        ("K", "exact"),
        ("AB", "exact"),
        ("12 m", "exact"),
    ],
)
def test_the_form_of_a_gold_says_how_it_is_compared(gold: str, check: str) -> None:
    """Numbers are compared by value, single letters as choices, and the rest as text."""
    assert check_for(gold) == check


def test_missing_expert_or_answer_is_filled_in(engine: Engine, ask: Ask) -> None:
    """A row without an expert means the one that gave its answer, else the last one; without an answer, the expert's own."""
    ask("large", 1)
    ask("small", 1)
    rows = [Feedback(Q.format(1), score=0.5), Feedback(Q.format(1), answer="large says 2", score=0.25)]
    assert give(engine.store, rows) == []
    assert _outcomes(engine.store) == [
        (Q.format(1), "large", "large says 2", 0.25, "user"),
        (Q.format(1), "small", "small says 2", 0.5, "user"),
    ]


def test_outcomes_have_tokens_and_cost(engine: Engine, ask: Ask) -> None:
    """Tokens and cost of an outcome are those that the store has for the answer."""
    ask("small", 1)
    give(engine.store, [Feedback(Q.format(1), gold="2")])
    [row] = judge_feedback(engine.store)
    assert (row["prompt_tokens"], row["completion_tokens"], row["cost_usd"]) == (10, 5, pytest.approx(15e-5))


def test_later_feedback_replaces_earlier(engine: Engine, ask: Ask) -> None:
    """A score replaces a score, and a gold a gold; a gold does not replace a score."""
    ask("small", 1, 2)
    for gold in ("5", "2"):
        give(engine.store, [Feedback(Q.format(1), gold=gold)])
    for score in (0.1, 0.9):
        give(engine.store, [Feedback(Q.format(2), "small", score=score)])
    give(engine.store, [Feedback(Q.format(2), gold="5")])
    assert [row[3:] for row in _outcomes(engine.store)] == [(1.0, "numeric"), (0.9, "user")]


def test_a_later_answer_does_not_get_an_earlier_score(engine: Engine, ask: Ask) -> None:
    """A score stays with the answer that was judged."""
    give(engine.store, [Feedback(Q.format(1), "small", "three", 0.0)])
    ask("small", 1)
    assert _outcomes(engine.store) == [(Q.format(1), "small", "three", 0.0, "user")]


def test_a_bad_row_fails_alone(engine: Engine, ask: Ask) -> None:
    """Bad rows are reported with their positions, and the others are kept."""
    ask("small", 1)
    rows = [Feedback(Q.format(1), gold="2"), Feedback("never asked", gold="2"), Feedback(Q.format(1), "small", score=2)]
    assert [at for at, _ in give(engine.store, rows, ["small"])] == [1, 2]
    assert len(judge_feedback(engine.store)) == 1


def test_feedback_is_exported_as_a_data_folder(engine: Engine, ask: Ask, tmp_path: Path, pool_file: Path) -> None:
    """The folder has outcomes and the pool's prices; a second export replaces it, and other folders are left alone."""
    ask("small", *range(12))
    ask("large", *range(6))
    give(engine.store, [Feedback(Q.format(i), gold=str(2 * i + (i > 8))) for i in range(12)])
    give(engine.store, [Feedback("What else?", "retired", score=1.0)])
    folder = tmp_path / "learned"
    for _ in range(2):
        assert export_feedback(engine.store, load_pool(pool_file), folder) == 18
    outcomes = read_outcomes([folder])
    assert outcomes.experts == ("large", "small")
    assert np.nansum(outcomes.scores, axis=0).tolist() == [6, 9]
    assert np.nanmean(outcomes.cost_usd, axis=0) == pytest.approx([15e-4, 15e-5])
    assert read_prices([folder], outcomes.experts).tolist() == [[100, 10], [100, 10]]
    assert set(pq.read_table(folder / "outcomes.parquet").column("judged_by").to_pylist()) == {"numeric"}
    assert export_feedback(engine.store, None, folder) == 19  # of any expert
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").touch()
    with pytest.raises(OutputError, match="is no data folder"):
        export_feedback(engine.store, None, mine)
    assert [file.name for file in mine.iterdir()] == ["notes.txt"]


def test_only_the_expert_that_drifts_is_reported(tmp_path: Path) -> None:
    """The report says by how much, since when, and over how many outcomes."""
    store = Store(tmp_path)
    for part, right in (("before", 0.7), ("after", 0.2)):
        rows = [
            Feedback(f"{part} {i}", expert, score=float(i % 10 < 10 * share), predicted_score=0.7)
            for i in range(60)
            for expert, share in (("steady", 0.7), ("drifting", right))
        ]
        give(store, rows)
    means = {name: (n, round(mean, 6)) for name, (n, mean) in summary(judge_feedback(store)).items()}
    assert means == {"drifting": (120, 0.45), "steady": (120, 0.7)}
    [(name, (drift, _))] = find_drifts(judge_feedback(store)).items()
    assert name == "drifting"
    assert drift.shift == pytest.approx(-0.5, abs=0.05)
    assert drift.n == pytest.approx(60, abs=8)
    [line] = warnings(judge_feedback(store))
    assert line.startswith("expert drifting: answers come out 0.5")
    assert "below what the router expects since 20" in line


def _give_forever(folder: Path, done: str) -> None:
    store = Store(folder)
    for i in range(1_000_000):
        store.give(Feedback(f"{i} of {j}", "small", score=1.0) for j in range(50))
        Path(done).write_text(str(i + 1))


def test_a_killed_process_leaves_whole_statements(tmp_path: Path) -> None:
    """Feedback given in one call is kept whole or not at all, and no finished call is lost."""
    done = tmp_path / "done"
    process = multiprocessing.get_context("spawn").Process(target=_give_forever, args=(tmp_path / "store", str(done)))
    process.start()
    while not done.exists() or int(done.read_text() or 0) < 20:
        assert process.is_alive()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    kept = len(judge_feedback(Store(tmp_path / "store")))
    assert kept % 50 == 0
    assert kept >= 50 * int(done.read_text() or 0)


def test_answers_are_compared_with_golds_once(engine: Engine, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores are kept in the store; only a new answer or a new gold is compared again."""
    compared: list[object] = []

    def score(answer: str | None, gold: str, check: str) -> float:
        compared.append((answer, gold))
        return float(gold in (answer or ""))

    monkeypatch.setattr("leeroo.engine.jobs.feedback.score", score)
    ask("small", 1, 2)
    assert give(engine.store, [Feedback(Q.format(1), gold="2"), Feedback(Q.format(2), gold="5")]) == []
    first = _outcomes(engine.store)
    assert [row[3] for row in first] == [1.0, 0.0]
    assert _outcomes(engine.store) == first
    assert len(compared) == 2
    give(engine.store, [Feedback(Q.format(2), gold="4")])
    assert [row[3] for row in _outcomes(engine.store)] == [1.0, 1.0]
    assert len(compared) == 3


def test_a_gold_that_is_no_short_answer_is_refused(engine: Engine, ask: Ask) -> None:
    """The error says in one line how long a gold may be, and the other rows are kept."""
    ask("small", 1)
    long = "; ".join(f"answer {i}" for i in range(15_000))
    rows = [Feedback(Q.format(1), gold=long), Feedback(Q.format(1), gold="2")]
    [(at, wrong)] = give(engine.store, rows)
    assert (at, len(wrong.splitlines())) == (0, 1)
    assert "has more than 1,024 characters: give a short one, or a score" in wrong
    assert len(judge_feedback(engine.store)) == 1
