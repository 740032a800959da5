"""POST and GET /v1/feedback: users' judgements reach the store, and one bad line costs no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from leeroo.engine.jobs.feedback import judge_feedback
from leeroo.engine.store.store import Store
from tests.serve.talk import Serve, Server, chat, jsonl, submit, wait


@pytest.fixture
def server(serve: Serve, api_pool: None) -> Server:
    """Start a server over two experts."""
    del api_pool
    return serve()


@pytest.fixture(scope="module")
def unused(idle: Callable[..., Server]) -> Server:
    """Start a server that has answered nothing."""
    return idle()


def _post(server: Server, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(f"{server.url}/v1/feedback", content=content, headers=headers)


def _kept(server: Server) -> list[tuple[Any, ...]]:
    store = Store(server.place / "store")
    try:
        return sorted(
            (r["question"], r["expert"], r["answer"], r["score"], r["judged_by"]) for r in judge_feedback(store)
        )
    finally:
        store.close()


def test_a_batch_is_judged_line_by_line(server: Server) -> None:
    """A line is found by its question, or by custom_id and batch_id; a gold is compared with the expert's answer."""
    client = server.client()
    batch = wait(client, submit(client, jsonl([chat("a", "one", "small"), chat("b", "two 2", "large")])).id)
    lines = [
        {"custom_id": "a", "batch_id": batch.id, "score": 0.25},
        {"custom_id": "b", "batch_id": batch.id, "gold": 2},
    ]
    reply = _post(server, jsonl(lines))
    assert (reply.status_code, reply.json()) == (200, {"object": "feedback", "kept": 2, "failed": 0, "errors": []})
    assert _kept(server) == [
        ("one", "small", "echo: one", 0.25, "user"),
        ("two 2", "large", "echo: two 2", 1, "numeric"),
    ]
    # Given again by question alone, it replaces what was there.
    assert _post(server, {"question": "one", "score": 1}).json()["kept"] == 1
    assert httpx.get(f"{server.url}/v1/feedback").json() == {
        "object": "list",
        "data": [
            {"expert": "large", "feedback": 1, "mean_score": 1.0},
            {"expert": "small", "feedback": 1, "mean_score": 1.0},
        ],
    }


def test_a_wrong_line_fails_alone(server: Server) -> None:
    """The reply has each wrong line; where nothing can be kept, the first is the error."""
    good = {"question": "q", "expert": "small", "score": 1}
    lines = [b'{"question": ', json.dumps(good).encode(), b"", b"[1]", json.dumps({**good, "score": 1.5}).encode()]
    reply = _post(server, b"\n".join(lines)).json()
    assert (reply["kept"], reply["failed"]) == (1, 3)
    assert [(e["line"], e["message"].split(":")[0]) for e in reply["errors"]] == [
        (1, "not valid JSON"),
        (4, "not a JSON object"),
        (5, "score"),
    ]
    assert _kept(server) == [("q", "small", None, 1, "user")]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "there is no feedback"),
        (b"\xff", "not valid JSON"),
        ([], "there is no feedback"),
        ({"question": "q", "expert": "one"}, "give a score or what would have been right"),
        ({"question": "q", "expert": "one", "score": True}, "score:"),
        ({"question": "q", "expert": "medium", "score": 1}, "no expert is called 'medium'"),
        ({"question": "q", "score": 1}, "nobody is known to have answered 'q'"),
        ({"score": 1}, "name the question, or a line by custom_id and batch_id"),
        ({"custom_id": "a", "score": 1}, "name the question, or a line by custom_id and batch_id"),
        ({"custom_id": "a", "batch_id": "batch_0", "score": 1}, "there is no batch 'batch_0'"),
        ({"question": "q", "expert": "one", "score": 1, "stars": 5}, "stars: is not supported here"),
        (b'{"question": "\\ud800", "expert": "one", "score": 1}', "question:"),
    ],
)
def test_feedback_that_cannot_be_kept_is_refused(unused: Server, body: Any, reason: str) -> None:
    """The reply is one clear reason, with status 400."""
    reply = _post(unused, body)
    assert reply.status_code == 400
    assert reason in reply.json()["error"]["message"]


def test_batches_of_others_are_not_there(serve: Serve, api_pool: None) -> None:
    """Another key cannot judge or find a batch by its custom_ids; without a key nothing is possible."""
    del api_pool
    server = serve(start=False)
    mine, other = server.key("mine"), server.key("other")
    server.start()
    batch = wait(server.client(mine), submit(server.client(mine), jsonl([chat("a", "one")])).id)
    line = {"custom_id": "a", "batch_id": batch.id, "score": 1}
    assert _post(server, line).status_code == 401
    reply = _post(server, line, authorization=f"Bearer {other}")
    assert (reply.status_code, reply.json()["error"]["message"]) == (400, f"line 1: there is no batch {batch.id!r}")
    assert _post(server, line, authorization=f"Bearer {mine}").json()["kept"] == 1


def test_feedback_of_keys_is_their_own(serve: Serve, api_pool: None) -> None:
    """A key neither replaces nor sums another's feedback, nor learns which questions were answered."""
    del api_pool
    server = serve(start=False)
    mine, other = ({"authorization": f"Bearer {server.key(name)}"} for name in ("mine", "other"))
    server.start()
    client = server.client(mine["authorization"].removeprefix("Bearer "))
    batch = wait(client, submit(client, jsonl([chat("a", "one", "small")])).id)
    assert _post(server, {"batch_id": batch.id, "custom_id": "a", "score": 0.9}, **mine).json()["kept"] == 1
    for question in ("one", "never asked"):
        for more in ({"score": 0}, {"expert": "small", "gold": "x"}, {"answer": "x", "score": 0}):
            reply = _post(server, {"question": question, **more}, **other)
            assert (reply.status_code, "is missing; " in reply.json()["error"]["message"]) == (400, True)
        for more in ({"gold": "x"}, {"expert": "large", "score": 0, "gold": "x"}):
            assert _post(server, {"question": question, **more}, **other).json()["kept"] == 1
    summed = [httpx.get(f"{server.url}/v1/feedback", headers=key).json()["data"] for key in (mine, other)]
    assert summed[0] == [{"expert": "small", "feedback": 1, "mean_score": 0.9}]
    assert summed[1] == [{"expert": "large", "feedback": 2, "mean_score": 0.0}]


def test_feedback_is_limited(unused: Server) -> None:
    """Texts that take long to compare are refused, and so are too many items at once."""
    one = {"question": "q", "expert": "one"}
    assert "gold" in _post(unused, {**one, "answer": "a", "gold": "x" * 1025}).json()["error"]["message"]
    assert "answer" in _post(unused, {**one, "answer": "a" * 40_000, "gold": "x"}).json()["error"]["message"]
    many = _post(unused, jsonl([{**one, "score": 1}] * 1001))
    assert (many.status_code, "more than 1,000 items" in many.json()["error"]["message"]) == (413, True)


def test_deleted_files_do_not_matter(server: Server) -> None:
    """Question, expert and answer of a line are kept as long as its batch."""
    client = server.client()
    lines = [chat("a", "one", "small", n=2, seed=1), chat("b", "two", temperature=3), chat("c", "")]
    batch = wait(client, submit(client, jsonl(lines)).id)
    assert (batch.status, batch.request_counts.completed) == ("completed", 2)
    for file in (batch.input_file_id, batch.output_file_id, batch.error_file_id):
        client.files.delete(file)
    items = [{"custom_id": name, "batch_id": batch.id, "score": 0.5} for name in ("a", "b")]
    reply = _post(server, items).json()
    assert (reply["kept"], [error["line"] for error in reply["errors"]]) == (1, [2])
    assert "has no answer under the custom_id 'b'" in reply["errors"][0]["message"]
    assert _kept(server) == [("one", "small", "echo: one", 0.5, "user")]
