"""Several decisions in one request: read once, each scored by itself, and one reply of an API."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.backends.choices import ChoiceTree
from leeroo.engine.backends.decisions import find_decisions, read_decisions, split_scores
from leeroo.engine.backends.select import load_backend
from leeroo.engine.pool import Expert
from tests.backends.tiny import save_model
from tests.provider import Call, Provider, Reply

Requests = Callable[..., pa.RecordBatch]
Ask = Callable[..., list[dict[str, Any]]]

TICKET = json.dumps({"urgent": ["yes", "no"], "team": ["billing", "bug", "big bug"], "stars": [1, 2, 10]})
WANTED = read_decisions(TICKET)


def _rows(backend: Any, *batches: pa.RecordBatch) -> list[dict[str, Any]]:
    rows = [row for batch in backend.generate(iter(batches)) for row in batch.to_pylist()]
    return sorted(rows, key=lambda row: row["id"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "decisions must be names with their choices"),
        ("{}", "decisions must be names with their choices"),
        ("{", "decisions must be names with their choices"),
        ('{"a": "yes"}', "the decision 'a' needs a list of choices, not \"yes\""),
        ('{"a": ["yes"]}', "the decision 'a' needs at least two choices, not 1"),
        ('{"a": []}', "the decision 'a' needs at least two choices, not 0"),
        ('{"a": ["yes", null]}', "the decision 'a' has a choice that is NULL"),
        ('{"a": ["yes", " "]}', "the decision 'a' has a choice that is blank, or no text, number or boolean"),
        ('{"a": ["yes", ["no"]]}', "the decision 'a' has a choice that is blank, or no text, number or boolean"),
        ('{"a": [1, 2, 1]}', "the decision 'a' has a choice twice"),
    ],
)
def test_what_cannot_be_decided_is_one_line(text: str, says: str) -> None:
    """Each fault is named, with the decision that has it."""
    with pytest.raises(ValueError, match="decision") as error:
        read_decisions(text)
    assert str(error.value).startswith(says)


@pytest.mark.parametrize(
    "reply",
    [
        '{"urgent": "yes", "team": "big bug", "stars": 10}',
        '```json\n{"stars": "10", "team": "Big bug.", "urgent": "YES", "more": null}\n```',
    ],
)
def test_a_reply_names_a_choice_of_each(reply: str) -> None:
    """The choices come as they were given, in the order of the decisions."""
    assert json.loads(find_decisions(reply, WANTED)) == {"urgent": "yes", "team": "big bug", "stars": 10}


def test_true_is_not_one() -> None:
    """Python takes them for equal."""
    numbers, truths = (read_decisions(json.dumps({"a": choices})) for choices in ([0, 1], [False, True]))
    assert find_decisions('{"a": true}', truths) == '{"a": true}'
    with pytest.raises(ValueError, match="'true' is none of the choices for 'a'"):
        find_decisions('{"a": true}', numbers)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("yes, billing", "the answer is no JSON object: 'yes, billing'"),
        ('{"urgent": "yes", "team": "bug"}', "the answer has no choice for 'stars'"),
        ('{"urgent": "yes", "team": null, "stars": 1}', "the answer has no choice for 'team'"),
        ('{"urgent": "yes", "team": "sales", "stars": 1}', "the answer 'sales' is none of the choices for 'team'"),
    ],
)
def test_a_reply_without_a_choice_says_so(reply: str, says: str) -> None:
    """A decision that is missing is named."""
    with pytest.raises(ValueError, match="the answer") as error:
        find_decisions(reply, WANTED)
    assert str(error.value) == says


def test_a_tree_of_lists_scores_each_list_by_itself() -> None:
    """The probabilities of each list add up to 1, whatever its texts share with those of another."""
    tree = ChoiceTree([[(1, 5), (1, 6)], [(1, 5), (1, 5, 7), (2,)]], end=0)
    scores = None
    for prefix, branches in tree.forks:
        assert scores is None
        scores = tree.add(prefix, {token: math.log(1 / len(branches)) for token in branches})
    assert [round(math.exp(score), 3) for score in scores or []] == [0.5, 0.5, 0.25, 0.25, 0.5]


@pytest.mark.parametrize("kind", ["llama", "mamba", "falcon_h1"])
def test_decisions_are_scored_as_each_is_alone(kind: str, requests: Requests, tmp_path: Path) -> None:
    """One row decides the same with any other rows and decisions, whether or not the model can go on from a prefix."""
    expert = Expert(
        name="t", model=str(save_model(tmp_path, kind)), backend="transformers", usd_per_m_input=0, usd_per_m_output=0
    )
    backend = load_backend(expert)
    prompts = ["The ticket says that all is lost. ", "The ticket says that nothing works, and more.", "Hm"]
    together = _rows(backend, requests(*prompts, decisions=TICKET))
    for prompt, row in zip(prompts, together, strict=True):
        assert list(json.loads(row["answer"])) == ["urgent", "team", "stars"]
        for name, scores in split_scores(WANTED, row["choice_logprobs"]).items():
            alone = _rows(backend, requests(prompt, decisions=json.dumps({name: WANTED[name]})))[0]
            assert scores == pytest.approx(alone["choice_logprobs"], abs=1e-3)
            assert sum(map(math.exp, scores)) == pytest.approx(1)


def test_a_model_decides_and_reads_the_text_once(transformers: Any, requests: Requests) -> None:
    """The tokens of a prompt count once, however many decisions there are; malformed ones cost their row alone."""
    ticket = "I was charged twice for May. Please refund me today!"
    one = _rows(transformers, requests(ticket, decisions='{"urgent": ["yes", "no"]}', system="Decide."))[0]
    all_ = _rows(transformers, requests(ticket, ticket, decisions=TICKET, system="Decide."))
    assert [row["prompt_tokens"] for row in all_] == [one["prompt_tokens"]] * 2
    assert all_[0]["answer"] == all_[1]["answer"]
    rows = requests(ticket, ticket, decisions=TICKET).to_pylist()
    rows[0]["decisions"] = '{"a": ["b"]}'
    bad, good = _rows(transformers, pa.RecordBatch.from_pylist(rows, schema=requests().schema))
    assert bad["error"] == "the decision 'a' needs at least two choices, not 1"
    assert good["error"] is None


def _token(text: str, *others: tuple[str, float]) -> dict[str, Any]:
    alike = [{"token": each, "logprob": math.log(p), "bytes": None} for each, p in others]
    return {"token": text, "logprob": -0.1, "bytes": None, "top_logprobs": alike}


REPLY = [
    _token('{"'),
    _token("urgent"),
    _token('":'),
    _token(' "no', (' "no', 0.6), (' "yes', 0.3), (" null", 0.1)),
    _token('", "'),
    _token("team"),
    _token('": "'),
    _token("b", ("b", 0.9), ("s", 0.1)),
    _token('ug", "stars": '),
    _token("2", ("2", 0.5), ("10", 0.25), ("7", 0.25)),
    _token("}"),
]


def _replies(tokens: list[dict[str, Any]], *, logprobs: bool) -> Callable[[Call], Reply]:
    message = {"role": "assistant", "content": "".join(token["token"] for token in tokens)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    choice |= {"logprobs": {"content": tokens}} if logprobs else {}
    usage = {"prompt_tokens": 12, "completion_tokens": 3}
    return lambda call: Reply({"choices": [choice], "usage": usage}, billed=(12, 3))


def test_an_api_gets_one_request_with_a_schema(api: Provider, ask: Ask) -> None:
    """The server is given the choices; confidence comes from the tokens with which the values begin."""
    api.replies = _replies(REPLY, logprobs=True)
    row = ask("Ticket", decisions=TICKET)[0]
    assert json.loads(row["answer"]) == {"urgent": "no", "team": "bug", "stars": 2}
    [body] = api.bodies
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["stars"] == {"enum": [1, 2, 10]}
    assert schema["required"] == ["urgent", "team", "stars"]
    assert body["logprobs"] is True
    scores = split_scores(WANTED, row["choice_logprobs"])
    assert [round(math.exp(each), 3) for each in scores["urgent"]] == [0.333, 0.667]
    assert list(scores["team"]) == [None] * 3  # 'billing', 'bug' and 'big bug' begin with the token "b"
    assert [round(math.exp(each), 3) for each in scores["stars"]] == [0.25, 0.5, 0.25]


def test_an_api_without_logprobs_decides_without_confidence(api: Provider, ask: Ask) -> None:
    """Nothing is known then but the choices."""
    api.replies = _replies(REPLY, logprobs=False)
    row = ask("Ticket", decisions=TICKET)[0]
    assert json.loads(row["answer"])["team"] == "bug"
    assert row["choice_logprobs"] is None


def test_an_api_that_leaves_a_decision_out_fails_the_row(api: Provider, ask: Ask) -> None:
    """The row says which; another row is not touched."""
    api.says = lambda _, prompt: (
        '{"urgent": "no"}' if prompt == "short" else json.dumps({n: c[0] for n, c in WANTED.items()})
    )
    short, whole = ask("short", "whole", decisions=TICKET)
    assert "the answer has no choice for 'team'" in short["error"]
    assert json.loads(whole["answer"]) == {"urgent": "yes", "team": "billing", "stars": 1}


def test_recorded_texts_are_read_as_decisions(requests: Requests, data_folder: Path) -> None:
    """What was recorded is replayed where it has all choices, and fails its row where it has not."""
    outcomes = pq.read_table(data_folder / "outcomes.parquet")
    said = ['{"a": "x", "b": 2}' if i % 4 == 0 else "I cannot say." for i in range(len(outcomes))]
    at = outcomes.schema.get_field_index("response")
    pq.write_table(outcomes.set_column(at, "response", pa.array(said)), data_folder / "outcomes.parquet")
    expert = Expert(name="large", model=str(data_folder), backend="replay", usd_per_m_input=1, usd_per_m_output=1)
    batch = requests("What is 0 plus 0?", "What is 1 plus 1?", decisions='{"a": ["x", "y"], "b": [1, 2]}')
    decided, other = _rows(load_backend(expert), batch)
    assert decided["answer"] == '{"a": "x", "b": 2}'
    assert other["answer"] is None
    assert other["error"] == "recorded: the answer is no JSON object: 'I cannot say.'"
