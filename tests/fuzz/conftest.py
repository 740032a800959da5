"""How long to fuzz: a few dozen cases in the suite, as long as LEEROO_FUZZ_SECONDS says by hand.

A case that fails is found again by LEEROO_FUZZ_SEED and its number, which the failing test shows.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator

import pytest

Cases = Callable[[int], Iterator[tuple[str, random.Random]]]


@pytest.fixture
def cases() -> Cases:
    """Make an iterator over cases: the name of each, and a source of randomness that depends on the name alone."""
    seed = os.environ.get("LEEROO_FUZZ_SEED", "0")
    seconds = float(os.environ.get("LEEROO_FUZZ_SECONDS", "0"))

    def make(least: int) -> Iterator[tuple[str, random.Random]]:
        """Yield `least` cases, and more until the time is over."""
        end = time.monotonic() + seconds
        for number in itertools.count():
            if number >= least and time.monotonic() >= end:
                print(f"\n{number} cases")
                return
            name = f"{seed}-{number}"
            yield name, random.Random(name)

    return make
