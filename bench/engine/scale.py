"""The plan for more rows than one machine has: shards with one price of a dollar, and 1,000 GPUs. A simulation.

    python bench/engine/scale.py [--rows 20000] [--gpus 1000]

The rows are drawn from the 397 questions and 50 experts of `leeroo demo`, with the predictions of a router, and each
prediction is moved a little at random, so that no two rows are equal. `choose` for all rows at once is what every other
way is compared with. Rows are sorted by their best predicted score before they are cut into shards, so that shards
differ as those of a table sorted by source do.

The cluster is simulated, not run. What is assumed of it is in the constants below, each with its source. Sizes of
experts come from their prices, where a dense model costs about 0.0125 USD a million tokens for each billion parameters.
"""

from __future__ import annotations

import argparse
import heapq
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from leeroo.engine.arrays import Float64s
from leeroo.engine.orchestrator.choose import choose

DEMO = Path(__file__).resolve().parents[2] / "leeroo" / "data" / "demo" / "choosing.parquet"
ALL_ROWS = 1e9
SHARDS, SHARDS_SIMULATED = 1000, 100
# Prices of a dollar, in points of score, between which is searched; how near to the budget, as a share, is enough.
PRICES, CLOSE = (1e-3, 1e9), 1e-4
# NVIDIA's data sheet of the H100 SXM: bytes a second of memory, bf16 operations a second without sparsity, bytes.
BANDWIDTH, OPERATIONS, GPU_BYTES = 3.35e12, 989e12, 80e9
# Assumed: shares of these that a server reaches, sequences decoded together, tokens of a prompt and an answer.
BANDWIDTH_SHARE, OPERATIONS_SHARE, TOGETHER = 0.6, 0.4, 128
PROMPT_TOKENS, ANSWER_TOKENS = 200, 300
# Assumed: USD a million tokens that a billion parameters costs; bytes a second that a machine loads weights with.
USD_PER_BILLION, LOAD_BYTES_PER_S = 0.0125, 2e9
# Llama 3 (arXiv 2407.21783, table 5): 419 unexpected interruptions of 16,384 GPUs in 54 days.
HOURS_BETWEEN_FAILURES = 16_384 * 54 * 24 / 419
# Assumed: seconds until a failed GPU is back, the spread of speeds, the share of GPUs at half speed.
BACK_S, SPREAD, SLOW_SHARE = 1800.0, 0.05, 0.01
# Seconds of work handed to a group of GPUs at a time: what is lost when it fails.
CALL_S = 120.0


def main() -> None:
    """Choose, simulate, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--gpus", type=int, default=1000)
    options = parser.parse_args()
    scores, costs, prices = _rows(options.rows)
    print(f"{os.cpu_count()} cores; {options.rows:,} rows, {scores.shape[1]} experts, {SHARDS_SIMULATED} shards\n")
    print("| budget | way | expected score | below exact | spent of budget | passes |\n|---|---|---|---|---|---|")
    shares = np.zeros(scores.shape[1])
    for part in (0.3, 0.1, 0.03):
        shares = _compare(scores, costs, part)
    _print_cluster(shares, prices, options.gpus)


def _rows(n: int) -> tuple[Float64s, Float64s, Float64s]:
    """Return predicted scores and costs [n, e] of drawn rows, in the order of their best score, and mean costs [e]."""
    table = pq.read_table(DEMO, columns=["predicted_score", "predicted_cost_usd", "expert"])
    experts = len(table.column("expert").unique())
    scores, costs = (table.column(i).to_numpy().astype(np.float64).reshape(-1, experts) for i in (0, 1))
    rng = np.random.default_rng(0)
    at = rng.integers(0, len(scores), n)
    drawn = (scores[at] + rng.normal(0, 0.03, (n, experts))).clip(0, 1)
    paid = costs[at] * rng.lognormal(0, 0.2, (n, 1))
    order = np.argsort(drawn.max(axis=1), kind="stable")
    return drawn[order], paid[order], costs.mean(axis=0)


def _compare(scores: Float64s, costs: Float64s, part: float) -> Float64s:
    """Print how far each way is from the exact choice, at a part of the best experts' cost.

    Returns:
        The share of rows that goes to each expert, float64 [e].

    """
    at = np.arange(len(scores))
    budget = part * float(costs[at, scores.argmax(axis=1)].sum())
    began = time.process_time()
    exact = choose(scores, costs, budget_usd=budget)
    took = time.process_time() - began
    whole = scores[at, exact.expert].mean()

    def line(way: str, expert: np.ndarray, passes: str) -> None:
        score, usd = scores[at, expert].mean(), costs[at, expert].sum()
        print(f"| {part:.0%} | {way} | {score:.5f} | {whole - score:.5f} | {usd / budget:.2%} | {passes} |")

    line(f"exact, {took / len(at) * 1e6:.1f} CPU s a million", exact.expert, "-")
    price, passes = _bisect(scores, costs, budget)
    line("one price by bisection over shards", _at_price(scores, costs, price), str(passes))
    for sample in (1_000, 10_000):
        some = np.random.default_rng(1).choice(len(at), sample, replace=False)
        price = choose(scores[some], costs[some], budget_usd=budget * sample / len(at)).multiplier
        line(f"one price from a sample of {sample:,} rows", _at_price(scores, costs, price), "1")
    own = [
        choose(scores[s], costs[s], budget_usd=budget * len(s) / len(at)).expert
        for s in np.array_split(at, SHARDS_SIMULATED)
    ]
    line("an equal budget for each shard", np.concatenate(own), "-")
    return np.bincount(exact.expert, minlength=scores.shape[1]) / len(at)


def _at_price(scores: Float64s, costs: Float64s, price: float) -> np.ndarray:
    best: np.ndarray = np.argmax(scores - price * costs, axis=1)
    return best


def _bisect(scores: Float64s, costs: Float64s, budget: float) -> tuple[float, int]:
    """Return the least price found at which the rows fit the budget, and the passes over all shards that took.

    A pass sends one price to all shards, and each returns one sum: what its rows cost at that price.
    """
    (low, high), spent, passes = PRICES, 0.0, 0
    while not budget * (1 - CLOSE) < spent <= budget and high / low > 1 + 1e-12:
        middle, passes = (low * high) ** 0.5, passes + 1
        spent = float(costs[np.arange(len(scores)), _at_price(scores, costs, middle)].sum())
        low, high = (middle, high) if spent > budget else (low, middle)
    return high, passes


@dataclass(frozen=True)
class Load:
    """The work of one expert: seconds of one group of GPUs, GPUs of a group, and seconds to load its weights."""

    work_s: float
    gpus: int
    load_s: float


def _loads(shares: Float64s, prices: Float64s) -> list[Load]:
    """Return the work of each expert that has rows, from its size."""
    loads = []
    for share, usd in zip(shares, prices, strict=True):
        if not share:
            continue
        billions = min(max(usd * 1e6 / (PROMPT_TOKENS + ANSWER_TOKENS) / USD_PER_BILLION, 1.0), 400.0)
        weights = 2e9 * billions
        gpus = 1 << max(int(np.ceil(np.log2(weights * 1.3 / GPU_BYTES))), 0)
        # Each step reads all weights once for the sequences that are decoded together; prompts are bound by operations.
        decode = ANSWER_TOKENS * weights / (gpus * BANDWIDTH * BANDWIDTH_SHARE) / TOGETHER
        prompt = PROMPT_TOKENS * weights / (gpus * OPERATIONS * OPERATIONS_SHARE)
        loads.append(Load(ALL_ROWS * share * (decode + prompt), gpus, weights / LOAD_BYTES_PER_S))
    return loads


def _print_cluster(shares: Float64s, prices: Float64s, gpus: int) -> None:
    loads = _loads(shares, prices)
    busy = sum(load.work_s * load.gpus for load in loads)
    print(f"\n{ALL_ROWS:.0e} rows as the last budget shares them out: {len(loads)} experts on {gpus:,} GPUs, ", end="")
    print(f"{busy / 3600:,.0f} GPU hours, at least {busy / gpus / 3600:.2f} h, ", end="")
    print(f"{ALL_ROWS / (busy / gpus):,.0f} answers a second; {gpus // 8} machines, one failure in ", end="")
    print(f"{HOURS_BETWEEN_FAILURES:,.0f} GPU hours\n")
    print("| placement | trouble | hours | of the least | loads | failures |\n|---|---|---|---|---|---|")
    ways = {"fixed, by predicted work": False, "free machines take what has most left": True}
    troubles = {"none": (False, 0.0), "slow machines, failures": (True, 1.0), "100 times the failures": (True, 100.0)}
    for way, moves in ways.items():
        for name, (slow, failures) in troubles.items():
            hours, loaded, failed = simulate(loads, gpus, moves=moves, slow=slow, failures=failures)
            print(f"| {way} | {name} | {hours:.2f} | {hours * 3600 * gpus / busy:.2f} | {loaded:,} | {failed} |")
    one_by_one = sum(load.work_s * load.gpus / gpus + load.load_s for load in loads) / 3600
    print(
        f"| one expert after another on all GPUs | none | {one_by_one:.2f} | {one_by_one * 3600 * gpus / busy:.2f} |",
        end="",
    )
    print(f" {sum(gpus // load.gpus for load in loads):,} | 0 |")
    memory = 2 * 4 * len(shares) * ALL_ROWS
    print(f"\nscores and costs: {memory / 1e9:,.0f} GB in all, {memory / SHARDS / 1e9:.2f} GB a shard")


def simulate(loads: list[Load], gpus: int, *, moves: bool, slow: bool, failures: float) -> tuple[float, int, int]:
    """Return hours until all work is done, loads of weights, and failures.

    A slot is a machine of eight GPUs, cut into groups as its expert needs; a larger expert is counted as if it fitted.
    Slots are handed out by predicted work, one at least for each expert as long as there are slots. `failures` is by
    how much they are more frequent than was seen; 0 is none.
    """
    if any(load.gpus > 8 for load in loads):
        loads = [Load(load.work_s * load.gpus / 8, 8, load.load_s) if load.gpus > 8 else load for load in loads]
    rng = np.random.default_rng(0)
    slots = gpus // 8
    left = np.array([load.work_s * load.gpus / 8 for load in loads])  # seconds of a slot
    speed = rng.lognormal(0, SPREAD, slots) if slow else np.ones(slots)
    if slow:
        speed[rng.random(slots) < SLOW_SHARE * 8] /= 2  # a machine is as slow as its slowest GPU
    events = [(0.0, slot, at) for slot, at in enumerate(_hand_out(left, slots))]
    heapq.heapify(events)
    loaded = failed = 0
    resident = [-1] * slots
    end = 0.0
    while events:
        now, slot, expert = heapq.heappop(events)
        end = max(end, now) if resident[slot] >= 0 else end
        if left[expert] <= 0:
            if not moves or left.max() <= loads[int(left.argmax())].load_s:
                continue  # nothing is left that is worth a load
            expert = int(left.argmax())
        wait = 0.0
        if resident[slot] != expert:
            wait, resident[slot], loaded = loads[expert].load_s, expert, loaded + 1
        part = min(CALL_S, left[expert])
        took = wait + part / speed[slot]
        if rng.random() < -np.expm1(-failures * took * 8 / 3600 / HOURS_BETWEEN_FAILURES):
            failed += 1
            resident[slot] = -1  # the call is done again by another, or by this one when it is back
            heapq.heappush(events, (now + took + BACK_S, slot, expert))
            continue
        left[expert] -= part
        heapq.heappush(events, (now + took, slot, expert))
    return end / 3600, loaded, failed


def _hand_out(work: Float64s, slots: int) -> list[int]:
    """Return the first expert of each slot: every next one goes where the most work a slot is left."""
    count = np.zeros(len(work))
    for _ in range(slots):
        count[np.argmax(work / np.maximum(count, 1e-9))] += 1
    slots_of: list[int] = np.repeat(np.arange(len(work)), count.astype(int)).tolist()
    return slots_of


if __name__ == "__main__":
    main()
