"""Engines are loaded as seldom as memory permits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine import weights
from leeroo.engine.backends import device, residency, select
from leeroo.engine.backends.identity import engine_key
from leeroo.engine.backends.protocol import AMPLE
from leeroo.engine.backends.residency import Engines
from leeroo.engine.backends.workers import launch
from leeroo.engine.batch.plan import order_waves, waves
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert
from leeroo.engine.store.timings import Measured

_GIB = 2**30


class _Device:
    """A device of ten GiB, and what has been done on it."""

    def __init__(self) -> None:
        self.used: dict[str, float] = {}
        self.done: list[str] = []

    def memory(self) -> device.Memory:
        return device.Memory(int((10 - sum(self.used.values())) * _GIB), 10 * _GIB)

    def open(self, expert: Expert, _: threading.Event | None = None) -> Any:
        return _Model(self, expert)


class _Model:
    """A model that takes the memory in its name."""

    def __init__(self, device: _Device, expert: Expert) -> None:
        self._device, self._name, self._gib = device, expert.name, float(expert.name[1:])
        self.memory_bytes = int(self._gib * _GIB)
        self._take("load")

    def _take(self, how: str) -> None:
        self._device.done.append(f"{how} {self._name}")
        self._device.used[self._name] = self._gib
        assert self._device.memory().free >= 0

    room = AMPLE

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return requests  # these tests send it no requests

    def sleep(self) -> bool:
        self._give("sleep")
        return True

    def wake(self) -> None:
        self._take("wake")

    def close(self) -> None:
        self._give("close")

    def _give(self, how: str) -> None:
        self._device.done.append(f"{how} {self._name}")
        self._device.used.pop(self._name, None)


@pytest.fixture
def ten_gib(monkeypatch: pytest.MonkeyPatch) -> _Device:
    """Replace the device by a host of ten GiB."""
    made = _Device()
    monkeypatch.setattr(device, "memory", made.memory)
    monkeypatch.setattr(device, "on_host", lambda: True)
    monkeypatch.setattr(launch, "has_gpu", lambda: False)
    return made


def _expert(name: str, **more: Any) -> Expert:
    given = {"model": name, "memory_gib": float(name[1:]), "usd_per_m_input": 1, "usd_per_m_output": 1}
    return Expert(name=name, **{**given, "backend": "transformers", **more})


def _load(engines: Engines, expert: Expert, later: Sequence[Expert] = ()) -> None:
    with engines.lend(expert, later):
        pass


def _nothing_known(_: str) -> Measured:
    return Measured()


def test_engines_that_fit_stay_loaded(ten_gib: _Device) -> None:
    """Two engines that fit side by side are each loaded once, however often they take turns."""
    engines = Engines(_nothing_known, ten_gib.open)
    a, b = _expert("a4"), _expert("b5")
    for expert in (a, b, a, b, a):
        _load(engines, expert)
    assert ten_gib.done == ["load a4", "load b5"]


def test_the_engine_needed_last_makes_room(ten_gib: _Device) -> None:
    """The engine that comes last in the plan is closed; one that does not come at all is closed before it."""
    engines = Engines(_nothing_known, ten_gib.open)
    a, b, c, d = (_expert(name) for name in ("a3", "b3", "c3", "d3"))
    for expert in (a, b, c):
        _load(engines, expert)
    _load(engines, d, [b, c, a])
    assert ten_gib.done[3:] == ["close a3", "load d3"]
    _load(engines, a, [d, c])
    assert ten_gib.done[5:] == ["close b3", "load a3"]


def test_measured_memory_counts(ten_gib: _Device) -> None:
    """An engine that was seen to take more memory than the pool file says is given that much."""
    taken = {engine_key(_expert("b5", memory_gib=1.0)): Measured(memory_bytes=5 * _GIB)}
    engines = Engines(lambda key: taken.get(key, Measured()), ten_gib.open)
    _load(engines, _expert("a6"))
    _load(engines, _expert("b5", memory_gib=1.0))
    assert ten_gib.done == ["load a6", "close a6", "load b5"]


def test_weights_are_read_off_the_model(ten_gib: _Device, tmp_path: Path) -> None:
    """Without a word in the pool file, weights of 16 bits count twice on a host, which loads them with 32."""
    (tmp_path / "config.json").write_text('{"dtype": "bfloat16"}')
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(3 * _GIB)
    assert weights.size(str(tmp_path)) == 6 * _GIB
    engines = Engines(_nothing_known, ten_gib.open)
    _load(engines, _expert("a4"))
    _load(engines, _expert("b6", memory_gib=None, model=str(tmp_path)))
    assert ten_gib.done == ["load a4", "close a4", "load b6"]


def test_an_engine_that_cannot_fit_is_named(ten_gib: _Device) -> None:
    """An engine that cannot fit is not tried, and nothing is closed for it."""
    engines = Engines(_nothing_known, ten_gib.open)
    _load(engines, _expert("a4"))
    with pytest.raises(ExpertUnavailable, match=r"b11 needs about 11.0 GiB of memory and there are 10.0"):
        _load(engines, _expert("b11"))
    assert ten_gib.done == ["load a4"]


def test_an_expert_without_memory_needs_no_room(ten_gib: _Device) -> None:
    """A remote expert closes no engine."""
    engines = Engines(_nothing_known, ten_gib.open)
    _load(engines, _expert("a10"))
    _load(engines, _expert("r0", memory_gib=None, backend="openai"))
    assert ten_gib.done == ["load a10", "load r0"]


def test_on_a_gpu_engines_of_vllm_sleep(ten_gib: _Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes nearly all of the device: one sleeps while the other is awake, and none is loaded twice."""
    monkeypatch.setattr(device, "on_host", lambda: False)
    monkeypatch.setattr(select, "_no_vllm", lambda: None)
    engines = Engines(_nothing_known, ten_gib.open)
    a, b = (_expert(name, memory_gib=None, backend="vllm") for name in ("a9", "b9"))
    for expert in (a, b, a):
        _load(engines, expert)
    assert ten_gib.done == ["load a9", "sleep a9", "load b9", "sleep b9", "wake a9"]


def test_one_that_loads_as_fast_as_it_wakes_is_closed(ten_gib: _Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that takes longer to wake than to load is put to sleep once, not again."""
    monkeypatch.setattr(device, "on_host", lambda: False)
    monkeypatch.setattr(select, "_no_vllm", lambda: None)
    engines = Engines(lambda _: Measured(load_s=0.0), ten_gib.open)
    a, b = (_expert(name, memory_gib=None, backend="vllm") for name in ("a9", "b9"))
    for expert in (a, b, a, b):
        _load(engines, expert)
    assert ten_gib.done[4:] == ["wake a9", "close a9", "wake b9"]


def test_loaded_experts_come_first(ten_gib: _Device) -> None:
    """The next batch begins where the last one ended, unless a budget wants the cheap experts first."""
    engines = Engines(_nothing_known, ten_gib.open)
    experts = [_expert("a6"), _expert("b6", usd_per_m_input=2)]
    order = waves(tuple(experts))
    for expert in experts:
        _load(engines, expert)
    assert [w.experts for w in order_waves(order, experts, engines, in_turn=False)] == [(1,), (0,)]
    assert [w.experts for w in order_waves(order, experts, engines, in_turn=True)] == [(0,), (1,)]


def _begins_beside(engines: Engines, expert: Expert, rows: int, other: Expert, other_rows: int) -> bool:
    """Return whether a wave begins, in a thread of its own, while another is at work."""
    begun = threading.Event()

    def begin() -> None:
        with engines.lend(other, rows=lambda: other_rows):
            begun.set()

    with engines.lend(expert, rows=lambda: rows):
        thread = threading.Thread(target=begin)
        thread.start()
        beside = begun.wait(0.5)
    thread.join()
    return beside


def test_a_far_smaller_wave_goes_beside_one_of_the_same_engine(ten_gib: _Device) -> None:
    """It does not wait for the other, and nothing is loaded for it; a wave of nearly the same size waits."""
    engines, expert = Engines(_nothing_known, ten_gib.open), _expert("a6")
    assert _begins_beside(engines, expert, 100, expert, 10)
    assert not _begins_beside(engines, expert, 100, expert, 90)
    assert not _begins_beside(engines, expert, 100, expert, 0)
    assert ten_gib.done == ["load a6"]


def test_a_far_smaller_wave_loads_its_model_where_there_is_memory(ten_gib: _Device) -> None:
    """Both models are at work; where memory does not hold both, the engine at work is not closed."""
    engines, expert = Engines(_nothing_known, ten_gib.open), _expert("a4")
    assert _begins_beside(engines, expert, 100, _expert("b5"), 10)
    assert ten_gib.done == ["load a4", "load b5"]
    engines.drop(_expert("b5"))
    assert not _begins_beside(engines, expert, 100, _expert("b7"), 10)
    assert ten_gib.done[3:] == ["close a4", "load b7"]


def test_on_a_gpu_no_model_is_loaded_beside_one_at_work(ten_gib: _Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is loaded already is used beside another."""
    monkeypatch.setattr(device, "on_host", lambda: False)
    engines, expert, other = Engines(_nothing_known, ten_gib.open), _expert("a4"), _expert("b5")
    assert not _begins_beside(engines, expert, 100, other, 10)
    assert _begins_beside(engines, expert, 100, other, 10)


def test_at_most_two_waves_are_at_work(ten_gib: _Device) -> None:
    """A second small wave waits until the first has ended and the large one has gone on for as long."""
    engines, expert = Engines(_nothing_known, ten_gib.open), _expert("a4")
    second = threading.Event()

    def begin() -> None:
        with engines.lend(expert, rows=lambda: 10):
            second.set()

    with engines.lend(expert, rows=lambda: 100):
        with engines.lend(expert, rows=lambda: 10):
            thread = threading.Thread(target=begin)
            thread.start()
            assert not second.wait(0.6)
        assert not second.wait(0.5)
        assert second.wait(5)
    thread.join()


def test_waves_of_a_cluster_keep_their_turn(ten_gib: _Device) -> None:
    """They have much in flight, which small waves would wait for anyway."""
    engines, expert = Engines(_nothing_known, ten_gib.open, alone=True), _expert("a4")
    assert not _begins_beside(engines, expert, 100, expert, 10)


def _wanted(engines: Engines, expert: Expert, rows: int, other: Expert, other_rows: int) -> bool:
    """Return whether a wave should let another go first, which waits for the device in a thread of its own."""

    def wait() -> None:
        with engines.lend(other, rows=lambda: other_rows):
            pass

    with engines.lend(expert, rows=lambda: rows):
        thread = threading.Thread(target=wait)
        thread.start()
        while len(engines._queue) < 2:
            time.sleep(0.001)
        wanted = engines.is_wanted(expert)
    thread.join()
    return wanted


def test_only_a_far_smaller_wave_goes_first(ten_gib: _Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory does not hold both models, a wave of nearly the same size waits, and any wave for a while."""
    engines, expert, other = Engines(_nothing_known, ten_gib.open), _expert("a6"), _expert("b6")
    assert not _wanted(engines, expert, 100, other, 10)  # it has not had the device for long
    monkeypatch.setattr(residency, "_HOLD_S", 0.0)
    assert _wanted(engines, expert, 100, other, 10)
    assert not _wanted(engines, expert, 100, other, 90)
    with engines.lend(expert):
        assert not engines.is_wanted(expert)


def test_a_model_is_not_put_away_soon_after_it_was_loaded(ten_gib: _Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wave keeps the device for many times as long as its model took to load, if another model is to come."""
    monkeypatch.setattr(residency, "_HOLD_S", 0.0)

    def open_slowly(expert: Expert, stop: threading.Event | None = None) -> Any:
        time.sleep(0.1)
        return ten_gib.open(expert, stop)

    engines = Engines(_nothing_known, open_slowly)
    large, other = _expert("a6"), _expert("b6")
    assert not _wanted(engines, large, 100, other, 10)
    monkeypatch.setattr(residency, "_LOADS", 0.0)
    assert _wanted(engines, large, 100, other, 10)


def test_waves_get_the_device_in_the_order_they_came(ten_gib: _Device) -> None:
    """Five threads that wait for it have it one after another, and none is passed by a later one."""
    engines, expert = Engines(_nothing_known, ten_gib.open), _expert("a4")
    order: list[int] = []

    def wait(number: int) -> None:
        with engines.lend(expert):
            order.append(number)

    with engines.lend(expert):
        threads = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
        for at, thread in enumerate(threads, 2):
            thread.start()
            while len(engines._queue) < at:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(5))
