"""Self-play: rounds that learn, with experts behind a real API whose skills are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from leeroo.engine.answer import Engine
from leeroo.engine.errors import PoolError, UsageError
from leeroo.engine.jobs.feedback import give
from leeroo.engine.jobs.selfplay.generate import NewQuestion
from leeroo.engine.jobs.selfplay.loop import Play, play
from leeroo.engine.jobs.selfplay.played import Played, read_played
from leeroo.engine.jobs.selfplay.state import spent_usd
from leeroo.engine.pool import Pool, load_pool
from leeroo.engine.store.feedback import Feedback
from leeroo.reports.page import page
from leeroo.reports.selfplay import headline, selfplay_report
from tests.provider import Provider
from tests.school import FAMILIES, SKILLS, School

pytestmark = pytest.mark.usefixtures("kept_vectors")


@pytest.fixture
def pool_of(api: Provider, api_entry: Callable[..., str], tmp_path: Path) -> Callable[..., Pool]:
    """Make a pool of these experts; 'strong' and 'judge' cost ten times what the others do."""
    api.says = School(tmp_path / "play").says

    def make(*names: str) -> Pool:
        file = tmp_path / "pool.toml"
        entries = [api_entry(name, 10 if name in ("strong", "judge") else 1, 20) for name in names]
        file.write_text(f'default = "{names[0]}"\n' + "".join(entries))
        return load_pool(file)

    return make


def _play(pool: Pool, tmp_path: Path, rounds: int, **what: object) -> list[str]:
    said: list[str] = []
    some = {"outcomes": 20, "held_out": 60, "written": 0.0, "families": FAMILIES, **what}
    with Engine(pool, store=tmp_path / "store") as engine:
        play(engine, tmp_path / "play", Play(**some), rounds, said.append)  # type: ignore[arg-type]
    return said


def test_rounds_raise_the_held_out_score(pool_of: Callable[..., Pool], tmp_path: Path) -> None:
    """The router learns who is good at what, and each round keeps its data, its router and its score."""
    said = _play(pool_of("strong", "weak"), tmp_path, 2)
    played = read_played(tmp_path / "play")
    assert [row["round"] for row in played.rounds] == [0, 1, 2]
    first, last = played.rounds[0], played.rounds[-1]
    assert last["score"] > max(first["score"], played.random_mix)
    assert last["accuracy_at_full"] > last["best_accuracy"] + 0.1
    assert last["outcomes_total"] == sum(row["outcomes"] for row in played.rounds) == 60
    assert last["cost_usd_total"] == pytest.approx(spent_usd(tmp_path / "play"))
    assert set(played.judged_by) == {"numeric", "exact"}
    assert f"score {last['score']:.3f}" in said[-1]
    assert "After 2 rounds and 60 outcomes the router's score on 60 held-out questions is" in headline(played)
    assert "<svg" in page(selfplay_report(played, "play"))


def test_a_score_is_reported_with_its_standard_error() -> None:
    """A point is compared with a random mix of two experts, and has the standard error of its share."""
    row = {"score": 0.2, "outcomes_total": 9, "best_expert": "dear", "best_accuracy": 0.18, "oracle_accuracy": 0.3}
    experts = [{"cost_usd_per_1k": 2.0, "accuracy": 0.18}, {"cost_usd_per_1k": 1.0, "accuracy": 0.14}]
    played = Played([row, row], experts, [{"questions": 300}, {"questions": 100}], {})
    assert played.random_mix == pytest.approx(0.16)
    assert "on 400 held-out questions is 0.200 (standard error 0.020)" in headline(played)
    assert "random mix of the experts has 0.160" in headline(played)


def test_a_judge_that_agrees_with_computed_scores_is_used(pool_of: Callable[..., Pool], tmp_path: Path) -> None:
    """The judge scores written questions and is measured on computed answers; near duplicates are dropped."""
    said = _play(pool_of("strong", "weak", "judge"), tmp_path, 2, outcomes=90, written=0.5, judge="judge")
    played = read_played(tmp_path / "play")
    judged = played.judged_by["judge: judge"]
    assert judged >= 1
    assert played.rounds[-1]["judge_n"] >= 30
    assert played.rounds[-1]["judge_kappa"] == 1
    written = [row for row in _queries(tmp_path) if row["made_by"] == "strong"]
    texts = [row["question"] for row in written]
    assert len(texts) == len(set(texts)) >= 15  # ninety were written
    outcomes = _outcomes(tmp_path)
    of = {row["query_id"] for row in written}
    scores = {(row["expert"], round(row["score"], 9)) for row in outcomes if row["query_id"] in of}
    assert scores <= {("strong", 1.0), ("judge", 1.0), ("weak", 0.0)}
    assert any("of 45 written questions are new and fit" in line for line in said)


def test_a_judge_that_contradicts_computed_scores_is_not_used(pool_of: Callable[..., Pool], tmp_path: Path) -> None:
    """Its scores are left out, and a line says why."""
    seeds = tuple(NewQuestion(f"Who wrote the book number {i}?", None, None, None, "seed") for i in range(60))
    said = _play(pool_of("strong", "weak", "liar"), tmp_path, 1, outcomes=80, seeds=seeds, judge="liar")
    played = read_played(tmp_path / "play")
    assert not [how for how in played.judged_by if how.startswith("judge")]
    assert played.rounds[-1]["judge_kappa"] < 0
    assert any("what liar judged is left out" in line for line in said)


def test_a_new_expert_joins_and_a_removed_one_is_not_called(pool_of: Callable[..., Pool], tmp_path: Path) -> None:
    """The new expert answers the held-out questions and enters the next round; it gets what it is best at."""
    _play(pool_of("strong", "weak"), tmp_path, 1, outcomes=40)
    _play(pool_of("strong", "new"), tmp_path, 3, outcomes=40)
    played = read_played(tmp_path / "play")
    asked = [row["expert"] for row in _outcomes(tmp_path, since=2)]
    assert set(asked) == {"strong", "new"}
    assert {row["expert"]: row["traffic"] for row in played.experts}["new"] > 0.2
    assert {row["expert"] for row in played.experts} == {"strong", "new"}
    assert played.rounds[-1]["oracle_accuracy"] == 0.75


def test_own_questions_with_right_answers_are_used_and_some_held_out(
    pool_of: Callable[..., Pool], tmp_path: Path
) -> None:
    """A user's questions are used once, those held out never, and their answers are checked."""
    seeds = tuple(NewQuestion(f"Who wrote the book number {i}?", "Homer", "exact", None, "seed") for i in range(80))
    _play(pool_of("strong", "weak"), tmp_path, 2, seeds=seeds, families=())
    held_out = pq.read_table(tmp_path / "play" / "held-out" / "queries.parquet")["question"].to_pylist()
    assert len(held_out) == 20
    asked = [row["query_id"] for row in _outcomes(tmp_path)]
    own = {seed.query_id: seed.question for seed in seeds}
    assert not {own[query_id] for query_id in asked} & set(held_out)
    assert len({(row["query_id"], row["expert"]) for row in _outcomes(tmp_path)}) == len(asked) == 60


def test_a_budget_holds_over_all_runs_of_a_loop(pool_of: Callable[..., Pool], tmp_path: Path) -> None:
    """The loop ends with one line when all is spent, and resumes in its folder with a higher budget."""
    pool = pool_of("strong", "weak")
    with pytest.raises(UsageError, match=r"the budget of \$0\.015 is spent but for .* raise --max-cost-usd"):
        _play(pool, tmp_path, 9, max_cost_usd=0.015)
    assert 0.005 < spent_usd(tmp_path / "play") <= 0.015
    _play(pool, tmp_path, 1, max_cost_usd=0.1)
    assert len(read_played(tmp_path / "play").rounds) >= 2


def test_a_data_folder_is_the_start(pool_of: Callable[..., Pool], tmp_path: Path) -> None:
    """With a data folder nothing is sent at the start, and the first router learns from it."""
    pool = pool_of("strong", "weak")
    _play(pool, tmp_path, 0, outcomes=40)
    (tmp_path / "play" / "rounds" / "0000").rename(tmp_path / "data")
    _play(pool, tmp_path, 1, data=(tmp_path / "data",))
    start, first = read_played(tmp_path / "play").rounds
    assert (start["outcomes"], start["outcomes_total"], first["outcomes_total"]) == (0, 40, 60)
    assert "After 1 round and 60 outcomes" in headline(read_played(tmp_path / "play"))


def test_mistakes_end_self_play_before_it_starts(pool_of: Callable[..., Pool], tmp_path: Path) -> None:
    """No questions, an unknown judge, or a folder of something else is an error of one line."""
    pool = pool_of("strong", "weak")
    with pytest.raises(PoolError, match="no expert is called 'nobody'"):
        _play(pool, tmp_path, 1, judge="nobody")
    with pytest.raises(UsageError, match="only 0 questions can be held out"):
        _play(pool, tmp_path, 1, families=())
    (tmp_path / "play" / "letters.txt").write_text("private")
    with pytest.raises(UsageError, match="also holds letters.txt"):
        _play(pool, tmp_path, 1)


def test_feedback_is_learned_in_the_next_round(pool_of: Callable[..., Pool], tmp_path: Path) -> None:
    """Feedback in the loop's store is among the outcomes of the router."""
    pool = pool_of("strong", "weak")
    _play(pool, tmp_path, 0)
    with Engine(pool, store=tmp_path / "store") as engine:
        assert give(engine.store, [Feedback(f"Is rule {i} fair?", "weak", score=1.0) for i in range(15)]) == []
    _play(pool, tmp_path, 1)
    assert [row["outcomes_total"] for row in read_played(tmp_path / "play").rounds] == [20, 55]


def test_an_expert_that_became_another_is_noticed(
    pool_of: Callable[..., Pool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its answers turn out worse than the router expects, a note says since when."""
    pool = pool_of("strong", "weak")
    _play(pool, tmp_path, 2, outcomes=80)
    monkeypatch.setitem(SKILLS, "strong", ())
    said = _play(pool, tmp_path, 3, outcomes=80)
    assert any("expert strong: since round 3 answers come out" in line and "below" in line for line in said)


def _queries(tmp_path: Path) -> list[dict[str, Any]]:
    return [row for file in tmp_path.glob("play/rounds/*/queries.parquet") for row in pq.read_table(file).to_pylist()]


def _outcomes(tmp_path: Path, since: int = 0) -> list[dict[str, Any]]:
    files = sorted(tmp_path.glob("play/rounds/*/outcomes.parquet"))[since:]
    return [row for file in files for row in pq.read_table(file).to_pylist()]
