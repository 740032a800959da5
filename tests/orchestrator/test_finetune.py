"""A language model that learns from the outcomes, and the router that it is part of; a real one, but tiny."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from leeroo.engine.arrays import Float32s
from leeroo.engine.errors import RouterError
from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER, encode
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.statistics import log_loss, sigmoid
from leeroo.engine.orchestrator.training.finetune import finetune, hold_out
from leeroo.engine.orchestrator.training.learn import extend, train

if TYPE_CHECKING:
    from tests.orchestrator.conftest import Topics

NEW = ["What is 418 plus 233?", "Name the capital of Brazil, as known in 1850."]


def log_odds(scores: Float32s) -> Float32s:
    """Undo the sigmoid."""
    return np.asarray(np.log(scores / (1 - scores)))


@pytest.fixture(scope="module")
def tuned(topics_folder: Path, tiny_llama: Path) -> tuple[Router, str]:
    """Return a router with a fine-tuned model, and the lines that it printed while it learned."""
    lines: list[str] = []
    return train([topics_folder], [str(tiny_llama)], "lora", on_progress=lines.append), "\n".join(lines)


def test_the_model_learns_more_than_its_states_had(topics: Topics, tiny_llama: Path, tmp_path: Path) -> None:
    """After learning, unseen questions are predicted better than by the rate, and the states have changed."""
    texts = [text for pair in zip(topics.sums(700), topics.facts(700), strict=True) for text in pair]
    scores = np.array([[float(i % 2 == 0), np.nan if i % 3 else float(i % 2)] for i in range(1400)], np.float32)
    learned = finetune(str(tiny_llama), texts[:1200], scores[:1200], tmp_path / "adapter", 0, lambda _: None)
    states = encode(texts[1200:], learned.adapter.encoder)
    assert np.abs(states - encode(texts[1200:], f"{tiny_llama}@{learned.adapter.point}")).max() > 0.01
    predicted = sigmoid((states @ learned.weight + learned.bias).astype(np.float32))
    known = np.isfinite(scores[1200:])
    assert log_loss(predicted[known], scores[1200:][known], np.ones(known.sum())) < 0.6 < np.log(2)


def test_its_gain_is_reported_on_questions_it_has_not_seen(tuned: tuple[Router, str]) -> None:
    """One question in five is held out, and the loss there is reported with the model and without."""
    router, said = tuned
    assert "fine-tuning: step 18 of 18, loss" in said
    assert "texts that it has not seen: log loss" in said
    assert router.adapter is not None
    assert len(router.heads.score_weight) == len(router.features.landmarks) + 32


def test_a_folder_holds_all_of_it(tuned: tuple[Router, str], tmp_path: Path) -> None:
    """A router that is saved, moved and loaded predicts the same, and one without its adapter is refused as damaged."""
    router, _ = tuned
    router.save(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "moved")
    moved = Router.load(tmp_path / "moved")
    assert moved.fingerprint == router.fingerprint
    assert moved.predict(NEW).scores == pytest.approx(router.predict(NEW).scores, abs=1e-5)
    moved.save(tmp_path / "again")
    assert Router.load(tmp_path / "again").fingerprint == router.fingerprint
    shutil.rmtree(tmp_path / "moved" / "adapter")
    with pytest.raises(RouterError, match="is damaged"):
        Router.load(tmp_path / "moved")


def test_the_states_decide_where_they_have_a_share(tuned: tuple[Router, str]) -> None:
    """Weights on the model's states move the log-odds by as much as the states say."""
    router, _ = tuned
    assert router.adapter is not None
    weight = router.heads.score_weight.copy()
    weight[len(router.features.landmarks) :] += 0.1
    moved = replace(router, heads=replace(router.heads, score_weight=weight))
    gone = log_odds(moved.predict(NEW).scores) - log_odds(router.predict(NEW).scores)
    states = encode(NEW, router.adapter.encoder)
    assert gone == pytest.approx(np.repeat(0.1 * states.sum(axis=1, keepdims=True), 3, axis=1), abs=1e-2)


def test_new_experts_join_a_tuned_router(tuned: tuple[Router, str], topics: Topics, tmp_path: Path) -> None:
    """An expert is added to a router with a fine-tuned model too, and the others stay."""
    router, _ = tuned
    queries, outcomes = topics.recorded(topics.sums(30) + topics.facts(30))
    newcomer = [{**o, "expert": "newcomer"} for o in outcomes if o["expert"] == "reader"]
    scores = extend(router, [topics.write(tmp_path, queries, newcomer)]).predict(NEW).scores
    assert scores[:, :3] == pytest.approx(router.predict(NEW).scores, rel=1e-5)
    assert scores[0, 3] < scores[1, 3]


def test_a_fifth_of_the_questions_is_held_out() -> None:
    """All forms of a question are on one side, and another seed holds out others."""
    groups = np.arange(100).repeat(2)
    held_out = hold_out(groups, 0)
    assert held_out.sum() == 40
    assert (held_out[::2] == held_out[1::2]).all()
    assert (held_out != hold_out(groups, 1)).any()


def test_only_language_models_are_tuned(topics_folder: Path) -> None:
    """A sentence encoder alone is refused before anything is read."""
    with pytest.raises(RouterError, match="none of the encoders .*MiniLM.* can be fine-tuned: name a causal language"):
        train([topics_folder], [DEFAULT_ENCODER], "lora")
