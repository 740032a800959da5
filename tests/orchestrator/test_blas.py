"""Products of matrices run on one thread while predictions share the cores, and on all of them afterwards."""

from __future__ import annotations

import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from leeroo.engine.orchestrator.blas import one_thread


def threads() -> set[int]:
    """Return the threads of each BLAS in this process."""
    return {each.num_threads for each in ThreadpoolController().select(user_api="blas").lib_controllers}


def test_one_thread_until_the_last_caller_leaves() -> None:
    """Callers that overlap leave the number of threads as it was, in whatever order they end, and by an error too."""
    with threadpool_limits(2, user_api="blas"):
        first, second = one_thread(), one_thread()
        first.__enter__()
        second.__enter__()
        assert threads() == {1}
        first.__exit__(None, None, None)
        assert threads() == {1}
        second.__exit__(None, None, None)
        assert threads() == {2}
        with pytest.raises(ValueError, match="stop"), one_thread():
            raise ValueError("stop")
        assert threads() == {2}
