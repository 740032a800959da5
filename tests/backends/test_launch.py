"""A worker is launched while the run is planned, where it will be needed, and imports no more than it uses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.backends.subprocess import SubprocessBackend
from leeroo.engine.backends.workers import launch
from leeroo.engine.backends.workers.launch import close_ahead, launch_ahead
from leeroo.engine.pool import Expert, Pool
from tests.backends.tiny import save_model
from tests.command import leeroo


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Expert:
    """Make a model that is there at once."""
    model = save_model(tmp_path_factory.mktemp("tiny"))
    return Expert(name="tiny", model=str(model), backend="transformers", usd_per_m_input=1, usd_per_m_output=1)


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    yield
    close_ahead()


def _workers() -> list[psutil.Process]:
    """Return the workers of this process that are alive."""
    alive = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    return [p for p in alive if "leeroo.engine.backends.workers.launch" in p.cmdline()]


def _watch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the kind of each worker which is launched ahead."""
    launched: list[str] = []

    def launch_and_note(kind: str) -> None:
        launched.append(kind)
        launch_ahead(kind)

    monkeypatch.setattr(launch, "launch_ahead", launch_and_note)
    return launched


def test_a_model_takes_the_worker_that_was_launched_ahead(tiny: Expert) -> None:
    """The next model of its kind is loaded in it, and the one after that in another."""
    launch_ahead("transformers")
    (ahead,) = _workers()
    first, second = (SubprocessBackend(tiny, "transformers") for _ in range(2))
    assert first._process.pid == ahead.pid != second._process.pid
    first.close()
    second.close()


def test_a_worker_that_died_ahead_is_replaced() -> None:
    """Nobody is handed a worker that was killed while it waited."""
    launch_ahead("transformers")
    (ahead,) = _workers()
    ahead.kill()
    ahead.wait(10)
    worker = launch.launch("transformers")
    assert worker.process.pid != ahead.pid
    assert worker.process.poll() is None
    worker.process.kill()
    worker.process.wait()


def test_workers_that_nobody_takes_end() -> None:
    """Nothing of them is left."""
    launch_ahead("transformers")
    close_ahead()
    assert _workers() == []


def test_a_worker_imports_nothing_that_it_does_not_use(tiny: Expert) -> None:
    """With a model of transformers loaded, pandas and scikit-learn are not there."""
    backend = SubprocessBackend(tiny, "transformers")
    mapped = [each.path for each in psutil.Process(backend._process.pid).memory_maps()]
    backend.close()
    assert any("/torch/" in path for path in mapped)
    assert not [path for path in mapped if "/pandas/" in path or "/sklearn/" in path]


def test_a_run_launches_its_worker_before_it_predicts(
    tiny: Expert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where something will be generated the worker starts early; a run from the store starts none."""
    launched = _watch(monkeypatch)
    questions = pa.table({"question": [f"What is {i} plus 1?" for i in range(3)]})
    stages: list[tuple[str, int]] = []
    short = tiny.model_copy(update={"max_tokens": 2})
    for _ in range(2):
        engine = Engine(Pool(default="tiny", experts=(short,)), store=tmp_path / "store")
        engine.on_progress = lambda progress: stages.append((progress.stage, len(_workers())))
        with engine:
            assert engine.answer_table(questions.to_reader(), Criteria()).column("error").null_count == 3
    assert launched == ["transformers"]
    assert ("choose", 1) in stages
    assert _workers() == []


def test_a_run_that_is_stopped_leaves_no_worker(tiny: Expert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker ends that was launched for a run which is stopped before it loads a model."""
    launched = _watch(monkeypatch)
    stop = threading.Event()
    with Engine(Pool(default="tiny", experts=(tiny,)), store=tmp_path / "store", stop=stop) as engine:
        questions = pa.table({"question": ["What is 1 plus 1?"]}).to_reader()
        with engine.answer(questions, Criteria(), partial=True, send=False) as rows:
            assert rows.read_all().num_rows == 1
        assert launched == ["transformers"]
        assert _workers() == []


def test_a_command_that_fails_early_leaves_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line launches a worker of the embedded pool before it has read its input."""
    launched = _watch(monkeypatch)
    monkeypatch.setattr(launch, "has_gpu", lambda: False)
    assert leeroo("run", tmp_path / "nothing.csv", "--out", tmp_path / "out.parquet").returncode == 2
    assert launched == ["transformers"]
    assert _workers() == []
