"""Answer stores with damaged bytes: one clear error, or a store that works; never a traceback, never a hang."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leeroo.engine.errors import LeerooError
from leeroo.engine.store.feedback import Feedback, question_hash
from leeroo.engine.store.runs import release
from leeroo.engine.store.spending import Charge
from leeroo.engine.store.store import Store
from leeroo.engine.store.timings import WaveTime
from tests.store.conftest import claimed, keys, rows

Cases = Callable[..., Iterator[tuple[str, random.Random]]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a store with something in every table."""
    folder = tmp_path_factory.mktemp("whole")
    store = Store(folder)
    run = store.begin("job", 3)
    for i in range(60):
        store.append(
            rows(
                f"a{i}", run=run.run, expert="large", question_hash=question_hash(f"q{i}"), choice_logprobs=[-0.5, -1.5]
            )
        )
    store.charge([Charge(run.run, f"q{i}", "large", 5, 5, 0.1) for i in range(20)])
    store.measured(WaveTime("e", 1, 1, 1, 2.0, 1.0, 7))
    store.give([Feedback(f"q{i}", "large", "yes", gold="no") for i in range(20)])
    claimed(store, run, keys(*(f"c{i}" for i in range(20))), [0.5] * 20)
    release(run)
    store.close()
    return folder


def _use(folder: Path, rng: random.Random) -> None:
    """Open a store and do everything with it, in any order."""
    store = Store(folder)
    try:
        run = store.begin("job", 3)
        uses: list[Callable[[], object]] = [
            lambda: store.look_up(keys(*(f"a{i}" for i in range(60)))),
            lambda: store.of_run(run),
            lambda: store.charges(run),
            lambda: store.in_flight(run),
            lambda: claimed(store, run, keys("a1", "c1", "new"), [0.1] * 3),
            lambda: store.append(rows("new", run=run.run)),
            lambda: store.lengths(["f"]),
            lambda: store.engine("e"),
            store.feedback,
            lambda: store.latest_answers(["q1", "q2"]),
            store.runs,
            store.spend,
            store.info,
            lambda: store.prune(time.time(), 1000),
            lambda: store.finish(run, 1.0, 1.0),
        ]
        rng.shuffle(uses)
        for use in uses:
            use()
    finally:
        store.close()


def test_damaged_stores(cases: Cases, whole: Path, tmp_path: Path) -> None:
    """Some bytes of the file are others, or its end is missing."""
    for name, rng in cases(least=30):
        folder = tmp_path / "store"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        file = folder / "answers.sqlite"
        content = bytearray(file.read_bytes())
        for _ in range(rng.choice([1, 3, 30, 300])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        file.write_bytes(content[: rng.choice([len(content)] * 5 + [rng.randrange(len(content))])])
        try:
            _use(folder, rng)
        except LeerooError as error:
            said = str(error)
        except Exception as error:
            raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error
        else:
            said = ""
        assert "\n" not in said, name
