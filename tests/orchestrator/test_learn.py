"""Learning a router from recorded outcomes, with the real encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from leeroo.engine.errors import RouterError
from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.training.learn import extend
from leeroo.engine.orchestrator.training.learn import train as learn

if TYPE_CHECKING:
    from tests.orchestrator.conftest import Topics

NEW_SUMS = ["What is 418 plus 233?", "Compute 12 times 88."]
NEW_FACTS = ["Name the capital of Brazil, as known in 1850.", "Name a famous poet from Poland, as known in 1911."]


def train(*folders: Path, seed: int = 0) -> Router:
    """Learn with the real sentence encoder alone."""
    return learn(folders, [DEFAULT_ENCODER], seed=seed)


def column(router: Router, expert: str) -> int:
    """Return the expert's column in the predictions."""
    return router.experts.index(expert)


def test_each_expert_is_trusted_with_what_it_knows(router: Router, topics: Topics) -> None:
    """On unseen questions the expert that was right on their topic is expected to be right."""
    sums, facts = NEW_SUMS + topics.sums(120)[80:], NEW_FACTS + topics.facts(120)[80:]
    scores = router.predict(sums + facts).scores
    on_sums, on_facts = scores[: len(sums)], scores[len(sums) :]
    counter, reader = column(router, "counter"), column(router, "reader")
    assert (on_sums[:, counter] > on_sums[:, reader]).mean() > 0.9
    assert (on_facts[:, counter] < on_facts[:, reader]).mean() > 0.9
    assert on_sums[:, [counter, reader]].mean(axis=0) == pytest.approx([0.9, 0.1], abs=0.1)
    assert on_facts[:, [counter, reader]].mean(axis=0) == pytest.approx([0.1, 0.9], abs=0.1)


def test_questions_are_known_with_and_without_their_prompt(router: Router) -> None:
    """The bare question and the prompt around it are predicted alike."""
    bare, prompt = (router.predict([form.format(NEW_SUMS[0])]).scores for form in ("{}", "Q: {}"))
    assert np.abs(bare - prompt).max() < 0.15


def test_an_expert_that_never_fails_has_its_shrunk_mean(router: Router, topics_folder: Path) -> None:
    """With one class only, the rate is (right + 1) / (outcomes + 2) for every question."""
    oracle = router.predict(NEW_SUMS + NEW_FACTS).scores[:, column(router, "oracle")]
    assert oracle == pytest.approx(np.full(4, 161 / 162), abs=1e-5)
    assert not router.summary.experts["oracle"].learned
    said: list[str] = []
    learn([topics_folder], on_progress=said.append)
    expected = "oracle: 160 outcomes do not show which questions it can answer; its mean score of 1.00 is expected"
    assert [line.startswith(expected) for line in said if "do not show" in line] == [True]


def test_answers_are_as_long_as_they_were(router: Router) -> None:
    """Completion tokens follow the topic, and an expert without records writes as much as the others on average."""
    tokens = router.predict(NEW_SUMS + NEW_FACTS).completion_tokens
    counter, reader = tokens[:, column(router, "counter")], tokens[:, column(router, "reader")]
    assert (counter[:2] < 15).all()
    assert (counter[2:] > 40).all()
    assert reader[:2] == pytest.approx((counter[:2] + 20) / 2, abs=4)
    assert (tokens >= 5).all()
    assert (tokens <= 50).all()


def test_questions_cost_tokens_by_their_length(router: Router) -> None:
    """Prompt tokens grow with the question as they did in the records."""
    short, long = router.predict(["x" * 60, "x" * 600]).prompt_tokens[:, 0]
    assert short == pytest.approx(20, abs=2)
    assert long == pytest.approx(200, abs=12)


def test_time_is_learned_where_it_was_recorded(router: Router) -> None:
    """Latency follows the expected tokens; of an expert that was not timed it is unknown."""
    prediction = router.predict(NEW_FACTS)
    expected = 100 + 2 * prediction.completion_tokens[:, column(router, "counter")]
    assert prediction.latency_ms[:, column(router, "counter")] == pytest.approx(expected, rel=0.01)
    assert np.isnan(prediction.latency_ms[:, column(router, "reader")]).all()


def test_the_test_split_is_not_learned_from(router: Router) -> None:
    """Only the rows of the training split count."""
    assert router.summary.questions == 160
    assert router.summary.outcomes == 480
    assert router.summary.experts["counter"].mean_score == pytest.approx(0.5)


def test_a_prediction_does_not_depend_on_its_batch(router: Router, topics: Topics) -> None:
    """A question alone and among thousands has the same prediction."""
    alone = router.predict(NEW_FACTS[:1])
    among = router.predict([*topics.sums(1100), *NEW_FACTS[:1], *topics.facts(1100)])
    assert len(among.scores) == 2201
    for one, many in ((alone.scores, among.scores), (alone.completion_tokens, among.completion_tokens)):
        assert np.abs(one[0] / many[1100] - 1).max() < 1e-4
    assert router.predict([]).scores.shape == (0, 3)


def test_lists_are_predicted_in_their_order(router: Router, topics: Topics) -> None:
    """Lists of any length have the predictions of all questions together, and need not be taken to the end."""
    lists = [topics.sums(300), [], NEW_FACTS, topics.facts(50), NEW_SUMS]
    together = router.predict([text for some in lists for text in some]).scores
    found = [part.scores for part in router.predict_each((some, None) for some in lists)]
    assert [len(part) for part in found] == [300, 0, 2, 50, 2]
    assert np.abs(np.concatenate(found) - together).max() < 1e-5
    some = router.predict_each((some, None) for some in lists)
    assert len(next(some).scores) == 300
    some.close()


@pytest.mark.usefixtures("kept_vectors")
def test_the_same_data_and_seed_give_the_same_router(topics_folder: Path) -> None:
    """Learning again gives the same router, bit for bit; another seed holds out other questions.

    With vectors on disk, as users have them: encoded anew they differ in their last bits, as threads and batches depend
    on what else the machine does.
    """
    router = train(topics_folder)
    assert train(topics_folder).fingerprint == router.fingerprint
    assert train(topics_folder, seed=1).summary.log_loss != router.summary.log_loss


def test_progress_is_reported(topics_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress comes in lines: reading, encoding, learning, and how good it is."""
    monkeypatch.setenv("LEEROO_VECTORS_GIB", "0")  # nothing is encoded where vectors are known
    lines: list[str] = []
    learn([topics_folder], [DEFAULT_ENCODER], on_progress=lines.append)
    story = "\n".join(lines)
    for part in (
        "160 training questions with outcomes of 3 experts",
        "encoding: 200 of 200",
        "learning lengths",
        "held-out log loss",
    ):
        assert part in story


def test_folders_are_learned_together(tmp_path: Path, topics: Topics) -> None:
    """Experts of several folders end up in one router, each learned from the questions it has outcomes on."""
    queries, outcomes = topics.recorded(topics.sums(40) + topics.facts(40))
    for name in ("counter", "reader"):
        topics.write(tmp_path / name, queries, [o for o in outcomes if o["expert"] == name])
    both = train(tmp_path / "counter", tmp_path / "reader")
    assert both.experts == ("counter", "reader")
    assert both.summary.questions == 80
    scores = both.predict(NEW_SUMS + NEW_FACTS).scores
    assert (scores[:2, 0] > scores[:2, 1]).all()
    assert (scores[2:, 0] < scores[2:, 1]).all()


def test_missing_outcomes_are_normal(tmp_path: Path, topics: Topics) -> None:
    """An expert that saw few of the questions is learned from those, with the others' help."""
    queries, outcomes = topics.recorded(topics.sums(60) + topics.facts(60))
    few = [o for i, o in enumerate(outcomes) if o["expert"] != "reader" or i // 3 % 3 == 0]
    router = train(topics.write(tmp_path, queries, few))
    assert router.summary.experts["reader"].outcomes == 40
    scores = router.predict(NEW_SUMS + NEW_FACTS).scores[:, router.experts.index("reader")]
    assert scores[:2].max() < scores[2:].min()


def test_fractional_scores_are_expected_as_such(tmp_path: Path, topics: Topics) -> None:
    """Where an expert is right seven times out of ten on every question, 0.7 is predicted."""
    queries, outcomes = topics.recorded(topics.sums(40) + topics.facts(40))
    outcomes = [{**o, "score": 0.7} for o in outcomes if o["expert"] == "oracle"]
    scores = train(topics.write(tmp_path, queries, outcomes)).predict(NEW_SUMS).scores
    assert scores == pytest.approx(np.full((2, 1), 0.7), abs=0.02)


def test_a_new_expert_is_added_and_the_others_stay(tmp_path: Path, topics: Topics, router: Router) -> None:
    """Forty outcomes of a newcomer teach what it knows; predictions for the experts before are the same, bit by bit."""
    queries, outcomes = topics.recorded(topics.sums(20) + topics.facts(20))
    of_newcomer = [{**o, "expert": "newcomer"} for o in outcomes if o["expert"] == "reader"]
    grown = extend(router, [topics.write(tmp_path, queries, [*outcomes, *of_newcomer])])
    assert grown.experts == (*router.experts, "newcomer")
    before, after = router.predict(NEW_SUMS + NEW_FACTS), grown.predict(NEW_SUMS + NEW_FACTS)
    assert after.scores[:, :3] == pytest.approx(before.scores, rel=1e-5)
    assert after.completion_tokens[:, :3] == pytest.approx(before.completion_tokens, rel=1e-5)
    assert after.scores[:2, 3].max() < 0.5 < after.scores[2:, 3].min()
    assert grown.summary.experts["newcomer"].outcomes == 40
    grown.save(tmp_path / "grown")
    assert Router.load(tmp_path / "grown").fingerprint == grown.fingerprint != router.fingerprint


def test_a_pool_without_new_experts_is_reported(
    topics_folder: Path, router: Router, tmp_path: Path, topics: Topics
) -> None:
    """Where all experts are known already, or a new one has too few outcomes, one line says so."""
    with pytest.raises(RouterError, match="the router already knows all experts of"):
        extend(router, [topics_folder])
    queries, outcomes = topics.recorded(topics.sums(20))
    few = [{**o, "expert": "newcomer"} for o in outcomes if o["expert"] == "reader"][:9]
    with pytest.raises(RouterError, match="9 training questions with outcomes of newcomer; at least 10 are needed"):
        extend(router, [topics.write(tmp_path, queries, outcomes + few)])


def test_a_subject_adds_to_the_text(tmp_path: Path, topics: Topics) -> None:
    """Where only the subject decides who is right, it is used when it is given, and known; otherwise it is not missed."""
    questions = topics.facts(80)
    queries, outcomes = topics.recorded(questions)
    for i, query in enumerate(queries):
        query["subject"], query["category"] = ("old", "new")[i % 2], "time"
    with_subject = [{**o, "score": float(int(o["query_id"][-4:]) % 2 == (o["expert"] == "reader"))} for o in outcomes]
    router = train(topics.write(tmp_path, queries, with_subject))
    reader = column(router, "reader")
    in_context = router.predict(questions[:2] * 2, [("new", "time")] * 2 + [("old", "time")] * 2).scores[:, reader]
    assert in_context[:2].min() > in_context[2:].max() + 0.2
    without_subject = router.predict(questions[:2]).scores
    assert np.array_equal(router.predict(questions[:2], [("unheard of", "time"), (None, None)]).scores, without_subject)
