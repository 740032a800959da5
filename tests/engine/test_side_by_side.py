"""Calls of one engine, and experts within a call, are at work at the same time where they share no device."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.backends.subprocess import SubprocessBackend
from leeroo.engine.errors import Interrupted
from leeroo.engine.pool import Expert, Pool
from tests.backends.tiny import save_model
from tests.provider import Provider, running

CONCURRENCY = 4
LARGE = 600


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Provide a provider of its own for each test."""
    with running() as server:
        yield server


@pytest.fixture
def engine(provider: Provider, tmp_path: Path) -> Iterator[Engine]:
    """Provide an engine over three experts of the provider, each with a concurrency of 4."""
    experts = tuple(
        Expert(
            name=name,
            model=name,
            backend="openai",
            base_url=provider.url,
            usd_per_m_input=1,
            usd_per_m_output=2,
            max_tokens=8,
            engine={"concurrency": CONCURRENCY, "max_retries": 0, "timeout": 30},
        )
        for name in ("first", "second", "third")
    )
    with Engine(Pool(default="first", experts=experts), store=tmp_path / "store") as engine:
        yield engine


def _table(word: str, rows: int, experts: tuple[str, ...] = ("first",)) -> pa.RecordBatchReader:
    asks = [{"expert": experts[i % len(experts)]} for i in range(rows)]
    table = pa.table(
        {
            "question": [f"{word} {i}" for i in range(rows)],
            "ask": pa.array(asks, pa.struct([("expert", pa.string())])),
        }
    )
    return table.to_reader()


def _answers(engine: Engine, reader: pa.RecordBatchReader, stop: threading.Event | None = None) -> list[str | None]:
    with engine.answer(reader, Criteria(ask_column="ask"), stop) as rows:
        answers: list[str | None] = rows.read_all().column("answer").to_pylist()
    return answers


def test_remote_experts_answer_at_the_same_time(engine: Engine, provider: Provider) -> None:
    """Three experts with 4 connections each have 12 calls in flight."""
    provider.delay_s = 0.2
    answers = _answers(engine, _table("q", 48, ("first", "second", "third")))
    assert answers == [f"echo: q {i}" for i in range(48)]
    assert provider.most_at_once == 3 * CONCURRENCY


def test_calls_of_two_threads_share_the_concurrency(engine: Engine, provider: Provider) -> None:
    """Two calls that ask one expert have no more in flight than it allows, and both are answered."""
    provider.delay_s = 0.02
    said: dict[str, list[str | None]] = {}
    threads = [
        threading.Thread(target=lambda word=word: said.update({word: _answers(engine, _table(word, 60))}))
        for word in ("one", "two")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert said == {word: [f"echo: {word} {i}" for i in range(60)] for word in ("one", "two")}
    assert provider.most_at_once == CONCURRENCY


def test_a_call_does_not_wait_for_another_that_hangs(engine: Engine, provider: Provider) -> None:
    """While one call waits for an expert that hangs, another call of the same engine is answered."""
    provider.does["stuck"], provider.hang_s = "hang", 20
    stop = threading.Event()

    def hang() -> None:
        with pytest.raises(Interrupted):
            _answers(engine, _table("stuck", 4), stop)

    hanging = threading.Thread(target=hang)
    hanging.start()
    while not provider.asked:
        time.sleep(0.01)
    began = time.monotonic()
    assert _answers(engine, _table("quick", 4, ("second",))) == [f"echo: quick {i}" for i in range(4)]
    assert time.monotonic() - began < 5
    stop.set()
    hanging.join(5)
    assert not hanging.is_alive()


def test_stopping_one_call_leaves_the_other(engine: Engine, provider: Provider) -> None:
    """The event of a call ends that call, promptly, and what was paid for by then is kept."""
    provider.delay_s = 0.1
    stop = threading.Event()
    done: list[str | None] = []
    other = threading.Thread(target=lambda: done.extend(_answers(engine, _table("kept", 40, ("second",)))))
    other.start()
    stopped_at: list[float] = []

    def stop_soon() -> None:
        while not any(bill.prompt.startswith("stopped") for bill in provider.bills):
            time.sleep(0.01)
        stop.set()
        stopped_at.append(time.monotonic())

    threading.Thread(target=stop_soon).start()
    with pytest.raises(Interrupted):
        _answers(engine, _table("stopped", 400), stop)
    assert time.monotonic() - stopped_at[0] < 3
    other.join(30)
    assert done == [f"echo: kept {i}" for i in range(40)]
    paid = [bill for bill in provider.bills if bill.prompt.startswith("stopped")]
    assert 0 < len(paid) < 400
    assert sum(row["answers"] for row in engine.store.spend()) == pytest.approx(len(paid) + 40, abs=CONCURRENCY)


def test_an_interrupt_by_thread_stops_its_call(engine: Engine, provider: Provider) -> None:
    """`interrupt` ends what the named thread is being answered, and nothing else."""
    provider.delay_s = 0.1
    me = threading.get_ident()
    engine.interrupt(me)  # nothing is being answered
    threading.Timer(0.4, engine.interrupt, (me,)).start()
    with pytest.raises(Interrupted):
        _answers(engine, _table("q", 400))
    assert _answers(engine, _table("again", 2)) == ["echo: again 0", "echo: again 1"]


def test_a_budget_holds_over_experts_at_work_at_once(engine: Engine, provider: Provider) -> None:
    """Three lanes that spend one budget together do not pass it."""
    provider.usage = (12, 8)
    provider.delay_s = 0.01
    most = 20 * (12 + 2 * 8) / 1e6  # what twenty answers cost
    criteria = Criteria(ask_column="ask", max_cost_usd=most)
    out = engine.answer_table(_table("q", 90, ("first", "second", "third")), criteria)
    assert 0 < provider.account_usd <= most
    assert sum(out.column("cost_usd").to_pylist()) == pytest.approx(provider.account_usd)


def test_each_thread_delivers_its_own_answers(engine: Engine) -> None:
    """A delivery finishes the runs of its thread, not those of another."""
    with engine.delivery():
        other = threading.Thread(target=lambda: _answers(engine, _table("theirs", 1)))
        other.start()
        other.join(30)
        _answers(engine, _table("mine", 1))
        assert [run["finished"] is not None for run in engine.store.runs()] == [True, False]
    assert [run["finished"] is not None for run in engine.store.runs()] == [True, True]


def test_requests_that_hang_do_not_hold_up_another_call(engine: Engine, provider: Provider) -> None:
    """Where hanging requests of one call have all of an expert's concurrency, another call has a small part beyond."""
    provider.does["stuck"], provider.hang_s = "hang", 20
    stop = threading.Event()

    def stuck() -> None:
        with pytest.raises(Interrupted):
            _answers(engine, _table("stuck", 2 * CONCURRENCY), stop)

    thread = threading.Thread(target=stuck)
    thread.start()
    while provider.at_once < CONCURRENCY:
        time.sleep(0.01)
    began = time.monotonic()
    assert _answers(engine, _table("quick", 10)) == [f"echo: quick {i}" for i in range(10)]
    assert time.monotonic() - began < 8
    stop.set()
    thread.join()
    assert provider.most_at_once == CONCURRENCY + 1


def _count_requests(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of rows of each batch that a model is sent from now on."""
    pulled: list[int] = []
    generate = SubprocessBackend.generate

    def count(self: SubprocessBackend, requests: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        def counted() -> Iterator[pa.RecordBatch]:
            for batch in requests:
                pulled.append(batch.num_rows)
                yield batch

        return generate(self, counted())

    monkeypatch.setattr(SubprocessBackend, "generate", count)
    return pulled


@pytest.mark.parametrize("other", ["tiny", "other"])
def test_a_small_call_does_not_wait_for_a_large_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """It has its answers long before, of the same model or another; the large one gets its own, and asks each once."""
    pulled = _count_requests(monkeypatch)
    experts = tuple(
        Expert(
            name=name,
            model=str(save_model(tmp_path / name)),
            backend="transformers",
            usd_per_m_input=1,
            usd_per_m_output=1,
            max_tokens=16,
            engine={"batch_size": 8},
        )
        for name in dict.fromkeys(("tiny", other))
    )
    pool = Pool(default="tiny", experts=experts)
    done = {LARGE: 0}
    with (
        Engine(
            pool, store=tmp_path / "store", on_progress=lambda now: done.update({now.rows: now.rows_done})
        ) as engine,
        ThreadPoolExecutor(1) as threads,
    ):
        for expert in experts:
            _answers(engine, _table("first", 4, (expert.name,)))  # loads the model
        large = threads.submit(_answers, engine, _table("large", LARGE, ("tiny",)))
        while not done[LARGE]:
            time.sleep(0.01)
        small = _answers(engine, _table("small", 4, (other,)))
        done_meanwhile = done[LARGE]
        found = large.result()
    assert None not in small
    assert done_meanwhile < 0.9 * LARGE
    assert sum(pulled) == 4 * len(experts) + LARGE + 4
    with Engine(pool, store=tmp_path / "other") as engine:
        alone = _answers(engine, _table("large", LARGE, ("tiny",)))
    assert found == alone
