"""Seconds and memory of the whole-batch choice: one million rows by thirty experts.

    python bench/engine/choose.py [--rows N] [--experts E]

Scores and costs are random and lie in files, as the engine keeps them; experts' prices span four orders of
magnitude. For every budget, a share of what the best experts would cost, prints what was spent of it and how far
the expected score is below the bound of the relaxed problem, and then the memory the choice took at its peak.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from leeroo.engine.orchestrator.choose import choose

Table = npt.NDArray[np.float32]


def main() -> None:
    """Make the tables, choose under several budgets, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--experts", type=int, default=30)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scores, costs = tables(Path(folder), asked.rows, asked.experts)
        start = time.perf_counter()
        best = choose(scores, costs)
        print(f"no budget              {time.perf_counter() - start:6.2f} s")
        most = pick(costs, best.expert).sum()
        for share in (0.5, 0.1, 0.01, 0.0001):
            budget = share * most
            start = time.perf_counter()
            choice = choose(scores, costs, budget_usd=budget)
            seconds = time.perf_counter() - start
            left_out = int((choice.expert < 0).sum())
            spent = pick(costs, choice.expert).sum() / budget
            gap = (budget - pick(costs, choice.expert).sum()) * choice.multiplier
            below = gap / pick(scores, choice.expert).sum()
            print(
                f"budget of {share:8.2%}     {seconds:6.2f} s   spent {spent:.6%}   "
                f"about {below:.1e} below the bound   left out {left_out}"
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MiB, of which up to {2 * scores.nbytes / 2**20:.0f} MiB are the mapped tables")


def tables(folder: Path, rows: int, experts: int) -> tuple[Table, Table]:
    """Random scores and costs [rows, experts] in files, written a slice at a time."""
    rng = np.random.default_rng(0)
    shape = (rows, experts)
    scores = np.memmap(folder / "scores", np.float32, "w+", shape=shape)
    costs = np.memmap(folder / "costs", np.float32, "w+", shape=shape)
    for start in range(0, rows, 65_536):
        part = slice(start, min(start + 65_536, rows))
        size = (part.stop - start, experts)
        scores[part] = rng.random(size, np.float32)
        costs[part] = rng.lognormal(size=size) * np.logspace(-6, -2, experts)
    return scores, costs


def pick(table: Table, expert: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Return each row's entry for its expert, 0 where it has none."""
    values = table[np.arange(len(table)), np.maximum(expert, 0)].astype(np.float64)
    return np.where(expert >= 0, values, 0.0)


if __name__ == "__main__":
    main()
