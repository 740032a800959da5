"""How long the answers of an expert were, for forecasts."""

from __future__ import annotations

from pathlib import Path

from leeroo.engine.store.answers import Lengths
from leeroo.engine.store.store import Store
from tests.store.conftest import rows


def test_lengths_are_means_of_stored_answers(tmp_path: Path) -> None:
    """Means are by fingerprint, without answers that name a choice or whose tokens were not counted."""
    store = Store(tmp_path)
    store.append(rows("a", fingerprint="f", prompt_tokens=10, completion_tokens=2))
    store.append(rows("b", fingerprint="f", prompt_tokens=20, completion_tokens=4))
    store.append(rows("c", fingerprint="f", prompt_tokens=90, completion_tokens=1, choice_logprobs=[-0.1, -2.0]))
    store.append(rows("d", fingerprint="f", prompt_tokens=None, completion_tokens=None))
    store.append(rows("e", fingerprint="g", prompt_tokens=1, completion_tokens=1))
    assert store.lengths(["f", "unknown"]) == {"f": Lengths(2, 15.0, 3.0)}


def test_the_cached_share_is_that_of_all_tokens(tmp_path: Path) -> None:
    """A long prompt from the cache counts for more than a short one of which nothing was, or nothing is known."""
    store = Store(tmp_path)
    store.append(rows("a", prompt_tokens=600, completion_tokens=1, cached_tokens=500))
    store.append(rows("b", prompt_tokens=200, completion_tokens=1, cached_tokens=0))
    store.append(rows("c", prompt_tokens=200, completion_tokens=1, cached_tokens=None))
    assert store.lengths(["f"])["f"].cached_share == 0.5


def test_the_latest_answers_count(tmp_path: Path) -> None:
    """An expert that has begun to write more is expected to go on so."""
    store = Store(tmp_path)
    store.append(rows(*(f"old{i}" for i in range(500)), completion_tokens=1))
    store.append(rows(*(f"new{i}" for i in range(1000)), completion_tokens=9))
    assert store.lengths(["f"])["f"].completion_tokens == 9
