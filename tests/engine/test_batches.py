"""Rows of batch experts go through the provider's own batches: each once, at the price of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.pool import load_pool
from tests import batch_provider
from tests.batch_provider import BatchProvider, entry
from tests.provider import Reply

Make = Callable[..., Engine]
# Of the fake provider: 12 tokens in, 3 out.
TOKENS = 15


@pytest.fixture
def provider() -> Iterator[BatchProvider]:
    """Provide a provider with batches at half of USD 100 a million tokens."""
    with batch_provider.running() as server:
        server.usd_per_m = {"": (50.0, 50.0)}
        yield server


@pytest.fixture
def make(tmp_path: Path, provider: BatchProvider) -> Iterator[Make]:
    """Open engines over a pool of one batch expert 'slow', and more entries."""
    opened: list[Engine] = []

    def open_one(more: str = "", options: str = "", store: str = "store", default: str = "slow") -> Engine:
        (tmp_path / "pool.toml").write_text(f'default = "{default}"\n{entry(provider, "slow", 100, options)}{more}')
        opened.append(Engine(load_pool(tmp_path / "pool.toml"), store=tmp_path / store))
        return opened[-1]

    yield open_one
    for engine in opened:
        engine.close()


def _table(n: int, word: str = "question") -> pa.RecordBatchReader:
    return pa.table({"question": [f"{word} {i}" for i in range(n)]}).to_reader()


def _answer(engine: Engine, n: int = 20, word: str = "question", **criteria: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = engine.answer_table(_table(n, word), Criteria(**criteria)).to_pylist()
    return rows


def test_all_rows_are_one_batch_at_half_price(make: Make, provider: BatchProvider) -> None:
    """Twenty rows are one batch, and cost what the provider bills."""
    rows = _answer(make())
    assert [row["answer"] for row in rows] == [f"echo: question {i}" for i in range(20)]
    assert sum(row["cost_usd"] for row in rows) == pytest.approx(provider.account_usd)
    assert rows[0]["cost_usd"] == pytest.approx(TOKENS * 50e-6)
    assert (len(provider.batches), set(provider.asked.values())) == (1, {1})
    assert make().store.batches() == []


def test_a_repeated_run_sends_nothing(make: Make, provider: BatchProvider) -> None:
    """The answers of a batch are stored as all others are."""
    first, again = _answer(make()), _answer(make())
    assert [row["answer"] for row in again] == [row["answer"] for row in first]
    assert sum(row["cost_usd"] for row in again) == 0
    assert len(provider.batches) == 1


def test_a_refused_parameter_is_found_out_by_one_batch(make: Make, provider: BatchProvider) -> None:
    """Lines whose parameters were refused are in a second batch without them; a third has no more to learn."""
    provider.does[""] = "wants_both"
    engine = make()
    assert all(row["answer"] for row in _answer(engine))
    assert len(provider.batches) == 3  # one refusal after the other
    assert all(row["answer"] for row in _answer(engine, word="another"))
    assert len(provider.batches) == 4


def test_expired_lines_are_asked_again(make: Make, provider: BatchProvider) -> None:
    """What expired goes into another batch, and what expires every time is the error of its row."""
    provider.leaves = {"question 7": "batch_expired"}
    engine = make()
    rows = _answer(engine)
    assert [i for i, row in enumerate(rows) if row["error"]] == [7]
    assert "batch_expired" in rows[7]["error"]
    assert [len(provider.lines(batch)) for batch in provider.batches.values()] == [20, 1, 1]
    assert engine.store.batches() == []


def test_a_failed_line_goes_to_another_expert(make: Make, provider: BatchProvider) -> None:
    """A row that the batch cannot answer is answered by the next expert."""
    provider.leaves = {"question 7": "batch_expired"}
    rows = _answer(make(provider.entry("fast", 100, 16)))
    assert [row["expert"] for row in rows if row["expert"] != "slow"] == ["fast"]
    assert all(row["answer"] for row in rows)


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ("content_filter", "filter"),
        ("refusal", "refused"),
        ("empty_stop", "empty answer"),
        ("content_number", "no chat completion"),
        ("error_502_in_200", None),
    ],
)
def test_odd_replies_are_the_rows_own(make: Make, provider: BatchProvider, behaviour: str, error: str | None) -> None:
    """A line with an odd reply has its error and its cost, and its neighbours are answered."""
    provider.does["question 3"] = behaviour
    rows = _answer(make(), 10)
    assert [i for i, row in enumerate(rows) if row["error"]] == [3]
    assert error is None or error in rows[3]["error"]
    assert sum(row["cost_usd"] for row in rows) == pytest.approx(provider.account_usd)


def test_a_500_in_a_line_is_asked_again(make: Make, provider: BatchProvider) -> None:
    """What passes is in another batch."""
    provider.faults["question 3"] = [500]
    rows = _answer(make(), 10)
    assert all(row["answer"] for row in rows)
    assert [len(provider.lines(batch)) for batch in provider.batches.values()] == [10, 1]


def test_a_refused_key_ends_the_expert(make: Make, provider: BatchProvider) -> None:
    """Rows go to the next expert, and nothing is left open."""
    provider.refuses["upload"] = [Reply({"error": {"message": "bad key"}}, 401)]
    engine = make(provider.entry("fast", 100, 16))
    assert {row["expert"] for row in _answer(engine, 5)} == {"fast"}
    assert engine.store.batches() == []


@pytest.mark.parametrize("step", ["upload", "create", "look", "content"])
def test_what_passes_at_the_provider_costs_nothing(make: Make, provider: BatchProvider, step: str) -> None:
    """A server that fails for a moment at any step gets every batch once."""
    provider.refuses[step] = [Reply({"error": {"message": "overloaded"}}, 503), Reply(b"", drop=True)]
    rows = _answer(make(), 5)
    assert all(row["answer"] for row in rows)
    assert (len(provider.batches), set(provider.asked.values())) == (1, {1})


def test_a_create_whose_reply_is_lost_is_found(make: Make, provider: BatchProvider) -> None:
    """A batch that was created though the connection broke is not created again."""

    def lose() -> None:
        provider.moments.clear()
        raise ConnectionError

    provider.moments["create"] = lose
    assert all(row["answer"] for row in _answer(make(), 5))
    assert len(provider.batches) == 1


def _like_others(batch: dict[str, Any]) -> dict[str, Any]:
    """Describe a batch as some servers do: other types, other words, no metadata."""
    spelled = {**batch, "status": str(batch["status"]).upper(), "created_at": "2026-11-30T12:00:00Z", "errors": ""}
    return {**spelled, "completed_at": {}, "request_counts": None, "metadata": "none"}


def test_servers_that_spell_batches_otherwise_are_understood(make: Make, provider: BatchProvider) -> None:
    """Types and words differ between servers; a batch without metadata is known by its input file."""

    def lose() -> None:
        provider.moments.clear()
        raise ConnectionError

    provider.spells = _like_others
    provider.moments["create"] = lose
    rows = _answer(make(), 5)
    assert all(row["answer"] for row in rows)
    assert len(provider.batches) == 1
    assert all(0 <= row["latency_ms"] < 60_000 for row in rows)


def test_recorded_outcomes_stand_in_for_a_batch(pool_file: Path, data_folder: Path, tmp_path: Path) -> None:
    """A replayed expert with `batch` costs what a batch does, and is expected to take an hour."""
    text = pool_file.read_text().replace('backend = "replay"', 'backend = "replay"\nbatch = true\nbatch_discount = 0.5')
    pool_file.write_text(text)
    with Engine(load_pool(pool_file), store=tmp_path / "store") as engine:
        reader = pa.table({"question": ["What is 3 plus 3?"]})
        [row] = engine.answer_table(reader.to_reader(), Criteria()).to_pylist()
        expected = engine.expect(reader.to_reader(), Criteria())
        again = engine.answer_table(reader.to_reader(), Criteria(deadline="30m")).to_pylist()
        other = pa.table({"question": ["What is 4 plus 4?"]}).to_reader()
        late = engine.answer_table(other, Criteria(deadline="30m")).to_pylist()
    assert (row["answer"], row["cost_usd"]) == ("large says 6", pytest.approx(TOKENS * 50e-6))
    assert expected.seconds.tolist() == [[3600, 3600]]
    assert "by the deadline" in late[0]["error"]
    assert (again[0]["answer"], again[0]["cost_usd"]) == ("large says 6", 0.0)  # it was answered before


def test_a_batch_that_is_refused_as_a_whole_fails_its_rows(make: Make, provider: BatchProvider) -> None:
    """The reason is in the rows' errors."""
    provider.fails = [{"code": "invalid_json_line", "message": "line 1 is no JSON"}]
    rows = _answer(make(provider.entry("fast", 100, 16)), 5)
    assert {row["expert"] for row in rows} == {"fast"}


def test_a_batch_that_is_refused_for_now_is_submitted_again(make: Make, provider: BatchProvider) -> None:
    """Too many tokens under way: it is submitted again after a while."""
    provider.fails = [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]
    assert all(row["answer"] for row in _answer(make(), 5))
    assert len(provider.batches) == 2


def test_lines_are_split_by_the_limits(make: Make, provider: BatchProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """No batch has more lines or bytes than the provider takes."""
    from leeroo.engine.backends.api.batches.openai_files import OpenAIFiles

    monkeypatch.setattr(OpenAIFiles, "most_lines", 8)
    assert all(row["answer"] for row in _answer(make(), 20))
    assert sorted(len(provider.lines(batch)) for batch in provider.batches.values()) == [4, 8, 8]
    monkeypatch.setattr(OpenAIFiles, "most_bytes", 600)
    assert all(row["answer"] for row in _answer(make(), 10, "other"))
    assert all(
        len(content) <= 600 for content in provider.files.values() if b'"url"' in content and b"other" in content
    )


def test_a_budget_holds(make: Make, provider: BatchProvider) -> None:
    """Rows that do not fit wait for the first batch, and the account stays within the budget."""
    budget = 2 * 40 * TOKENS * 50e-6
    rows = _answer(make(), 40, max_cost_usd=budget)
    assert all(row["answer"] for row in rows)
    assert provider.account_usd <= budget
    assert len(provider.batches) > 1
