"""Images and models of this machine: a tiny image-text model with random weights, in transformers and in vLLM."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.backends.images.limits import limits_of, sees
from leeroo.engine.backends.select import load_backend, open_backend
from leeroo.engine.images.marks import mark_of
from leeroo.engine.pool import Expert
from tests.backends.tiny import save_model
from tests.pictures import picture, save_seeing_model

Requests = Callable[..., pa.RecordBatch]
Rows = dict[int, dict[str, Any]]

_RED, _BLUE = mark_of("a" * 64), mark_of("b" * 64)
_MORE = {"max_tokens": 8}
_SCHEMA = json.dumps({"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]})


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the tiny model that sees, once."""
    return save_seeing_model(tmp_path_factory.mktemp("seeing") / "model")


def _expert(folder: Path, kind: Any, **engine: Any) -> Expert:
    prices: dict[str, Any] = {"usd_per_m_input": 0.0, "usd_per_m_output": 0.0}
    return Expert(name="eyes", model=str(folder), backend=kind, engine=engine, **prices)


@pytest.fixture(scope="session")
def here(folder: Path) -> Iterator[Any]:
    """Load the model with transformers into this process, once."""
    backend = load_backend(_expert(folder, "transformers"))
    yield backend
    backend.close()


@pytest.fixture
def shown(tmp_path: Path) -> list[dict[str, Any]]:
    """Provide two images of requests: a red one and a blue one."""
    (tmp_path / "red").write_bytes(picture("red"))
    (tmp_path / "blue").write_bytes(picture("blue", (40, 70), "JPEG"))
    return [
        {"mark": _RED, "width": 50, "height": 40, "path": str(tmp_path / "red"), "data": None},
        {"mark": _BLUE, "width": 40, "height": 70, "path": str(tmp_path / "blue"), "data": None},
    ]


def _rows(backend: Any, *batches: pa.RecordBatch) -> Rows:
    return {row["id"]: row for batch in backend.generate(iter(batches)) for row in batch.to_pylist()}


def _batch(requests: Requests, *rows: dict[str, Any]) -> pa.RecordBatch:
    base = requests("What?", **_MORE)
    return pa.RecordBatch.from_pylist(
        [{**base.to_pylist()[0], "id": i, **row} for i, row in enumerate(rows)], base.schema
    )


def test_an_image_changes_the_answer(here: Any, requests: Requests, shown: list[dict[str, Any]]) -> None:
    """The same words about another picture, about both, about them the other way round, and about none."""
    red, blue = shown
    rows = _rows(
        here,
        _batch(
            requests,
            {"prompt": f"What? {_RED}", "images": [red]},
            {"prompt": f"What? {_BLUE}", "images": [blue]},
            {"prompt": f"What? {_RED} or {_BLUE}", "images": [red, blue]},
            {"prompt": f"What? {_BLUE} or {_RED}", "images": [red, blue]},
            {"prompt": "What? "},
            {"prompt": f"What? {_RED}", "images": [{**red, "data": picture("red"), "path": None}]},
        ),
    )
    assert [row["error"] for row in rows.values()] == [None] * 6
    assert len({rows[i]["answer"] for i in range(5)}) == 5
    assert rows[5]["answer"] == rows[0]["answer"]
    assert rows[0]["prompt_tokens"] > rows[4]["prompt_tokens"] + 16


def test_choices_decisions_and_json_are_read_from_images(
    here: Any, requests: Requests, shown: list[dict[str, Any]]
) -> None:
    """Choices have log probabilities that depend on the picture, and JSON is valid under its schema."""
    red, blue = shown
    decisions = json.dumps({"big": ["yes", "no"], "hue": ["red", "blue", "bluish"]})
    rows = _rows(
        here,
        _batch(
            requests,
            {"prompt": _RED, "images": [red], "choices": ["yes", "yellow", "no"]},
            {"prompt": _BLUE, "images": [blue], "choices": ["yes", "yellow", "no"]},
            {"prompt": _RED, "images": [red], "json_schema": _SCHEMA, "max_tokens": 16},
            {"prompt": _RED, "images": [red], "top_logprobs": 2, "temperature": 1.0, "seed": 3},
            {"prompt": _RED, "images": [red], "top_logprobs": 2, "temperature": 1.0, "seed": 3},
            {"prompt": _RED, "images": [red], "decisions": decisions},
        ),
    )
    assert [row["error"] for row in rows.values()] == [None] * 6
    assert rows[0]["answer"] in ("yes", "yellow", "no")
    assert rows[0]["choice_logprobs"] != rows[1]["choice_logprobs"]
    assert json.loads(rows[2]["answer"])["n"] in (1, 2)
    assert rows[3]["answer"] == rows[4]["answer"]
    assert len(json.loads(rows[3]["logprobs"])) == len(json.loads(rows[4]["logprobs"])) > 0
    decided = json.loads(rows[5]["answer"])
    assert decided["big"] in ("yes", "no")
    assert decided["hue"] in ("red", "blue", "bluish")


def test_a_row_alone_is_answered_as_in_a_batch(here: Any, requests: Requests, shown: list[dict[str, Any]]) -> None:
    """Padding changes nothing, and rows without images go on beside those with some."""
    red, blue = shown
    asked: list[dict[str, Any]] = [
        {"prompt": f"What is shown here? {_RED}", "images": [red], "max_tokens": 3},
        {"prompt": f"And {_BLUE} now, in this longer prompt?", "images": [blue], "max_tokens": 9},
        {"prompt": "Nothing"},
    ]
    together = _rows(here, _batch(requests, *asked))
    for at, each in enumerate(asked):
        alone = _rows(here, _batch(requests, each))[0]
        assert alone["answer"] == together[at]["answer"]
        assert alone["completion_tokens"] == together[at]["completion_tokens"]


def test_a_bad_image_costs_its_row_alone(here: Any, requests: Requests, shown: list[dict[str, Any]]) -> None:
    """A broken file, one that is gone, and a prompt that is too long each have a sentence; others are answered."""
    red, blue = shown
    broken = {**blue, "data": picture("blue", (400, 400))[:300], "path": None}
    rows = _rows(
        here,
        _batch(
            requests,
            {"prompt": _RED, "images": [red]},
            {"prompt": _BLUE, "images": [broken]},
            {"prompt": _BLUE, "images": [{**blue, "path": f"{blue['path']}.gone"}]},
            {"prompt": f"{'long ' * 400} {_RED}", "images": [red]},
        ),
    )
    assert rows[0]["error"] is None
    assert rows[1]["error"].startswith(f"{_BLUE}: the file is broken")
    assert rows[2]["error"] == f"{_BLUE}: its file cannot be read: No such file or directory"
    assert "the context of this expert holds 1,024" in rows[3]["error"]
    assert rows[3]["bounced"]


def test_vllm_sees_what_transformers_sees(
    folder: Path, here: Any, requests: Requests, shown: list[dict[str, Any]]
) -> None:
    """The same answers, choices and prompt tokens come from an engine of vLLM; JSON is valid there too."""
    red, blue = shown
    batch = _batch(
        requests,
        {"prompt": f"What? {_RED}", "images": [red]},
        {"prompt": f"What? {_BLUE} or {_RED}", "images": [red, blue]},
        {"prompt": _RED, "images": [red], "choices": ["yes", "yellow", "no"]},
        {"prompt": _RED, "images": [red], "json_schema": _SCHEMA, "max_tokens": 16},
        {"prompt": _BLUE, "images": [{**blue, "path": f"{blue['path']}.gone"}]},
        {"prompt": "What? "},
    )
    engine = open_backend(_expert(folder, "vllm", max_model_len=512, max_num_seqs=8))
    try:
        there = _rows(engine, batch)
    finally:
        engine.close()
    own = _rows(here, batch)
    for at in (0, 1, 2, 5):
        assert there[at]["error"] is None
        assert there[at]["prompt_tokens"] == own[at]["prompt_tokens"]
        assert there[at]["answer"].rstrip("\ufffd") == own[at]["answer"].rstrip("\ufffd")  # half a character
    assert there[2]["choice_logprobs"] == pytest.approx(own[2]["choice_logprobs"], abs=0.01)
    assert there[3]["answer"].startswith('{"n"')  # white space may follow, up to the limit
    assert "cannot be read" in there[4]["error"]


def test_who_sees_is_said_by_the_model_or_the_pool(folder: Path, tmp_path: Path) -> None:
    """A model of this machine says so in its settings, and its processor counts; of others the pool has to say it."""
    blind = _expert(save_model(tmp_path / "blind"), "transformers")
    api = blind.model_copy(update={"backend": "openai", "model": "gpt-4o"})
    assert sees(_expert(folder, "transformers"))
    assert not sees(_expert(folder, "transformers").model_copy(update={"images": False}))
    assert not sees(blind)
    assert not sees(api)
    assert sees(api.model_copy(update={"images": True}))
    # Four cells and the whole, each of four tokens, and the marks around them.
    assert limits_of(_expert(folder, "transformers")).tokens([(50, 40), (50, 40)]) == 68


def test_a_model_without_eyes_refuses_images(requests: Requests, shown: list[dict[str, Any]], tmp_path: Path) -> None:
    """Another expert may take the row."""
    backend = load_backend(_expert(save_model(tmp_path / "blind"), "transformers"))
    rows = _rows(backend, _batch(requests, {"prompt": _RED, "images": shown[:1]}))
    assert rows[0]["bounced"]
