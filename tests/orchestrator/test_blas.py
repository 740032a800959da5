"""Products of matrices run on one thread while predictions share the cores, and on all of them afterwards."""

from __future__ import annotations

import subprocess
import sys

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


def test_a_blas_that_is_loaded_later_runs_on_one_thread_too() -> None:
    """Scipy brings its own, in a process where numpy's was limited before."""
    script = """
import numpy
from threadpoolctl import ThreadpoolController, threadpool_limits
from leeroo.engine.orchestrator.blas import one_thread

with one_thread():
    pass
before = len(ThreadpoolController().select(user_api="blas").lib_controllers)
import scipy.linalg
libraries = ThreadpoolController().select(user_api="blas").lib_controllers
assert len(libraries) > before, "scipy has no BLAS of its own any more"
with threadpool_limits(2, user_api="blas"), one_thread():
    print(*(each.num_threads for each in ThreadpoolController().select(user_api="blas").lib_controllers))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {*ended.stdout.split()} == {"1"}
