"""The stock OpenAI client against a real server, from upload to output file."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import polars as pl
import pytest

from tests.serve.talk import Serve, Server, Tenant, chat, content, jsonl, submit, wait

pytestmark = pytest.mark.usefixtures("api_pool")


@pytest.fixture(scope="module")
def strict(idle: Callable[..., Server]) -> Server:
    """Start a server that takes batches of 20 lines of 2 KiB."""
    return idle("--max-lines", "20", "--max-line-kb", "2")


def test_a_batch_from_upload_to_output(tenant: Tenant) -> None:
    """Every line has its answer under its custom_id, with usage and cost; the batch and its files say what they are."""
    client = tenant.client
    lines = [chat(f"line {i}", f"question {i}") for i in range(50)]
    batch = submit(client, jsonl(lines), metadata={"name": "first"})
    assert batch.status == "validating"
    assert batch.metadata == {"name": "first"}
    batch = wait(client, batch.id)
    assert (batch.status, batch.errors, batch.error_file_id) == ("completed", None, None)
    assert batch.request_counts.model_dump() == {"total": 50, "completed": 50, "failed": 0}
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    assert (batch.usage.input_tokens, batch.usage.output_tokens) == (600, 150)
    results = content(client, batch.output_file_id)
    assert [line["custom_id"] for line in results] == [line["custom_id"] for line in lines]
    for i, line in enumerate(results):
        assert line["error"] is None
        assert line["response"]["status_code"] == 200
        completion = openai.types.chat.ChatCompletion.model_validate(line["response"]["body"])
        assert completion.choices[0].message.content == f"echo: question {i}"
        assert completion.choices[0].finish_reason == "stop"
        assert completion.usage
        assert completion.usage.total_tokens == 15
        leeroo = line["response"]["body"]["leeroo"]
        assert leeroo["expert"] == completion.model == "large"  # the pool's default, without a router
        assert leeroo["cost_usd"] == leeroo["list_cost_usd"] == pytest.approx(150e-6)
    output = client.files.retrieve(batch.output_file_id)
    assert (output.purpose, output.bytes) == ("batch_output", len(client.files.content(output.id).content))
    assert sum(tenant.api.asked.values()) == 50


def test_a_wrong_line_fails_alone(tenant: Tenant) -> None:
    """A wrong line is in the error file, with the reason; the others are answered."""
    client = tenant.client
    tenant.api.does = {"broken": "garbage"}
    lines = [
        chat("good", "fine"),
        chat("unknown", "x", model="gpt-9"),
        chat("tools", "x", tools=[{"type": "function"}]),
        chat("hot", "x", temperature=3),
        chat("silent", "x") | {"body": {"model": "leeroo", "messages": [{"role": "assistant", "content": "x"}]}},
        chat(
            "schema", "x", response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": 1}}}
        ),
        chat("broken", "broken"),
        chat("pinned", "also fine", model="small"),
    ]
    batch = wait(client, submit(client, jsonl(lines)).id)
    assert batch.status == "completed"
    assert batch.request_counts.model_dump() == {"total": 8, "completed": 2, "failed": 6}
    answers = {line["custom_id"]: line for line in content(client, batch.output_file_id)}
    assert {name: line["response"]["body"]["model"] for name, line in answers.items()} == {
        "good": "large",
        "pinned": "small",
    }
    errors = {line["custom_id"]: line for line in content(client, batch.error_file_id)}
    assert errors["broken"]["response"] is None
    assert errors["broken"]["error"]["code"] == "request_failed"
    assert "instead of JSON" in errors.pop("broken")["error"]["message"]
    replies = {
        name: (line["response"]["status_code"], line["response"]["body"]["error"]["message"])
        for name, line in errors.items()
    }
    assert replies == {
        "unknown": (404, "there is no model 'gpt-9'; those that can be asked are: leeroo, large, small"),
        "tools": (400, "tools: is not supported here: leave it out"),
        "hot": (400, "temperature: Input should be less than or equal to 2"),
        "silent": (400, "messages: there is no message of the user"),
        "schema": (400, "response_format: not a JSON schema: 1 is not valid under any of the given schemas"),
    }


@pytest.mark.parametrize(
    ("text", "code", "line", "message"),
    [
        (b"", None, None, "the file is empty"),
        (b"\n \n", "empty_file", None, "the file holds no requests"),
        (b'{"a": 1}\n', "invalid_request", 1, "custom_id: is missing"),
        (jsonl([chat("a", "x")]) + b"\n{not json}", "invalid_json_line", 2, "the line is not valid JSON: Expecting property name"),
        (b"[1]", "invalid_json_line", 1, "the line is not a JSON object"),
        (b"\xff\xfe\x00", "invalid_json_line", 1, "the line is not valid JSON"),
        (b"[" * 2000, "invalid_json_line", 1, "the line is not valid JSON"),
        (jsonl([chat("a", "x"), chat("b", "x"), chat("a", "y")]), "duplicate_custom_id", 3, "the custom_id 'a' is there twice"),
        (jsonl([chat("a", "x") | {"url": "/v1/completions"}]), "mismatched_endpoint", 1, "the line's url is '/v1/completions'"),
        (jsonl([chat("a", "x") | {"method": "GET"}]), "invalid_request", 1, "method: Input should be 'POST'"),
        (jsonl([chat("a", "x" * 3000)]), "line_too_long", 1, "a line has more than 2,048 bytes"),
        (jsonl([chat(str(i), "x") for i in range(21)]), "too_many_tasks", 21, "the file has more than 20 requests"),
        (b"PAR1 and nothing more", "invalid_parquet", None, "the Parquet file cannot be read"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_batch(strict: Server, text: bytes, code: str | None, line: int | None, message: str) -> None:
    """Fails as a whole, with the line and why."""
    client = strict.client()
    if code is None:
        with pytest.raises(openai.BadRequestError, match=message):
            submit(client, text)
        return
    batch = wait(client, submit(client, text).id)
    assert batch.status == "failed"
    [error] = batch.errors.data
    assert (error.code, error.line) == (code, line)
    assert error.message.startswith(message)
    assert (batch.request_counts.total, batch.output_file_id) == (0, None)


def test_conversations_and_forms_reach_the_model(tenant: Tenant) -> None:
    """System text, earlier turns, limits, temperature and JSON schema as they were sent; text to go on with as text."""
    client = tenant.client
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "One?"}]},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Three?"},
    ]
    body = {"model": "large", "messages": turns, "max_completion_tokens": 7, "temperature": 0.5, "top_p": 1.0, "n": 1}
    batch = wait(client, submit(client, jsonl([chat("a", "") | {"body": body}])).id)
    assert batch.request_counts.completed == 1
    sent = tenant.api.bodies[-1]
    assert sent["messages"] == [turns[0], {"role": "user", "content": "One?"}, *turns[2:]]
    assert (sent["max_tokens"], sent["temperature"]) == (7, 0.5)
    line = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/completions",
        "body": {"model": "small", "prompt": "Once upon"},
    }
    batch = wait(client, submit(client, jsonl([line]), endpoint="/v1/completions").id)
    [result] = content(client, batch.output_file_id)
    completion = openai.types.Completion.model_validate(result["response"]["body"])
    assert completion.choices[0].text == "echo: Once upon"


def test_metadata_sets_budget_and_privacy(tenant: Tenant) -> None:
    """Lines beyond the budget fail with that as their reason; private lines stay with local experts."""
    client = tenant.client
    lines = jsonl([chat(str(i), f"question {i}", model="large") for i in range(20)])
    batch = wait(client, submit(client, lines, metadata={"max_cost_usd": "0.0025"}).id)
    assert batch.status == "completed"
    assert 0 < batch.request_counts.completed < 20
    assert batch.leeroo["cost_usd"] <= batch.leeroo["max_cost_usd"] == 0.0025
    assert "budget" in content(client, batch.error_file_id)[0]["error"]["message"]
    private = wait(client, submit(client, jsonl([chat("a", "a secret")]), metadata={"private": "true"}).id)
    [line] = content(client, private.output_file_id)
    assert line["response"]["body"]["model"] == "small"
    for metadata in ({"max_cost_usd": "much"}, {"max_cost_usd": "-1"}, {"cost_weight": "nan"}, {"private": "yes"}):
        with pytest.raises(openai.BadRequestError, match=f"metadata.{next(iter(metadata))}"):
            submit(client, lines, metadata=metadata)


def test_a_table_comes_back_as_a_table(tenant: Tenant, tmp_path: Path) -> None:
    """A Parquet file has the input's columns, then those of the answers under free names; NULL stays."""
    client = tenant.client
    tenant.api.does = {"broken": "garbage"}
    frame = pl.DataFrame({"answer": [3, 1, 2, 0], "question": ["one", None, "broken", "four"]})
    frame.write_parquet(tmp_path / "in.parquet")
    batch = wait(client, submit(client, (tmp_path / "in.parquet").read_bytes()).id)
    assert (batch.status, batch.error_file_id) == ("completed", None)
    table = pl.read_parquet(io.BytesIO(client.files.content(batch.output_file_id).content))
    assert table.select("answer", "question").equals(frame)
    assert table["leeroo_answer"].to_list() == ["echo: one", None, None, "echo: four"]
    assert table["leeroo_error"].is_null().to_list() == [True, True, False, True]
    assert table["leeroo_cost_usd"].to_list() == pytest.approx([150e-6, 0, 0, 150e-6])
    pl.DataFrame({"text": ["a"]}).write_parquet(tmp_path / "in.parquet")
    batch = wait(client, submit(client, (tmp_path / "in.parquet").read_bytes()).id)
    assert batch.errors.data[0].message.startswith("the Parquet file has no text column 'question'")


def test_a_table_that_is_larger_than_it_looks(serve: Serve, api: Any, tmp_path: Path) -> None:
    """One text in every row takes no room in the file and gigabytes when it is unpacked: refused beforehand."""
    client = serve("--max-file-mb", "2").client()
    text = pl.Series("question", ["x" * 500_000]).new_from_index(0, 5000)
    pl.DataFrame({"question": text}).write_parquet(tmp_path / "in.parquet")
    assert (tmp_path / "in.parquet").stat().st_size < 2_000_000
    batch = wait(client, submit(client, (tmp_path / "in.parquet").read_bytes()).id)
    assert batch.errors.data[0].message == "the Parquet file is too large when it is unpacked: split it"
    assert not api.asked


def test_a_cancelled_batch_keeps_its_answers(tenant: Tenant) -> None:
    """Answers are in the output file, the other lines in the error file."""
    client = tenant.client
    tenant.api.delay_s = 0.2
    batch = submit(client, jsonl([chat(str(i), f"question {i}") for i in range(2000)]))
    while client.batches.retrieve(batch.id).status == "validating":
        pass
    assert client.batches.cancel(batch.id).status == "cancelling"
    batch = wait(client, batch.id)
    assert (batch.status, batch.cancelled_at is not None) == ("cancelled", True)
    answers, errors = content(client, batch.output_file_id), content(client, batch.error_file_id)
    assert len(answers) == batch.request_counts.completed < 2000
    assert len(answers) + len(errors) == 2000
    assert {line["error"]["code"] for line in errors} == {"batch_cancelled"}
    with pytest.raises(openai.ConflictError, match="cancelled, and can no longer be cancelled"):
        client.batches.cancel(batch.id)


def test_lists_come_in_pages(tenant: Tenant) -> None:
    """Batches are listed newest first, files in either order, and the client's own paging reads all of them."""
    client = tenant.client
    made = [submit(client, jsonl([chat("a", f"question {i}")])).id for i in range(5)]
    assert [batch.id for batch in client.batches.list(limit=2)] == made[::-1]
    page = client.batches.list(limit=2)
    assert ([batch.id for batch in page.data], page.has_more) == (made[:2:-1], True)
    for batch in made:
        wait(client, batch)
    inputs = [file.id for file in client.files.list(purpose="batch", order="asc", limit=2)]
    assert len(inputs) == 5
    assert [file.id for file in client.files.list(purpose="batch")] == inputs[::-1]
    assert len(list(client.files.list())) == 10
    with pytest.raises(openai.NotFoundError, match="there is no batch"):
        client.batches.list(after="batch_none")


def test_deleted_files_are_removed(tenant: Tenant) -> None:
    """A file can be deleted, unless a batch reads it."""
    client = tenant.client
    tenant.api.delay_s = 0.2
    batch = submit(client, jsonl([chat("a", "question")]))
    with pytest.raises(openai.ConflictError, match="is the input of an open batch"):
        client.files.delete(batch.input_file_id)
    wait(client, batch.id)
    assert client.files.delete(batch.input_file_id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(batch.input_file_id)
    again: Any = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    with pytest.raises(openai.NotFoundError):
        client.batches.create(input_file_id=batch.input_file_id, **again)


def test_models_are_the_pool_and_the_one_that_routes(tenant: Tenant) -> None:
    """Each model can be found by its name."""
    assert [model.id for model in tenant.client.models.list()] == ["leeroo", "large", "small"]
    assert tenant.client.models.retrieve("small").id == "small"
    with pytest.raises(openai.NotFoundError):
        tenant.client.models.retrieve("medium")


def test_the_example_in_the_docs_runs(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program that docs/how-to/serve-batches.md shows gets an answer to the line that it shows."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "serve-batches.md").read_text("utf-8")
    [program] = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    [line] = re.findall(r"```json\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "requests.jsonl").write_text(line)
    monkeypatch.chdir(tmp_path)
    exec(program.replace("http://127.0.0.1:8080", serve().url).replace("sleep(5)", "sleep(0.1)"), {})
    result = json.loads(capsys.readouterr().out)
    assert result["response"]["body"]["choices"][0]["message"]["content"] == "echo: Capital of France?"
