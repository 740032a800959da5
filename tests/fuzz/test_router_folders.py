"""Router folders of any kind are loaded and predict, or are refused in one line, whoever has computed their hashes."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leeroo.engine.errors import LeerooError
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.router_folder import fingerprint
from leeroo.engine.orchestrator.training.learn import train
from tests.fuzz.conftest import Cases
from tests.orchestrator.conftest import Topics

_NAMES = ("encoders", "experts", "subjects", "categories", "adapter")
_ODD: list[Any] = [None, -1, 7, "", "x", "../x", "http://x/y", "x@3-mean", [], {}, ["a", "a"], [1], True, 1e400]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a router that knows subjects."""
    topics, folder = Topics(), tmp_path_factory.mktemp("router")
    queries, outcomes = topics.recorded(topics.sums(20) + topics.facts(20))
    for i, query in enumerate(queries):
        query.update(subject=("art", "law")[i % 2], category="all")
    train([topics.write(folder / "data", queries, outcomes)], ["static"]).save(folder / "router")
    return folder / "router"


def _flip(folder: Path, rng: random.Random) -> None:
    """Change bits of a file, or cut it off."""
    path = folder / rng.choice(["router.json", "numbers.npz"])
    raw = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 8)):
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(raw[: rng.randrange(len(raw))]) if rng.random() < 0.2 else bytes(raw))


def _forge(folder: Path, rng: random.Random) -> None:
    """Change numbers, names or other keys of the card, and compute the hashes anew."""
    card: dict[str, Any] = json.loads((folder / "router.json").read_text())
    with np.load(folder / "numbers.npz") as stored:
        numbers = {name: stored[name] for name in stored.files}
    for _ in range(rng.randint(1, 2)):
        if rng.random() < 0.6:
            name = rng.choice(list(numbers))
            numbers[name] = _other(numbers[name], rng)
        elif rng.random() < 0.2:
            numbers.pop(rng.choice(list(numbers)))
        else:
            card[rng.choice([*card, "more"])] = rng.choice(_ODD)
    np.savez(folder / "numbers.npz", **numbers)
    card["numbers_sha256"] = hashlib.sha256((folder / "numbers.npz").read_bytes()).hexdigest()
    names: Any = {name: card.get(name) for name in _NAMES}
    card["fingerprint"] = fingerprint(names, numbers)
    (folder / "router.json").write_text(json.dumps(card))


def _other(array: np.ndarray, rng: random.Random) -> np.ndarray:
    array = np.atleast_1d(array)  # it may be a single number from a change before
    change = rng.randrange(8)
    if change == 0:
        return array[..., : array.shape[-1] // 2]
    if change == 1:
        return array[None]
    if change == 2:
        return array.astype(rng.choice(["U3", "int64", "complex64", "bool", "float16", "float64"]))
    if change == 3:
        return np.zeros((0, *array.shape[1:]), array.dtype)
    if change == 4:
        return np.concatenate([array, array])
    if change == 5:
        return np.array(1.0, np.float32)
    spoilt = array.copy()
    if spoilt.size and spoilt.dtype.kind == "f":
        spoilt.flat[rng.randrange(spoilt.size)] = rng.choice([np.nan, np.inf, -np.inf, 1e38, 0])
    return spoilt


def test_a_router_folder_is_loaded_or_refused_in_one_line(saved: Path, cases: Cases, tmp_path: Path) -> None:
    """Any change gives predictions of the right shape, or one line of ours."""
    loaded = 0
    for name, rng in cases(60):
        folder = tmp_path / name
        shutil.copytree(saved, folder)
        rng.choice([_flip, _forge, _forge])(folder, rng)
        try:
            router = Router.load(folder)
            contexts = [("art", "all"), (None, None)]
            prediction = router.predict(["What is 4 plus 9?", "Name a poet."], contexts)
            assert prediction.scores.shape == prediction.latency_ms.shape == (2, len(router.experts)), name
            assert np.isfinite(prediction.scores).all(), name
            loaded += 1
        except Exception as error:
            if isinstance(error, LeerooError) and "\n" not in str(error):
                continue
            raise AssertionError(f"case {name}: {error!r}") from error
        finally:
            shutil.rmtree(folder)
    assert loaded
