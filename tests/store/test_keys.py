"""The key of an answer: no two different requests share one, whatever texts they are made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.batch import plan as planning
from leeroo.engine.batch.prompts import build_asks, read_input
from leeroo.engine.batch.worktable import ASSIGNED, Worktable
from leeroo.engine.pool import load_pool
from leeroo.engine.schema import ASK
from leeroo.udfs.register import connect
from tests.provider import Provider

Entry = Callable[..., str]

_TURNS = json.dumps([{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}])
_SCHEMA = '{"type": "object"}'
_CHOOSE = "Answer with exactly one of these, and nothing else: a, b"
_JSON = f"Answer with JSON that is valid under this JSON schema, and nothing else: {_SCHEMA}"

# Each of these is another request. Texts of one hold what separates, names or follows the texts of another.
_DIFFERENT: list[dict[str, Any]] = [
    {"question": "Q"},
    {"question": "Q", "raw": True},
    {"question": "Q|raw"},
    {"question": 'Q","raw":true'},
    {"question": "Q", "turns": _TURNS},
    {"question": f"Q|turns{len(_TURNS)}|{_TURNS}"},
    {"question": "Q", "after": _TURNS},
    {"question": "Q", "choices": ["a", "b"]},
    {"question": "Q", "choices": ["a, b", "c"]},
    {"question": "Q", "choices": ["a", "b, c"]},
    {"question": "Q", "system": _CHOOSE},
    {"question": 'Q|["a","b"]', "system": _CHOOSE},
    {"question": "Q", "json_schema": _SCHEMA},
    {"question": "Q", "system": _JSON},
    {"question": f"Q|{_SCHEMA}", "system": _JSON},
    {"question": f"Q|{_SCHEMA}|raw", "system": _JSON},
    {"question": "Q", "decisions": '{"a": ["b", "c"]}'},
    {"question": "Q", "decisions": '{"a": ["b", "d"]}'},
    {"question": "Q", "system": "S"},
    {"question": "S|Q"},
    {"question": "Q", "system": "S|Q"},
    {"question": "Q", "system": "NULL"},
    {"question": "NULL"},
    {"question": "Q\0"},
    {"question": "Q\\u0000"},
    {"question": "Q", "max_tokens": 17},
    {"question": "17|Q"},
]

# A value for every argument; one that is added has to be listed here, and to make another request.
_ARGUMENTS: dict[str, Any] = {
    "expert": "far",
    "system": "S",
    "turns": _TURNS,
    "after": _TURNS,
    "max_tokens": 17,
    "temperature": 0.5,
    "top_p": 0.5,
    "seed": 1,
    "stop": ["."],
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
    "reasoning_effort": "low",
    "top_logprobs": 2,
    "choices": ["a", "b"],
    "json_schema": _SCHEMA,
    "decisions": '{"urgent": ["yes", "no"]}',
    "prompt": "P",
    "raw": True,
    "task": "{a} and {b}",
    "fields": '{"a": 1, "b": 2}',
    "images": [
        "data:;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
    ],
    "excluded": ["other"],
    "max_cost_usd": 1.0,
}
# These say who answers and how a prompt is laid out, not what is asked of it.
_NOT_IN_THE_KEY = {"expert", "task", "fields", "excluded", "max_cost_usd"}


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    columns = {name: [row.get(name) for row in rows] for name in ASK.names}
    question = pa.array([row["question"] for row in rows], pa.string())
    return pa.table({"question": question, "ask": build_asks(len(rows), columns)})


def _keys(tmp_path: Path, rows: list[dict[str, Any]]) -> list[bytes]:
    """Return the keys of the answers to rows, in their order, as one run makes them."""
    pool = tmp_path / "pool.toml"
    pool.write_text(
        '[[expert]]\nname = "far"\nmodel = "m"\nbackend = "openai"\nusd_per_m_input = 1\nusd_per_m_output = 1'
    )
    experts = load_pool(pool).experts
    worktable = Worktable(tmp_path / "scratch")
    try:
        read_input(_table(rows).to_reader(), Criteria(ask_column="ask"), worktable)
        planning.describe(worktable, experts, planning.waves(experts))
        zeros = ", ".join(f"0 AS {name}" for name in ASSIGNED.names if name != "id")
        assigned = worktable._con.sql(f"SELECT {zeros}, id FROM questions").to_arrow_table()
        worktable.plan(assigned.select(ASSIGNED.names).cast(ASSIGNED), "run")
        query = "SELECT p.key FROM row_keys r JOIN questions q USING (key) JOIN plan p USING (id) ORDER BY r.row"
        return [key for (key,) in worktable._con.execute(query).fetchall()]
    finally:
        worktable.close()


def test_every_argument_is_in_the_key(tmp_path: Path) -> None:
    """Every argument of a row makes another request, except its expert and its layout."""
    assert set(_ARGUMENTS) == set(ASK.names)
    base, *others = _keys(tmp_path, [{"question": "Q"}, *({"question": "Q", n: v} for n, v in _ARGUMENTS.items())])
    same = {name for name, key in zip(_ARGUMENTS, others, strict=True) if key == base}
    assert same == _NOT_IN_THE_KEY
    different = [key for key in others if key != base]
    assert len(set(different)) == len(different)


def test_no_two_requests_of_a_run_are_taken_for_one(tmp_path: Path) -> None:
    """Different requests stay different when questions are distinguished and when duplicates are joined."""
    assert len(set(_keys(tmp_path, _DIFFERENT))) == len(_DIFFERENT)


def test_no_run_gets_the_answer_to_another_request(tmp_path: Path, api: Provider, api_entry: Entry) -> None:
    """Each request is sent by a run of its own on one store; repeated, none is sent."""
    (tmp_path / "pool.toml").write_text(api_entry("far", 1, 100))
    api.says = lambda _, prompt: "a" if prompt == "Q" else '{"a": 1}'
    with Engine(load_pool(tmp_path / "pool.toml"), store=tmp_path / "store") as engine:
        for turn in range(2):
            for at, row in enumerate(_DIFFERENT):
                engine.answer_table(_table([row]).to_reader(), Criteria(ask_column="ask"))
                sent = len(api.bodies)
                # One may be sent again with fewer parameters, or fail; it is never found in the store of the others.
                assert sent > at if turn == 0 else sent <= 2 * len(_DIFFERENT), row


def test_a_label_is_always_one_of_the_labels(tmp_path: Path, api: Provider, api_entry: Entry) -> None:
    """No other request can put another text in its place."""
    (tmp_path / "pool.toml").write_text(api_entry("far", 1, 100))
    labelled = "Classify the text as one of: good, bad.\n\nText: T"
    api.says = lambda _, prompt: "neither" if '["' in prompt else {"good": 1.0}
    with connect(pool=tmp_path / "pool.toml", store=tmp_path / "store") as con:
        system = "Answer with exactly one of these, and nothing else: good, bad"
        for text in (f'{labelled}|["good","bad"]', f'{labelled}","choices":["good","bad"]'):
            query = "SELECT leeroo_answer(?, system := ?)"
            assert con.execute(query, [text, system]).fetchall() == [("neither",)]
        assert con.execute("SELECT leeroo_label('T', ['good', 'bad'])").fetchall() == [("good",)]
    assert api.bodies[-1]["messages"][-1]["content"] == labelled
