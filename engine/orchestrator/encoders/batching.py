"""Batching: how much of a text a model reads, which texts share a batch, and on which cores they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from leeroo.engine.arrays import Float32s, Int64s
from leeroo.engine.process.cores import use_idle_cores

# Vectors in the order of a model's batches: the indices of their texts [b], and for each kind that is wanted, [b, d].
Passes = Iterator[tuple[Int64s, list[Float32s]]]

# A question's subject and kind show in few tokens, and time grows with their number.
MAX_TOKENS = 256
# Far more characters than that many tokens hold, so that a text of megabytes is not tokenised whole.
MAX_CHARACTERS = 32 * MAX_TOKENS
# More threads than this would wait for each other's Python.
_MOST_WORKERS = 8

Output = TypeVar("Output")


def batches(lengths: Int64s, batch_tokens: int) -> list[Int64s]:
    """Return indices in batches of at most `batch_tokens` tokens with padding, the longest first.

    Texts of similar length share a batch, which needs less padding than a fixed number of texts. On two cores with
    MiniLM that is 104 against 82 MMLU questions per second.
    """
    order = np.argsort(-lengths, kind="stable")
    filled = []
    while len(order):
        size = max(1, batch_tokens // max(1, int(lengths[order[0]])))
        filled.append(order[:size])
        order = order[size:]
    return filled


def in_parallel(
    run: Callable[[Int64s], Output], filled: Sequence[Int64s], *, on_cpu: bool
) -> Iterator[tuple[Int64s, Output]]:
    """Yield each batch with the output of `run`, in order; on a CPU several batches run at once, each on its own core.

    One batch on all cores makes them wait for each other after every operation, which is slow when other work shares
    the cores. With two busy processes on two cores it was 20 MMLU questions per second against 48 (MiniLM), on a quiet
    machine 105 against 107.
    """
    import torch

    threads = torch.get_num_threads()
    workers = min(threads, _MOST_WORKERS, len(filled)) if on_cpu else 1

    def compute(batch: Int64s) -> Output:
        if on_cpu:
            use_idle_cores(threads, workers)
        return run(batch)

    try:
        if workers < 2:
            yield from ((batch, compute(batch)) for batch in filled)
        else:
            with ThreadPoolExecutor(workers, "encode") as pool:
                yield from zip(filled, pool.map(compute, filled), strict=True)
    finally:
        # Threads that start later take over what a thread has set.
        torch.set_num_threads(threads)
