"""A model in a worker process answers as it would in this one, and nothing of it stays when it ends."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pyarrow as pa
import pytest

from leeroo.engine.backends.protocol import Resident
from leeroo.engine.backends.select import load_backend, open_backend
from leeroo.engine.backends.subprocess import SubprocessBackend
from leeroo.engine.errors import ExpertUnavailable, Interrupted, OutputError, PoolError
from leeroo.engine.pool import Expert
from tests.backends.tiny import save_model

Requests = Callable[..., pa.RecordBatch]

_STARTS_ONE = """
import sys, time
from leeroo.engine.backends.subprocess import SubprocessBackend
from leeroo.engine.pool import Expert
expert = Expert.model_validate_json(sys.argv[1])
print(SubprocessBackend(expert, "transformers")._process.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def backend(smollm2: Expert) -> Iterator[SubprocessBackend]:
    """One process for all tests that leave it alive."""
    backend = open_backend(smollm2)
    assert isinstance(backend, SubprocessBackend)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Expert:
    """Make a model that is there at once, for tests of its process."""
    model = save_model(tmp_path_factory.mktemp("tiny"))
    return Expert(name="tiny", model=str(model), backend="transformers", usd_per_m_input=1, usd_per_m_output=1)


def _answers(backend: Any, *batches: pa.RecordBatch) -> dict[int, str]:
    return {row["id"]: row["answer"] for batch in backend.generate(iter(batches)) for row in batch.to_pylist()}


def test_a_worker_answers_as_this_process(backend: SubprocessBackend, smollm2: Expert, requests: Requests) -> None:
    """The same model gives the same answers."""
    batch = requests("What is the capital of France?", "Count to five.", "Name a colour.")
    here = load_backend(smollm2)
    assert _answers(backend, batch) == _answers(here, batch)
    here.close()


def test_memory_of_the_process_is_measured(backend: SubprocessBackend) -> None:
    """It covers weights of 135 million numbers, divided among the processes that map them, and the process itself."""
    assert isinstance(backend, Resident)
    assert 0.4 * 2**30 < backend.memory_bytes < 4 * 2**30


def test_a_stream_that_is_left_does_not_disturb_the_next(backend: SubprocessBackend, requests: Requests) -> None:
    """Completions of an abandoned stream are not taken for answers to the next."""
    stream = backend.generate(iter([requests(*(f"Tell me of number {i}." for i in range(40)), max_tokens=3)]))
    next(stream)
    stream.close()
    assert sorted(_answers(backend, requests("What is the capital of France?"))) == [0]


def test_a_stream_goes_first_while_another_rests(tiny: Expert, requests: Requests) -> None:
    """It is answered whole while the other has rows in flight, which come back once each and are the same as alone."""
    backend = SubprocessBackend(tiny.model_copy(update={"engine": {"batch_size": 8}}), "transformers")
    many = requests(*(f"Tell me of number {i}." for i in range(240)), max_tokens=24)
    few = requests("What is the capital of France?", "Two?")
    alone = _answers(backend, few), _answers(backend, many)
    large = backend.generate(iter([many]))
    before = _next_rows(large)
    assert _answers(backend, few) == alone[0]
    rows = before + [row for batch in large for row in batch.to_pylist()]
    backend.close()
    assert len(before) < 100
    assert sorted(row["id"] for row in rows) == list(range(240))
    assert {row["id"]: row["answer"] for row in rows} == alone[1]


def test_a_stream_goes_first_while_another_waits_for_requests(tiny: Expert, requests: Requests) -> None:
    """Requests that do not come, for want of money, hold up nobody else."""
    backend = SubprocessBackend(tiny, "transformers")
    one, two = requests("One?"), requests("Two?")
    waiting = backend.generate(iter([one, one.slice(0, 0), two]))
    answers = _next_rows(waiting)
    assert len(_answers(backend, requests("What?", "Who?"))) == 2
    answers += [row for batch in waiting for row in batch.to_pylist()]
    assert [row["answer"] for row in answers] == [*_answers(backend, one).values(), *_answers(backend, two).values()]
    backend.close()


def test_either_of_two_streams_can_be_left(tiny: Expert, requests: Requests) -> None:
    """The other is answered whole, and so is the next one."""
    backend = SubprocessBackend(tiny.model_copy(update={"engine": {"batch_size": 8}}), "transformers")
    many = requests(*(f"Tell me of number {i}." for i in range(240)), max_tokens=24)
    for first_left in (True, False):
        streams = [backend.generate(iter([many])) for _ in range(2)]
        rows = [_next_rows(stream) for stream in streams]
        left, stays = (0, 1) if first_left else (1, 0)
        streams[left].close()
        rows[stays] += [row for batch in streams[stays] for row in batch.to_pylist()]
        assert sorted(row["id"] for row in rows[stays]) == list(range(240))
    assert sorted(_answers(backend, requests("Two?", "Three?"))) == [0, 1]
    backend.close()


def _next_rows(stream: Iterator[pa.RecordBatch]) -> list[dict[str, Any]]:
    """Return the next rows that come back."""
    rows: list[dict[str, Any]] = next(batch for batch in stream if batch.num_rows).to_pylist()
    return rows


@pytest.mark.parametrize("error", [KeyError("mine"), OutputError("mine")])
def test_broken_requests_leave_the_worker_whole(
    backend: SubprocessBackend, requests: Requests, error: Exception
) -> None:
    """An error while making requests is the caller's; the process waits for the next stream."""

    def broken() -> Iterator[pa.RecordBatch]:
        yield requests("One?", max_tokens=2)
        raise error

    with pytest.raises(type(error), match="mine"):
        list(backend.generate(broken()))
    assert sorted(_answers(backend, requests("Two?", "Three?"))) == [0, 1]


def test_an_interrupt_at_any_moment_leaves_the_worker_whole(backend: SubprocessBackend, requests: Requests) -> None:
    """After many interrupts at random moments the worker answers the next stream whole."""
    batch = requests(*(f"Tell me of number {i}." for i in range(40)), max_tokens=2)
    me = ctypes.c_ulong(threading.get_ident())
    hits = 0
    for wait_s in (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.8):
        timer = threading.Timer(wait_s, ctypes.pythonapi.PyThreadState_SetAsyncExc, (me, ctypes.py_object(Interrupted)))
        try:
            timer.start()
            for _ in range(20):
                list(backend.generate(iter([batch])))
        except Interrupted:
            hits += 1
        timer.join()
    assert hits == 8
    assert sorted(_answers(backend, batch)) == list(range(40))


def test_a_worker_does_not_sleep_on_a_host(backend: SubprocessBackend, requests: Requests) -> None:
    """Only vLLM on CUDA can sleep; others refuse and stay awake."""
    assert backend.sleep() is False
    assert len(_answers(backend, requests("Two?"))) == 1


def test_a_killed_process_is_reported(smollm2: Expert, requests: Requests) -> None:
    """A process that is killed, as when memory runs out, gives one clear line, and none is left behind."""
    backend = SubprocessBackend(smollm2, "transformers")
    process = psutil.Process(backend._process.pid)
    stream = backend.generate(iter([requests(*(f"Tell me of number {i}." for i in range(300)), max_tokens=64)]))
    next(stream)
    process.kill()
    with pytest.raises(ExpertUnavailable, match="was killed, as happens when memory runs out"):
        list(stream)
    backend.close()
    assert not process.is_running()


def test_errors_of_the_worker_are_raised_here(smollm2: Expert) -> None:
    """An engine option that does not exist is an error of the pool file, as without a process."""
    with pytest.raises(PoolError, match="no engine option 'batchsize'"):
        SubprocessBackend(smollm2.model_copy(update={"engine": {"batchsize": 2}}), "transformers")


def test_closing_frees_the_memory(tiny: Expert) -> None:
    """The process is gone when `close` returns."""
    backend = SubprocessBackend(tiny, "transformers")
    process = psutil.Process(backend._process.pid)
    backend.close()
    assert not process.is_running()


def test_closing_waits_for_what_is_still_being_sent(tiny: Expert, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that sends something late does not send it to a process whose socket has the same number now."""
    backend = SubprocessBackend(tiny, "transformers")
    psutil.Process(backend._process.pid).kill()
    late = threading.Event()

    def send_late(_: object) -> None:
        time.sleep(0.5)
        late.set()

    monkeypatch.setattr(backend._connection, "send", send_late)
    backend.close()
    assert late.is_set()
    assert backend._connection.closed


def test_a_worker_ends_with_its_parent(tiny: Expert) -> None:
    """A kill -9 of the parent ends the worker too."""
    command = [sys.executable, "-c", _STARTS_ONE, tiny.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        process = psutil.Process(int(starter.stdout.readline()))
        starter.kill()
    until = time.monotonic() + 10
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.1)
