"""LoRA adapters are experts of one loaded model: each row is answered with its own adapter, or with none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.backends import select
from leeroo.engine.backends.identity import engine_key, fingerprint
from leeroo.engine.backends.select import load_backend, open_backend, unavailable
from leeroo.engine.errors import ExpertUnavailable, PoolError
from leeroo.engine.pool import Pool, load_pool
from leeroo.engine.schema import ASK
from tests.backends.tiny import save_adapter, save_model

Requests = Callable[..., pa.RecordBatch]
Rows = list[dict[str, Any]]
PROMPTS = ("Five apples", "What is the name of the river?", "Hm", "A rather long question, about something else")
# Large enough for vLLM's kernels.
SIZE: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 128,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a base model, two adapters of it, and one of another model."""
    folder = tmp_path_factory.mktemp("adapters")
    base = save_model(folder / "base", **SIZE)
    save_adapter(base, folder / "law", 1)
    save_adapter(base, folder / "medicine", 2, r=12)
    other = save_model(folder / "other", **{**SIZE, "hidden_size": 64})
    save_adapter(other, folder / "alien", 3)
    deeper = save_model(folder / "deeper", num_hidden_layers=3, **SIZE)
    save_adapter(deeper, folder / "deep", 4)
    (folder / "pool.toml").write_text(_pool("law", "medicine"))
    return folder


def _entry(name: str, more: str) -> str:
    return f'[[expert]]\nname = "{name}"\nmodel = "./base"\nusd_per_m_input = 1\nusd_per_m_output = 1\n{more}\n'


def _pool(*adapters: str, backend: str = "transformers", options: str = "") -> str:
    """Return a pool of the base and some adapters of it."""
    more = f'backend = "{backend}"\nmax_tokens = 12\n'
    engine = f"[expert.engine]\n{options}"
    entries = [_entry(name, f'{more}adapter = "./{name}"\n{engine}') for name in adapters]
    return "".join([_entry("base", more + engine), *entries])


def _by_hand(folder: Path, adapter: str | None, prompts: tuple[str, ...] = PROMPTS) -> list[str]:
    """Return what peft's own `generate` answers."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype="float32")
    if adapter is not None:
        model = PeftModel.from_pretrained(model, folder / adapter).eval()
    answers = []
    for prompt in prompts:
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        answers.append(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip())
    return answers


def _whole(text: str) -> str:
    """Return a text without half a character at its end, which vLLM leaves out."""
    return text.rstrip("\ufffd\x1c\x1d\x1e\x1f \t\r\n")


def _requests(requests: Requests, pool: Pool, *names: str, **more: Any) -> pa.RecordBatch:
    """Return a request of each prompt for each of these experts, one expert after another for each prompt."""
    rows = requests(*(prompt for prompt in PROMPTS for _ in names), raw=True, **more).to_pylist()
    adapters = [pool[name].adapter for _ in PROMPTS for name in names]
    rows = [{**row, "adapter": adapter} for row, adapter in zip(rows, adapters, strict=True)]
    return pa.RecordBatch.from_pylist(rows, schema=requests().schema)


def _answers(backend: Any, batch: pa.RecordBatch) -> Rows:
    done = [row for each in backend.generate(iter([batch])) for row in each.to_pylist()]
    return sorted(done, key=lambda row: row["id"])


@pytest.fixture(params=["transformers", pytest.param("vllm", marks=pytest.mark.vllm)])
def pool(request: pytest.FixtureRequest, folder: Path) -> Pool:
    """Provide a pool of the base, two good adapters and two of other models."""
    options = "max_model_len = 64\nmax_num_seqs = 8\n" if request.param == "vllm" else ""
    path = folder / f"{request.param}.toml"
    path.write_text(_pool("law", "medicine", "alien", backend=request.param, options=options))
    return load_pool(path)


def test_each_adapter_answers_as_with_peft(pool: Pool, folder: Path, requests: Requests) -> None:
    """One loaded model answers for the base and all adapters, mixed in one stream; an adapter of another is an error."""
    opening = open_backend if pool["base"].backend == "vllm" else load_backend
    backend = opening(pool["base"])
    try:
        rows = _answers(backend, _requests(requests, pool, "base", "law", "medicine", "alien"))
    finally:
        backend.close()
    names = ("base", "law", "medicine")
    given = {name: [_whole(row["answer"] or "") for row in rows[at::4]] for at, name in enumerate(names)}
    assert given == {name: list(map(_whole, _by_hand(folder, name if name != "base" else None))) for name in names}
    assert len({tuple(answers) for answers in given.values()}) == 3
    for row in rows[3::4]:
        assert row["bounced"]
        assert "alien" in row["error"]
        assert "\n" not in row["error"]


def test_streams_of_different_adapters_nest(folder: Path, requests: Requests) -> None:
    """A stream that begins while another is answered has its own adapter, and leaves the other's as it was."""
    expected = {adapter: _by_hand(folder, adapter) for adapter in (None, "law", "medicine")}
    pool = load_pool(folder / "pool.toml")
    paths: dict[str | None, str | None] = {None: None, **{name: pool[name].adapter for name in ("law", "medicine")}}
    backend = load_backend(pool["base"])
    for outer, inner in ((None, "law"), ("law", "medicine"), ("medicine", None)):
        resting = backend.generate(iter([requests(*PROMPTS, adapter=paths[outer])]))
        first = [next(resting), next(resting)]
        inside = list(backend.generate(iter([requests(*PROMPTS, adapter=paths[inner])])))
        for adapter, batches in ((inner, inside), (outer, [*first, *resting])):
            rows = sorted((row for batch in batches for row in batch.to_pylist()), key=lambda row: row["id"])
            assert [row["answer"] for row in rows] == expected[adapter], (outer, inner, adapter)
    backend.close()


def test_a_broken_adapter_ends_the_stream_that_rests_too(folder: Path, requests: Requests, tmp_path: Path) -> None:
    """A part of it may be in the model, which the resting rows are answered by."""
    broken = tmp_path / "broken"
    shutil.copytree(folder / "law", broken)
    whole = broken / "adapter_model.safetensors"
    whole.write_bytes(whole.read_bytes()[:-1000])
    (folder / "broken.toml").write_text(_pool("law").replace("./law", str(broken)))
    pool = load_pool(folder / "broken.toml")
    backend = open_backend(pool["base"])
    resting = backend.generate(iter([requests(*(f"Question {i}?" for i in range(1000)), max_tokens=100)]))
    next(batch for batch in resting if batch.num_rows)
    with pytest.raises(ExpertUnavailable, match="does not load"):
        list(backend.generate(iter([requests("Hm", adapter=pool["law"].adapter)])))
    with pytest.raises(ExpertUnavailable, match="does not load"):
        list(resting)
    backend.close()


def test_choices_are_scored_with_the_adapter(folder: Path, requests: Requests) -> None:
    """A beginning that rows share is computed for each adapter anew."""
    pool = load_pool(folder / "pool.toml")
    together: Any = load_backend(pool["base"])
    batch = _requests(requests, pool, "base", "law", choices=["yes", "yesterday", "no"])
    mixed = [row["choice_logprobs"] for row in _answers(together, batch)]
    for at, name in enumerate(("base", "law")):
        alone = _answers(together, _requests(requests, pool, name, choices=["yes", "yesterday", "no"]))
        for row, scores in zip(alone, mixed[at::2], strict=True):
            assert row["choice_logprobs"] == pytest.approx(scores, abs=1e-3)
    assert mixed[0] != pytest.approx(mixed[1], abs=1e-2)


def _table(experts: list[str]) -> pa.Table:
    asked = {"expert": experts, "raw": [True] * len(experts), "max_tokens": [12] * len(experts)}
    columns = [pa.array(asked[f.name], f.type) if f.name in asked else pa.nulls(len(experts), f.type) for f in ASK]
    ask = pa.StructArray.from_arrays(columns, fields=list(ASK))
    return pa.table({"question": [PROMPTS[0]] * len(experts), "ask": ask})


def test_a_run_loads_one_model_for_three_experts(folder: Path, tmp_path: Path) -> None:
    """All of a base is one wave on one engine, and answers are kept for each expert."""
    names = ["law", "base", "medicine", "law"]
    wanted = [_by_hand(folder, None if name == "base" else name, PROMPTS[:1])[0] for name in names]
    with Engine(load_pool(folder / "pool.toml"), store=tmp_path / "store") as engine:
        rows = engine.answer_table(_table(names).to_reader(), Criteria(ask_column="ask")).to_pylist()
        assert len(engine._engines._held) == 1
        again = engine.answer_table(_table(names).to_reader(), Criteria(ask_column="ask")).to_pylist()
    assert [row["error"] for row in rows] == [None] * 4
    assert [row["answer"] for row in rows] == [row["answer"] for row in again] == wanted
    assert sum(row["cost_usd"] for row in rows) > 0
    assert sum(row["cost_usd"] for row in again) == 0


def test_experts_of_one_base_share_its_engine_and_no_answers(folder: Path) -> None:
    """The engine has one name; answers are the adapter's own, and its files count."""
    experts = load_pool(folder / "pool.toml").experts
    assert len({engine_key(expert) for expert in experts}) == 1
    assert len({fingerprint(expert) for expert in experts}) == 3
    before = fingerprint(experts[1])
    (folder / "law" / "README.md").write_text("changed")
    assert fingerprint(experts[1]) != before


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('adapter = "./nowhere"', "the adapter './nowhere' does not exist (looked for "),
        ('adapter = ""', "adapter = ''"),
        ("adapter = 5", "adapter = 5"),
        ('adapter = "./law"\nbackend = "openai"', "backend = 'openai': an adapter is of a model that is loaded here"),
        ('adapters = ["./law"]', "'adapters' is not set by hand"),
    ],
)
def test_a_wrong_entry_is_one_line(folder: Path, more: str, says: str) -> None:
    """The pool does not load."""
    (folder / "wrong.toml").write_text(_entry("wrong", more))
    with pytest.raises(PoolError) as raised:
        load_pool(folder / "wrong.toml")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def _copy(folder: Path, name: str, settings: dict[str, Any] | None, *, weights: bool = True) -> Path:
    """Write an adapter with other settings, or without a file."""
    copy = folder / name
    copy.mkdir()
    if settings is not None:
        there = json.loads((folder / "law" / "adapter_config.json").read_text())
        (copy / "adapter_config.json").write_text(json.dumps({**there, **settings}))
    if weights:
        (copy / "adapter_model.safetensors").write_bytes((folder / "law" / "adapter_model.safetensors").read_bytes())
    return copy


@pytest.mark.parametrize(
    ("settings", "weights", "says"),
    [
        ({}, False, "has no adapter_model.safetensors: save it with peft's save_pretrained"),
        (None, True, "cannot be read ([Errno 2] No such file or directory"),
        ({"peft_type": "PREFIX_TUNING"}, True, "is of kind 'PREFIX_TUNING'; only LoRA adapters can be used"),
    ],
)
def test_the_list_of_experts_says_what_is_wrong_with_an_adapter(
    folder: Path, tmp_path: Path, settings: dict[str, Any] | None, weights: bool, says: str
) -> None:
    """It is known before anything is loaded."""
    name = _copy(folder, f"wrong_{tmp_path.name}", settings, weights=weights).name
    (folder / "wrong.toml").write_text(_pool(name))
    assert says in (unavailable(load_pool(folder / "wrong.toml")[name]) or "")


def test_an_adapter_of_another_model_fails_its_rows_alone(folder: Path, requests: Requests) -> None:
    """One line says where it does not fit, for more layers as for wider ones; the others are answered."""
    (folder / "others.toml").write_text(_pool("alien", "deep", "law"))
    pool = load_pool(folder / "others.toml")
    rows = _answers(load_backend(pool["base"]), _requests(requests, pool, "alien", "deep", "law"))
    assert (
        "is of another model: model.layers.0.mlp.down_proj is [128, 128] here, and [64, 128] there" in rows[0]["error"]
    )
    assert "is of another model: this one has no model.layers.2" in rows[1]["error"]
    assert [row["answer"] or "" for row in rows[2::3]] == _by_hand(folder, "law")
    assert unavailable(pool["alien"]) == rows[0]["error"]
    assert unavailable(pool["law"]) is None


def test_an_adapter_of_a_hub_that_cannot_be_reached_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is loaded where fetching is forbidden; the base stays usable."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    more = 'backend = "transformers"\n'
    (folder / "hub.toml").write_text(_entry("far", f'{more}adapter = "nobody/nothing"') + _entry("base", more))
    pool = load_pool(folder / "hub.toml")
    why = "the adapter 'nobody/nothing' is not on this machine, and HF_HUB_OFFLINE forbids to fetch it"
    assert unavailable(pool["far"]) == why
    assert unavailable(pool["base"]) is None


def test_peft_is_named_where_it_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that brings it is named; the bare base needs none."""
    monkeypatch.setattr(select, "_no_module", lambda name, extra: f"{name}: {extra}" if name == "peft" else None)
    pool = load_pool(folder / "pool.toml")
    assert unavailable(pool["law"]) == "peft: local"
    assert unavailable(pool["base"]) is None


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()
