"""Pool files: what is right is read whole, what is wrong is one line that says what, where and how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from leeroo.engine.backends.identity import engine_key, fingerprint
from leeroo.engine.backends.select import unavailable
from leeroo.engine.errors import PoolError
from leeroo.engine.pool import DEFAULT_POOL, load_pool
from leeroo.engine.prices import cheapest_price

PRICED = "usd_per_m_input = 1\nusd_per_m_output = 2\n"


def _pool(folder: Path, text: str) -> Path:
    path = folder / "pool.toml"
    path.write_text(text)
    return path


def _expert(name: str, more: str = "", model: str = "some/model") -> str:
    return f'[[expert]]\nname = "{name}"\nmodel = "{model}"\n{more}'


def test_absent_keys_have_defaults(tmp_path: Path) -> None:
    """The first expert is the default; limits, place and backend have theirs."""
    pool = load_pool(_pool(tmp_path, _expert("a", PRICED) + _expert("b", PRICED + 'backend = "openai"\n')))
    a, b = pool.experts
    assert (pool.default, pool.names) == ("a", ("a", "b"))
    assert (a.backend, a.location, a.max_tokens, a.template) == ("auto", "local", 256, None)
    assert b.location == "remote"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no experts; add at least one"),
        ("default = [", "is not valid TOML"),
        ("budget = 3\n" + _expert("a", PRICED), "unknown key 'budget'"),
        (_expert("a", PRICED + "max_token = 5\n"), "expert 'a': unknown key 'max_token'; did you mean 'max_tokens'?"),
        (_expert("a", PRICED) * 2, "two experts are called 'a'"),
        ('default = "z"\n' + _expert("a", PRICED), "default = 'z' names no expert; the pool has: a"),
        ('[[expert]]\nname = "a"\n' + PRICED, "expert 'a': 'model' is missing"),
        (_expert("a", PRICED, model="./nowhere"), "the model './nowhere' does not exist"),
        (_expert("a", PRICED, model="weights.gguf"), "the model 'weights.gguf' does not exist"),
        (_expert("a", PRICED + 'backend = "replay"\n', model="data"), "the model 'data' does not exist"),
        (
            _expert("a", "usd_per_m_input = 1\n"),
            "usd_per_m_input stands alone; give both usd_per_m_input and usd_per_m",
        ),
        (_expert("a", "usd_per_m_cached_input = 1\n"), "usd_per_m_cached_input stands alone"),
        (_expert("a", PRICED + "usd_per_m_cache_write = -1\n"), "usd_per_m_cache_write = -1: input should be greater"),
        (_expert("a", PRICED + "batch_discount = 0.5\n"), "batch_discount is for an expert with batch = true"),
        (
            _expert("a", PRICED + 'backend = "vllm"\nbatch = true\n'),
            'batch = true is for backend = "openai" or "replay"',
        ),
        (_expert("a", PRICED + "dimensions = 8\n"), "dimensions is for an expert with kind = "),
        (_expert("a", PRICED + 'kind = "vector"\n'), "kind = 'vector'"),
        (_expert("a", 'kind = "embed"\nsystem = "Be brief."\n'), "system is for an expert that answers"),
        (_expert("a", 'kind = "embed"\n'), 'all experts have kind = "embed"; add at least one that answers'),
        (
            'default = "b"\n' + _expert("a", PRICED) + _expert("b", 'kind = "embed"\n'),
            "default = 'b' names no expert; the pool has: a",
        ),
        (
            _expert("a", 'kind = "embed"\nbackend = "openai"\n', model="text-embedding-3-small"),
            "dimensions is missing: the numbers of a vector that the API gives",
        ),
        (
            _expert("a", 'kind = "embed"\nbackend = "openai"\ndimensions = 8\n', model="embed-none"),
            "openai lists no price for 'embed-none'; give usd_per_m_input (0",
        ),
        (_expert("a", PRICED + "list_price = {}\n"), "'list_price' is not set by hand; leave it out"),
        (
            _expert("a", 'backend = "openai"\n', model="gpt-none"),
            "openai lists no price for 'gpt-none'; give usd_per_m",
        ),
        (_expert("a", model="nobody/knows-this-1b"), "no provider lists a price for 'nobody/knows-this-1b'"),
        (_expert("a", "usd_per_m_input = -1\nusd_per_m_output = 1\n"), "usd_per_m_input = -1: input should be greater"),
        (_expert("a", PRICED + 'backend = "llama"\n'), "backend = 'llama'"),
        (_expert("leeroo", PRICED), "name = 'leeroo': is the name that has experts chosen; call this one otherwise"),
        (
            _expert("a", PRICED + 'backend = "openai"\nbase_url = "localhost:8000/v1"\n'),
            "base_url = 'localhost:8000/v1': must begin with http:// or https://",
        ),
        (_expert("a", model="gpt-4o"), "the model 'gpt-4o' is asked through an API: add backend = \"openai\""),
        (_expert("a", PRICED, model="gpt-4o"), "the model 'gpt-4o' is asked through an API"),
        ("x = " + "[" * 100_000, "is not valid TOML"),
        ("x = " + "9" * 10_000, "is not valid TOML"),
        (_expert("a", PRICED, model="~nobody-here/model.gguf"), "the model '~nobody-here/model.gguf' does not exist"),
        (_expert("a", PRICED, model="x" * 300 + ".gguf"), "does not exist"),
        (_expert("a", PRICED, model="./two\\nlines"), "the model './two\\nlines' does not exist"),
        ("[[expert]]\nname = " + "9" * 4000 + '\nmodel = "m"\n' + PRICED, "input should be a valid string"),
        (_expert("a", PRICED + '[expert.ray.resources]\n"a\\nb" = "c"\n'), "ray.resources.'a\\nb' = 'c': input should"),
        (_expert("a", PRICED + 'template = "no place"\n'), "must contain {question} exactly once"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, text: str, says: str) -> None:
    """Each mistake names the file, and the expert and the key where there is one."""
    path = _pool(tmp_path, text)
    with pytest.raises(PoolError) as raised:
        load_pool(path)
    assert says in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_a_missing_pool_file_is_named(tmp_path: Path) -> None:
    """A pool file that does not exist is refused by name."""
    with pytest.raises(PoolError, match="cannot read the pool file .*nowhere.toml"):
        load_pool(tmp_path / "nowhere.toml")


def test_prices_left_out_are_the_cheapest_providers(tmp_path: Path) -> None:
    """The list price is the lowest of all providers, and says whose it is and of when."""
    mixtral = "mistralai/Mixtral-8x7B-Instruct-v0.1"
    expert = load_pool(_pool(tmp_path, _expert("a", model=mixtral))).experts[0]
    price = cheapest_price(mixtral)
    assert price is not None
    assert (expert.usd_per_m_input, expert.usd_per_m_output) == (price.usd_per_m_input, price.usd_per_m_output)
    assert 0 < expert.usd_per_m_input <= 0.7
    assert "genai-prices" in (expert.price_source or "")
    assert " of 20" in (expert.price_source or "")


def test_prices_of_the_file_are_those_of_each_kind_of_tokens(tmp_path: Path) -> None:
    """Cached input and cache writes cost what the file says, else as much as other input; the old key is read."""
    cached = "usd_per_m_cached_input = 0.1\nusd_per_m_cache_write = 1.25\n"
    old = "usd_per_m_cached = 0.1\n"
    text = _expert("a", PRICED) + _expert("b", PRICED + cached) + _expert("c", PRICED + old)
    experts = load_pool(_pool(tmp_path, text)).experts
    assert [each.rates for each in experts] == [
        ((-1, 1.0, 2.0, 1.0, 1.0),),
        ((-1, 1.0, 2.0, 0.1, 1.25),),
        ((-1, 1.0, 2.0, 0.1, 1.0),),
    ]
    assert {each.price_source for each in experts} == {"pool file"}


def test_a_price_of_nothing_is_said(tmp_path: Path) -> None:
    """An expert that costs nothing says so in the place of where its price stands."""
    free = load_pool(_pool(tmp_path, _expert("a", "usd_per_m_input = 0\nusd_per_m_output = 0\n"))).experts[0]
    assert free.is_free
    assert free.price_source == "price 0 in the pool file"


def test_experts_of_one_model_share_an_engine_and_not_their_answers() -> None:
    """The two experts of the local pool load one engine; their answers differ, because their prompts do."""
    direct, reason = load_pool(DEFAULT_POOL).experts
    assert engine_key(direct) == engine_key(reason)
    assert fingerprint(direct) != fingerprint(reason)
    dearer = direct.model_copy(update={"usd_per_m_input": 5.0, "name": "other"})
    assert fingerprint(dearer) == fingerprint(direct)


def test_an_absent_model_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub model that is not on this machine cannot run while the hub is offline."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    direct = load_pool(DEFAULT_POOL).experts[0]
    assert unavailable(direct) is None
    absent = direct.model_copy(update={"model": "someone/absent-7b"})
    assert "is not on this machine" in (unavailable(absent) or "")


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    """A byte order mark before the text is skipped, as some editors write one."""
    path = _pool(tmp_path, "")
    path.write_text(_expert("a", PRICED), encoding="utf-8-sig")
    assert load_pool(path).names == ("a",)


def test_experts_that_embed_are_apart(tmp_path: Path) -> None:
    """They are no experts of the pool, have the price of input alone, and another identity than the same model."""
    text = _expert("a", PRICED + 'backend = "vllm"\n') + _expert("b", 'kind = "embed"\nbackend = "vllm"\n')
    api = 'kind = "embed"\nbackend = "openai"\ndimensions = 1536\n'
    pool = load_pool(_pool(tmp_path, text + _expert("c", api, model="text-embedding-3-small")))
    assert (pool.names, [e.name for e in pool.embedders]) == (("a",), ["b", "c"])
    answers, embeds, remote = pool["a"], pool.embedder("b"), pool.embedder("c")
    assert embeds.is_free
    assert remote.rates[0].input > 0 == remote.rates[0].output
    assert remote.price_source.startswith("openai")
    assert fingerprint(answers) != fingerprint(embeds)
    assert engine_key(answers) != engine_key(embeds)
