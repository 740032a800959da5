"""Shipped routers: which models of a pool they know, and what they predict for it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.router_folder import CARD_FOR_PEOPLE, read_card
from leeroo.engine.orchestrator.shipped.catalogue import EMBEDDED, canonical, card_of, folder_of, match, shipped
from leeroo.engine.orchestrator.shipped.prior import fit_to, prior_for
from leeroo.engine.pool import DEFAULT_POOL, DEFAULT_ROUTER, Expert, Pool, load_pool

REDUX = "mmlu-redux"
QUESTIONS = ["What is the capital of France?", "Which integral diverges?\nA. 1/x\nB. 1/x^2", ""]


def _expert(name: str, model: str = "", usd: float = 1.0, backend: str = "openai") -> Expert:
    return Expert.model_validate(
        {
            "name": name,
            "model": model or name,
            "backend": backend,
            "usd_per_m_input": usd,
            "usd_per_m_output": usd,
        }
    )


def _pool(*experts: Expert) -> Pool:
    return Pool(default=experts[0].name, experts=experts)


@pytest.mark.parametrize(
    ("model", "slug"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("openai/GPT-4o", "gpt-4o-2024-08-06"),
        ("gpt-4o-2024-11-20", None),
        ("meta-llama/Llama-3.1-70B-Instruct", "llama-3.1-70b-instruct"),
        ("meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo", "llama-3.1-70b-instruct"),
        ("accounts/fireworks/models/llama-v3p1-70b-instruct", "llama-3.1-70b-instruct"),
        ("meta.llama3-1-70b-instruct-v1:0", "llama-3.1-70b-instruct"),
        ("meta-llama/Llama-3.1-70B", None),
        ("/models/Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct"),
        ("Qwen/Qwen2.5-7B", None),
        ("anthropic/claude-3.5-sonnet-20240620", "claude-3.5-sonnet-20240620"),
        ("claude-3-5-sonnet-20241022", None),
        ("chatgpt-4o-latest", None),
        # One model, run by three hosts: the middle one counts.
        ("meta-llama/Llama-3.1-405B-Instruct", "llama-3.1-405b-instruct-fp8-together"),
    ],
)
def test_a_model_is_matched_by_its_names_only(model: str, slug: str | None) -> None:
    """The owner, the case and the names of hosts do not matter; another version, size or tuning is another model."""
    found = match([_expert("mine", model)], shipped()[REDUX])
    assert found == ({} if slug is None else {"mine": slug})


def test_a_name_given_by_the_user_says_nothing_of_the_model() -> None:
    """An expert that is called like a known model counts by its model, and a replayed one, which has none, by its name."""
    about = shipped()[REDUX]
    assert match([_expert("gpt-4o-2024-08-06", "my-own")], about) == {}
    replayed = _expert("GPT-4o-2024-08-06", "/data/outcomes", backend="replay")
    assert match([replayed], about) == {"GPT-4o-2024-08-06": "gpt-4o-2024-08-06"}


def test_two_known_models_make_a_prior() -> None:
    """One model, also if it is asked in two ways, leaves nothing to choose; two models get a router for all experts."""
    one, other = _expert("small", "gpt-4o-mini", 0.3), _expert("large", "gpt-4o", 5)
    assert prior_for(_pool(one, _expert("mine"))) is None
    assert prior_for(_pool(one, _expert("again", "gpt-4o-mini-2024-07-18", 0.3))) is None
    prior = prior_for(_pool(one, _expert("mine"), other))
    assert prior is not None
    assert (prior.name, dict(prior.known)) == (
        REDUX,
        {"small": "gpt-4o-mini-2024-07-18", "large": "gpt-4o-2024-08-06"},
    )
    assert prior.router.experts == ("small", "mine", "large")
    learned = prior.learned
    assert learned.experts == tuple(learned.summary.experts) == ("small", "large")
    expected = prior.router.predict(QUESTIONS).scores[:, [0, 2]]
    np.testing.assert_allclose(learned.predict(QUESTIONS).scores, expected, rtol=1e-5)
    assert "knows 2 of 3 experts" in prior.remark
    assert "\n" not in prior.remark


def test_the_router_that_knows_most_is_taken() -> None:
    """Three models of HELM's run are more than the two that ZeroEval has run too; in a tie whole answers count."""
    names = ("claude-3-opus-20240229", "gpt-4o-2024-05-13")
    both = prior_for(_pool(*map(_expert, names), _expert("gpt-4-0613")))
    assert both is not None
    assert (both.name, len(both.known)) == ("helm-mmlu", 3)
    zero_eval = prior_for(_pool(*map(_expert, names), _expert("gpt-4o-mini"), _expert("gpt-3.5-turbo")))
    assert zero_eval is not None
    assert (zero_eval.name, len(zero_eval.known)) == (REDUX, 4)
    tie = prior_for(_pool(*map(_expert, names)))
    assert tie is not None
    assert (tie.name, len(tie.known)) == (REDUX, 2)


@pytest.mark.parametrize("contexts", [None, [("anatomy", "STEM"), (None, None), ("virology", "other")]])
def test_a_router_cut_to_a_pool_predicts_as_the_whole_one(contexts: list[tuple[str | None, str | None]] | None) -> None:
    """Scores, tokens and times of known experts are those of the whole router, with subjects and without."""
    whole, about = Router.load(folder_of(REDUX)), shipped()[REDUX]
    known = {"b": "gemma-2-2b-it", "a": "gpt-4o-2024-08-06", "c": "yi-large"}
    cut = fit_to(whole, about, [_expert(name) for name in known], known)
    assert cut.experts == ("b", "a", "c")
    ours, theirs = cut.predict(QUESTIONS, contexts), whole.predict(QUESTIONS, contexts)
    columns = [whole.experts.index(slug) for slug in known.values()]
    for name in vars(ours):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name)[:, columns], rtol=1e-5, err_msg=name)
    assert (ours.scores.std(axis=1) > 0.01).all()


def test_an_expert_that_is_not_known_is_expected_by_its_price() -> None:
    """Predictions are finite, better for experts that cost more, level beyond known prices, and low where all are."""
    whole, about = Router.load(folder_of(REDUX)), shipped()[REDUX]
    prices = {"free": 0, "cheap": 0.2, "high": 20, "higher": 99, "highest": 100}
    experts = [*(_expert(name, usd=usd) for name, usd in prices.items()), _expert("yi-large")]
    predicted = fit_to(whole, about, experts, {"yi-large": "yi-large"}).predict(QUESTIONS)
    for name in ("scores", "prompt_tokens", "completion_tokens"):
        assert np.isfinite(getattr(predicted, name)).all(), name
    free, cheap, high, higher, highest, _ = predicted.scores.T
    assert (free < cheap).all()
    assert (cheap < high).all()
    assert (high < higher).all()
    np.testing.assert_allclose(higher, highest, rtol=1e-5)
    of_all = whole.predict(QUESTIONS).scores
    easy = np.log(of_all / (1 - of_all)).mean(axis=1)
    assert np.argsort(cheap).tolist() == np.argsort(easy).tolist()


def test_lengths_of_single_letters_are_not_expected_of_whole_answers() -> None:
    """HELM's answers have one token: of a model that is asked the length is unknown, of a replayed one it is as recorded."""
    asked = [_expert(name) for name in ("gpt-4-0613", "gpt-4o-2024-05-13")]
    replayed = [_expert(f"{e.name}-helm", "/data", backend="replay") for e in asked]
    lengths = [
        prior.router.predict(QUESTIONS).completion_tokens
        for experts in (asked, replayed)
        if (prior := prior_for(_pool(*experts, _expert("gpt-4-1106-preview", backend=experts[0].backend))))
    ]
    assert np.isnan(lengths[0]).all()
    assert (lengths[1] < 2).all()


def test_the_embedded_router_is_the_prior_of_no_other_pool() -> None:
    """The embedded pool has its router, which is listed, and a copy of that pool finds none."""
    assert prior_for(load_pool(DEFAULT_POOL)) is None
    assert folder_of(EMBEDDED) == DEFAULT_ROUTER


@pytest.mark.parametrize("name", list(shipped()))
def test_a_shipped_router_has_a_card_that_fits(name: str) -> None:
    """Experts and questions of `about.json` are the router's, and the card has figures, limits and attribution."""
    about, card = shipped()[name], card_of(name)
    training = read_card(folder_of(name)).training
    assert set(about.experts) == set(Router.load(folder_of(name)).experts) == set(training.experts)
    assert about.questions == training.questions
    for known in ("## Limits", "## Calibration", "random mix", about.licence, *about.attribution, *about.experts):
        assert known in card
    assert CARD_FOR_PEOPLE in {each.name for each in Path(shipped_home() / name).iterdir()}


def shipped_home() -> Path:
    """Return the folder with a folder for each shipped router."""
    return folder_of(REDUX).parent


def test_other_names_lead_to_models_that_are_known() -> None:
    """Every entry of `models.toml` is a model of a shipped router, and no other name stands for two of them."""
    also: dict[str, list[str]] = tomllib.loads((shipped_home() / "models.toml").read_text("utf-8"))
    models = {canonical(known.model) for about in shipped().values() for known in about.experts.values()}
    assert {name.casefold() for name in also} <= models
    others = [other.casefold() for several in also.values() for other in several]
    assert len(others) == len(set(others))
    assert not {name.casefold() for name in also} & set(others)
