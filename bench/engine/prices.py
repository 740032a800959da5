"""CPU seconds of pricing: a million completions, a call by genai-prices, and loading a pool with list prices.

    python bench/engine/prices.py [--rows N]

Completions are priced 1,024 at a time, as they come back, by a pool of six experts: with one price each, and with
prices that depend on the length of the prompt.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from leeroo.engine.backends.completions import completion_batch
from leeroo.engine.batch.price import Prices, list_cost
from leeroo.engine.prices import CallTokens, Rates, cheapest_price, list_price

AT_A_TIME, EXPERTS = 1024, 6
FLAT = (Rates(-1, 1.0, 2.0, 0.1, 1.25),)
TIERED = (*FLAT, Rates(200_000, 2.0, 3.0, 0.2, 2.5))


def main() -> None:
    """Measure each, and print seconds or microseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    batch = completions()
    experts = np.arange(AT_A_TIME) % EXPERTS
    for name, rates in (("one price", FLAT), ("prices by length", TIERED)):
        charged = Prices([rates] * EXPERTS)
        spent = seconds(functools.partial(list_cost, batch, experts, charged), -(-rows // AT_A_TIME))
        print(f"{rows:,} completions, {name:<17} {spent:6.2f} s")
    began = time.process_time()
    price = list_price("gemini-2.5-pro", "google")
    cheapest_price("meta-llama/Llama-3.3-70B-Instruct")
    print(f"the first two list prices                {time.process_time() - began:6.2f} s")
    assert price is not None
    spent = seconds(lambda: price.usd(CallTokens(1000, 100, 500)), 10_000)
    print(f"a call by genai-prices                 {spent / 10_000 * 1e6:6.0f} us")


def completions() -> pa.RecordBatch:
    """Return completions with their tokens."""
    return completion_batch({"id": i, "prompt_tokens": 100 + i, "completion_tokens": 50} for i in range(AT_A_TIME))


def seconds(act: Callable[[], object], times: int) -> float:
    """Return how long it takes to do something that often."""
    began = time.process_time()
    for _ in range(times):
        act()
    return time.process_time() - began


if __name__ == "__main__":
    main()
