"""Fixtures of several folders: a small data folder, a replay pool over it, and where real data is."""

from __future__ import annotations

import os

# Threads of numpy and torch that wait for a core keep it busy. Several processes of tests share the cores, so that each
# has one thread; libraries read this when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, sync_playwright

from leeroo.engine.answer import Engine
from leeroo.engine.backends import select
from leeroo.engine.backends.identity import engine_key
from leeroo.engine.backends.protocol import Backend
from leeroo.engine.backends.select import load_backend
from leeroo.engine.backends.workers import launch
from leeroo.engine.paths import cache_folder
from leeroo.engine.pool import Expert, load_pool
from leeroo.engine.schema import EXPERTS, OUTCOMES, QUERIES
from tests import disk
from tests.provider import Provider, running

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# A vector from the last run of the tests would prove nothing.
os.environ.setdefault("LEEROO_VECTORS_GIB", "0")

QUESTIONS = 40

# Without these a browser looks for hosts of its maker at every start.
_QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Provide the folder of recorded outcomes of real models."""
    folder = Path(os.environ.get("LEEROO_DATA") or Path(__file__).parents[2] / "shared" / "data")
    assert folder.is_dir(), f"recorded outcomes are needed in {folder}; name another folder in LEEROO_DATA"
    return folder


@pytest.fixture(scope="module")
def kept_vectors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep vectors on disk, as users do, for the tests of one module: for those that encode the same texts often."""
    cache = tmp_path_factory.mktemp("cache")
    for models in ("gguf", "static"):
        (cache_folder() / models).mkdir(parents=True, exist_ok=True)
        (cache / models).symlink_to(cache_folder() / models)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEEROO_CACHE", str(cache))
        patch.setenv("LEEROO_VECTORS_GIB", "1")
        yield


class _Here:
    """A model in this process that is not closed after a run."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def room(self) -> int:
        """Return how many rows the model takes at once."""
        return self._backend.room

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Answer as the model does."""
        return self._backend.generate(requests)

    def close(self) -> None:
        """Stay loaded."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", *_QUIET])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def models_here() -> Iterator[None]:
    """Load each model once for a module, into this process: every run starts processes of its own otherwise."""
    loaded: dict[str, Backend] = {}

    def load(expert: Expert, kind: str, stop: threading.Event | None = None) -> _Here:
        key = engine_key(expert)
        if key not in loaded:
            loaded[key] = load_backend(expert)
        return _Here(loaded[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select, "SubprocessBackend", load)
        patch.setattr(launch, "launch_ahead", lambda _: None)
        yield
    for backend in loaded.values():
        backend.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Provide a disk of 2 MiB, see `tests.disk`."""
    with disk.small_disk(tmp_path / "disk") as folder:
        yield folder


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """Provide recorded outcomes of two experts on 40 questions: 'large' is right on all, 'small' on the even ones."""
    folder = tmp_path / "data"
    folder.mkdir()
    ids = [f"q-{i:03}" for i in range(QUESTIONS)]
    pq.write_table(
        pa.Table.from_pylist(
            [
                {
                    "query_id": q,
                    "dataset": "toy",
                    "split": "test",
                    "question": f"What is {i} plus {i}?",
                    "answer": str(2 * i),
                    "prompt": f"What is {i} plus {i}?",
                }
                for i, q in enumerate(ids)
            ],
            schema=QUERIES,
        ),
        folder / "queries.parquet",
    )
    pq.write_table(
        pa.Table.from_pylist(
            [
                {
                    "query_id": q,
                    "expert": expert,
                    "score": float(expert == "large" or i % 2 == 0),
                    "response": f"{expert} says {2 * i}",
                    "prompt_tokens": 10,
                    "completion_tokens": 5,
                }
                for i, q in enumerate(ids)
                for expert in ("large", "small")
            ],
            schema=OUTCOMES,
        ),
        folder / "outcomes.parquet",
    )
    pq.write_table(
        pa.Table.from_pylist(
            [
                {"expert": e, "model": e, "license_open": True, "usd_per_m_input": p, "usd_per_m_output": p}
                for e, p in (("large", 100.0), ("small", 10.0))
            ],
            schema=EXPERTS,
        ),
        folder / "experts.parquet",
    )
    return folder


@pytest.fixture
def pool_file(tmp_path: Path, data_folder: Path) -> Path:
    """Provide a pool that replays `data_folder`: 'large' costs 1,500 and 'small' 150 millionths of a dollar each."""
    path = tmp_path / "pool.toml"
    path.write_text(
        f"""
default = "large"
[[expert]]
name = "large"
model = "{data_folder}"
backend = "replay"
usd_per_m_input = 100
usd_per_m_output = 100
[[expert]]
name = "small"
model = "{data_folder}"
backend = "replay"
usd_per_m_input = 10
usd_per_m_output = 10
"""
    )
    return path


@pytest.fixture
def engine(pool_file: Path, tmp_path: Path) -> Iterator[Engine]:
    """Provide an engine over `pool_file` without a router, with a store of its own."""
    with Engine(load_pool(pool_file), store=tmp_path / "store") as engine:
        yield engine


@pytest.fixture
def questions() -> Callable[..., pa.RecordBatchReader]:
    """Make a reader with an `id` and a `question` column out of questions."""

    def make(*texts: str | None) -> pa.RecordBatchReader:
        table = pa.table({"id": list(range(len(texts))), "question": pa.array(texts, pa.string())})
        return table.to_reader()

    return make


@pytest.fixture
def api() -> Iterator[Provider]:
    """Provide a running API server."""
    with running() as server:
        yield server


@pytest.fixture
def api_entry(api: Provider) -> Callable[..., str]:
    """Make the entry of a pool file for an expert of the API; `more` goes to its end."""
    return api.entry
