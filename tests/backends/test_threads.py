"""Models that run here compute with as many threads as there are idle cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from leeroo.engine.orchestrator.encoders.batching import in_parallel
from leeroo.engine.process import cores


class _Taken:
    """A machine on which other programs leave one core."""

    def share(self, most: int) -> int:
        return min(1, most)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let other programs take all cores but one, and this thread start with four."""
    monkeypatch.setattr(cores, "_CORES", _Taken())
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("taken")
def test_a_model_leaves_cores_that_others_take(transformers: Any, requests: Callable[..., pa.RecordBatch]) -> None:
    """Cores are counted while a model generates."""
    list(transformers.generate(iter([requests("Hi")])))
    assert torch.get_num_threads() == 1


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize("batches", [1, 2])
def test_an_encoder_leaves_cores_and_gives_the_callers_threads_back(batches: int) -> None:
    """Every batch is computed with one thread then, and the caller has as many as before."""
    filled = [np.array([at]) for at in range(batches)]
    threads = [count for _, count in in_parallel(lambda _: torch.get_num_threads(), filled, on_cpu=True)]
    assert threads == [1] * batches
    assert torch.get_num_threads() == 4
