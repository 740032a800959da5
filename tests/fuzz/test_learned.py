"""What learning keeps in the answer store, with damaged bytes: the next batch learns all the same, or one line says why not."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from leeroo.engine.arrays import Float64s
from leeroo.engine.errors import LeerooError
from leeroo.engine.jobs.learn.outcomes import Shelf
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.pool import Expert, Pool
from tests.fuzz.conftest import Cases
from tests.orchestrator.conftest import Topics

COSTS: Float64s = np.arange(30, dtype=np.float64).reshape(10, 3)


def _pool() -> Pool:
    names = ("counter", "reader", "oracle")
    experts = [Expert(name=n, model=n, backend="replay", usd_per_m_input=1, usd_per_m_output=1) for n in names]
    return Pool(default="oracle", experts=tuple(experts))


def _tables() -> dict[str, pa.Table]:
    topics = Topics()
    queries, outcomes = topics.recorded(topics.sums(10) + topics.facts(10))
    return {"queries": pa.Table.from_pylist(queries), "outcomes": pa.Table.from_pylist(outcomes)}


def _learn(store: Path, run: str) -> Router | str:
    """Do with the shelf what a batch does."""
    shelf = Shelf(store, _pool(), "", run)
    with shelf.under_way():
        shelf.start()
        costs = shelf.expected_costs(lambda: COSTS)
        np.testing.assert_array_equal(costs, COSTS)
        return shelf.learn(_tables(), 0, lambda _: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a store in which two batches have learned."""
    store = tmp_path_factory.mktemp("learned")
    for run in ("first", "second"):
        assert isinstance(_learn(store, run), Router)
    return store


def _damage(store: Path, rng: random.Random) -> None:
    """Change bytes of a file, or cut it off, as a full disk or a power cut may."""
    file = rng.choice([path for path in sorted(store.rglob("*")) if path.is_file() and path.stat().st_size])
    raw = bytearray(file.read_bytes())
    for _ in range(rng.choice([0, 1, 3, 30])):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    file.write_bytes(raw[: rng.choice([len(raw), 0, rng.randrange(len(raw))])])


def test_a_damaged_shelf_is_used_or_named(cases: Cases, whole: Path, tmp_path: Path) -> None:
    """A batch that is repeated, and sometimes a new one, starts from what is there; costs that it reads are right."""
    learned = 0
    for name, rng in cases(20):
        store = tmp_path / name
        shutil.copytree(whole, store)
        _damage(store, rng)
        try:
            found = _learn(store, rng.choice(["first", "second"] * 10 + ["third"]))
            learned += isinstance(found, Router)
        except Exception as error:
            if isinstance(error, LeerooError) and "\n" not in str(error):
                continue
            raise AssertionError(f"case {name}: {error!r}") from error
        finally:
            shutil.rmtree(store)
    assert learned
