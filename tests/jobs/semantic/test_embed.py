"""Texts become vectors: equal ones once, none paid for twice, and one that is refused costs no other its vector."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from leeroo.engine.answer import Criteria, Engine, open_engine
from leeroo.engine.backends.api import sender
from leeroo.engine.errors import PoolError
from leeroo.engine.jobs.semantic.embed import embed, estimate_embedding, size_of
from tests.provider import Call, Provider, Reply

Open = Callable[..., Engine]
_SIZE = 8


def vector_of(text: str) -> list[float]:
    """Return a vector that depends on all of a text."""
    vector: list[float] = np.random.default_rng(list(text.encode())).normal(size=_SIZE).tolist()
    return vector


def embeds(call: Call) -> Reply:
    """Reply with the vectors of all texts; refuse the whole request where one of them is bad."""
    texts = call.body["input"]
    if any("refuse" in text for text in texts):
        return Reply({"error": {"message": "the input is invalid", "type": "invalid_request_error"}}, 400)
    data = [{"object": "embedding", "index": i, "embedding": vector_of(text)} for i, text in enumerate(texts)]
    tokens = sum(map(len, texts))
    return Reply(
        {"object": "list", "data": data[::-1], "usage": {"prompt_tokens": tokens, "total_tokens": tokens}},
        billed=(tokens, 0),
    )


@pytest.fixture
def server(api: Provider, monkeypatch: pytest.MonkeyPatch) -> Provider:
    """Return a server with embeddings alone, which costs a dollar for a million tokens."""
    monkeypatch.setattr(sender, "_FIRST_PAUSE_S", 0.05)
    api.paths, api.replies, api.usd_per_m = {"/v1/embeddings"}, embeds, {"": (1.0, 0.0)}
    return api


@pytest.fixture
def opened(server: Provider, tmp_path: Path) -> Iterator[Open]:
    """Open engines whose pool has an expert that answers, and the embedder 'e' of the server."""
    engines: list[Engine] = []

    def make(dimensions: int = _SIZE, options: str = "", more: str = "") -> Engine:
        pool = tmp_path / "pool.toml"
        pool.write_text(f"""
[[expert]]
name = "a"
model = "a"
backend = "openai"
base_url = "{server.url}"
usd_per_m_input = 0
usd_per_m_output = 0
[[expert]]
name = "e"
kind = "embed"
model = "embed-small"
backend = "openai"
base_url = "{server.url}"
dimensions = {dimensions}
usd_per_m_input = 1
{more}
[expert.engine]
max_retries = 1
{options}
""")
        engines.append(open_engine(pool, store=tmp_path / "store", router="none"))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def test_the_default_is_the_encoder_of_the_router(opened: Open) -> None:
    """Equal texts have equal vectors of unit length, and blank ones have none."""
    engine = opened()
    found = embed(engine, ["a cat", "a dog", "  ", "a cat"], None, Criteria())
    assert found.vectors.shape == (4, size_of(engine, None))
    assert found.errors == [None, None, "the text is blank", None]
    assert (found.vectors[0] == found.vectors[3]).all()
    assert np.linalg.norm(found.vectors[:2], axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert not found.vectors[2].any()
    assert found.costs.sum() == 0


def test_an_api_embeds_many_texts_in_few_requests(server: Provider, opened: Open) -> None:
    """Each text has its own vector and its part of the bill, whatever the order of the reply."""
    texts = [f"text {i}" for i in range(300)]
    found = embed(opened(), [*texts, *texts], "e", Criteria())
    assert found.vectors == pytest.approx(np.array([vector_of(text) for text in [*texts, *texts]]), rel=1e-6)
    assert sum(len(body["input"]) for body in server.bodies) == 300
    assert len(server.bodies) < 10
    assert found.costs.sum() == pytest.approx(server.account_usd, rel=1e-9)
    assert server.account_usd == pytest.approx(sum(map(len, texts)) / 1e6)


def test_vectors_are_paid_for_once(server: Provider, opened: Open) -> None:
    """Another engine on the same store has them, and pays for what is new alone."""
    first = embed(opened(), ["one", "two"], "e", Criteria())
    again = embed(opened(), ["two", "three", "one"], "e", Criteria())
    assert sorted(text for body in server.bodies for text in body["input"]) == ["one", "three", "two"]
    assert (again.vectors[[2, 0]] == first.vectors).all()
    assert again.costs == pytest.approx([0, 5e-6, 0])


def test_a_refused_text_costs_no_other_its_vector(server: Provider, opened: Open) -> None:
    """The request is sent again in halves until the bad text is alone."""
    texts = [f"text {i}" for i in range(20)]
    texts[13] = "refuse me"
    found = embed(opened(), texts, "e", Criteria())
    assert [at for at, error in enumerate(found.errors) if error] == [13]
    assert "the input is invalid" in str(found.errors[13])
    assert found.there.sum() == 19


def test_faults_that_pass_are_tried_again(server: Provider, opened: Open) -> None:
    """An overloaded server is asked twice, and every text has its vector."""
    server.faults = {"text": [503]}
    found = embed(opened(), ["text 1", "text 2"], "e", Criteria())
    assert found.errors == [None, None]


def test_base64_is_read_too(server: Provider, opened: Open) -> None:
    """A server may send the bytes of float32 numbers."""

    def packed(call: Call) -> Reply:
        reply = embeds(call)
        assert isinstance(reply.body, dict)
        for item in reply.body["data"]:
            item["embedding"] = base64.b64encode(np.array(item["embedding"], "<f4").tobytes()).decode()
        return reply

    server.replies = packed
    engine = opened(options='extra_body = {encoding_format = "base64"}')
    found = embed(engine, ["one"], "e", Criteria())
    assert server.bodies[-1]["encoding_format"] == "base64"
    assert found.vectors[0] == pytest.approx(vector_of("one"), rel=1e-6)


@pytest.mark.parametrize("data", [[], [{"embedding": None}, {"embedding": ["x"]}], [{"embedding": []}] * 2, "none"])
def test_replies_without_vectors_are_errors(server: Provider, opened: Open, data: object) -> None:
    """What is no vector is said, and what the replies report is on the bill once."""
    server.replies = lambda call: Reply({"data": data, "usage": {"prompt_tokens": 3}}, billed=(3, 0))
    found = embed(opened(), ["one", "two"], "e", Criteria())
    assert all("the API's reply has 0 vectors for 1 text" in str(error) for error in found.errors)
    assert found.costs.sum() == pytest.approx(server.account_usd)


def test_another_size_than_the_pool_says_is_an_error(opened: Open) -> None:
    """The error names the number to write."""
    found = embed(opened(dimensions=5), ["one"], "e", Criteria())
    assert found.errors == ["the vector has 8 numbers, and the pool file says 5: set dimensions = 8"]


def test_a_budget_holds(server: Provider, opened: Open) -> None:
    """No more is sent than the budget pays for; the others say so."""
    texts = [f"text number {i:03}" for i in range(200)]
    found = embed(opened(), texts, "e", Criteria(max_cost_usd=5e-4))
    assert 0 < found.there.sum() < 200
    assert server.account_usd <= 5e-4


def test_the_template_of_an_expert_is_sent(server: Provider, opened: Open) -> None:
    """Models that want a prefix get it."""
    embed(opened(more='template = "query: {question}"'), ["one"], "e", Criteria())
    assert server.bodies[-1]["input"] == ["query: one"]


def test_private_texts_stay_here(opened: Open) -> None:
    """A remote embedder is refused, the encoder of the router is not."""
    engine = opened()
    with pytest.raises(PoolError, match="private texts do not go to 'e'"):
        embed(engine, ["secret"], "e", Criteria(), private=True)
    assert embed(engine, ["secret"], None, Criteria(), private=True).there.all()


def test_an_estimate_sends_nothing(server: Provider, opened: Open) -> None:
    """It says what the API would take; the router's encoder takes nothing."""
    engine = opened()
    estimate = estimate_embedding(engine, ["a text of some length"] * 2, "e", Criteria())
    assert (estimate.prompts, server.bodies) == (1, [])
    assert estimate.cost_usd > 0
    own = estimate_embedding(engine, ["one"], None, Criteria())
    assert (own.cost_usd, own.prompts) == (0, 1)
    assert "embedded here by sentence-transformers/all-MiniLM-L6-v2, at no cost" in str(own)


@pytest.mark.parametrize("name", ["zz", "a"])
def test_only_embedders_embed(opened: Open, name: str) -> None:
    """The error lists those of the pool."""
    with pytest.raises(PoolError, match=f"no expert called '{name}' embeds; those .* are: e;"):
        embed(opened(), ["one"], name, Criteria())


def test_an_embedder_answers_nothing(opened: Open) -> None:
    """It is not among the experts, and naming it as one says where it belongs."""
    engine = opened()
    assert engine.pool.names == ("a",)
    with pytest.raises(PoolError, match="'e' embeds and answers no question; use it as model := in leeroo_embed"):
        engine.pool["e"]


def test_sizes_come_from_files(tmp_path: Path, opened: Open) -> None:
    """A pooling over two kinds of means doubles the size, and a dense layer has its own."""
    from leeroo.engine.orchestrator.encoders.sizes import vector_size

    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "2_Dense").mkdir()
    (folder / "config.json").write_text(json.dumps({"hidden_size": 32}))
    assert vector_size(str(folder)) == 32
    modules = [{"path": ""}, {"path": "1_Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    assert vector_size(str(folder)) == 64
    (folder / "modules.json").write_text(json.dumps([*modules, {"path": "2_Dense"}]))
    (folder / "2_Dense" / "config.json").write_text(json.dumps({"in_features": 64, "out_features": 16}))
    assert vector_size(str(folder)) == 16
    assert vector_size("nobody/nothing") is None
    assert (vector_size("static"), size_of(opened(), "e")) == (256, _SIZE)


@pytest.mark.vllm
def test_vllm_embeds_as_the_encoder_does(tmp_path: Path) -> None:
    """A pooling model of vLLM gives the vectors of sentence-transformers; a text beyond its context is an error."""
    pool = tmp_path / "pool.toml"
    pool.write_text("""
[[expert]]
name = "a"
model = "HuggingFaceTB/SmolLM2-135M-Instruct"
usd_per_m_input = 0
usd_per_m_output = 0
[[expert]]
name = "v"
kind = "embed"
backend = "vllm"
model = "sentence-transformers/all-MiniLM-L6-v2"
""")
    texts = ["a cat", "", "a dog", "word " * 500]
    with open_engine(pool, store=tmp_path / "store", router="none") as engine:
        assert size_of(engine, "v") == 384
        found = embed(engine, texts, "v", Criteria())
        own = embed(engine, texts, None, Criteria())
    assert [error is None for error in found.errors] == [True, False, True, False]
    assert "the context of this expert holds 256" in str(found.errors[3])
    assert (found.vectors[[0, 2]] * own.vectors[[0, 2]]).sum(axis=1) == pytest.approx([1, 1], abs=1e-4)
