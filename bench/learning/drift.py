"""Measure how soon drift is noticed, and how often without drift: `analysis/drift.py` against simpler detectors.

    python bench/learning/drift.py

On mmlu9 in LEEROO_DATA, or ../shared/data: a router (MiniLM) learns from the training questions. The test questions
come one by one in random order, and after every ten the detector says if the expert has drifted. After some of them the
expert's outcomes are those of a weaker one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from leeroo.engine.orchestrator.analysis import drift
from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER
from leeroo.engine.orchestrator.outcomes.read import read_outcomes
from leeroo.engine.orchestrator.training.learn import train

_HISTORIES, _STEP, _LONG = 300, 10, 1000
# A long life; fewer of these are simulated.
_LIFE, _LIVES = 10_000, 200
_SWAPS = (
    ("gpt-4-1106-preview", "zephyr-7b-beta"),
    ("gpt-4-1106-preview", "mixtral-8x7b-instruct"),
    ("llama-3-8b", "chinese-mistral-7b-v0.1"),
)

# From score - predicted, in order, to True if there is drift.
Detector = Callable[[np.ndarray], bool]


def window(z: float, recent: int = 30) -> Detector:
    """Make a detector: the mean of the last outcomes against that of those before, in standard errors."""

    def alarm(error: np.ndarray) -> bool:
        if len(error) < 2 * recent:
            return False
        before, after = error[:-recent], error[-recent:]
        spread = np.sqrt(before.var(ddof=1) / len(before) + after.var(ddof=1) / len(after))
        return bool(abs(after.mean() - before.mean()) > z * max(spread, 1e-6))

    return alarm


def page_hinkley(threshold: float, slack: float = 0.05) -> Detector:
    """Make a detector: two-sided Page-Hinkley on the deviation from the running mean."""

    def alarm(error: np.ndarray) -> bool:
        mean = np.cumsum(error) / np.arange(1, len(error) + 1)
        for sign in (1, -1):
            sums = np.cumsum(sign * (error - mean) - slack)
            if (sums - np.minimum.accumulate(sums)).max() > threshold:
                return len(error) >= 2 * drift.LEAST
        return False

    return alarm


def change_point(error: np.ndarray) -> bool:
    """Apply `drifted`."""
    return drift.find_drift(np.zeros(len(error)), error) is not None


def first_alarm(way: Detector, error: np.ndarray) -> float:
    """Return after how many outcomes a detector reports drift; infinity for never."""
    return next((float(n) for n in range(_STEP, len(error) + 1, _STEP) if way(error[:n])), np.inf)


def main() -> None:
    """Learn, and print Markdown tables."""
    data = Path(os.environ.get("LEEROO_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data") / "mmlu9"
    router = train([data], [DEFAULT_ENCODER])
    test = read_outcomes([data], "test")
    predicted = router.predict(test.prompts, test.contexts).scores
    error = test.scores[:, [test.experts.index(name) for name in router.experts]] - predicted
    ways = {
        "last 60, z 4": window(4.0, 60),
        "Page-Hinkley, 12": page_hinkley(12),
        "Page-Hinkley, 16": page_hinkley(16),
        "change point": change_point,
    }
    columns = [f"{a} to {b} after {k}" for a, b in _SWAPS for k in (100, 300)]
    print(f"| way | alarms in {_LONG} without drift | in 300 | {' | '.join(columns)} |")
    print("|---|---|---|" + "---|" * len(columns))
    for name, way in ways.items():
        draw = np.random.default_rng(0)
        calm = np.array(
            [first_alarm(way, _drawn(draw, error, e)) for e in draw.integers(error.shape[1], size=_HISTORIES)]
        )
        cells = [f"{np.mean(np.isfinite(calm)):.1%}", f"{np.mean(calm <= 300):.1%}"]
        cells += [
            _found(way, draw, test.scores, error, predicted, router.experts, strong, weak, k)
            for strong, weak in _SWAPS
            for k in (100, 300)
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    draw = np.random.default_rng(1)
    lives = [error[draw.integers(len(error), size=_LIFE), e] for e in draw.integers(error.shape[1], size=_LIVES)]
    lives += [(draw.random(_LIFE) < rate) - rate for rate in (0.5, 0.8, 0.95, 0.99) for _ in range(_LIVES)]
    alarms = np.isfinite([first_alarm(change_point, life) for life in lives]).reshape(-1, _LIVES).mean(axis=1)
    print(f"change point, alarms in {_LIFE:,}: of mmlu9 {alarms[0]:.1%}; right with a chance of 0.5, 0.8, 0.95, 0.99:")
    print(", ".join(f"{share:.1%}" for share in alarms[1:]))


def _drawn(draw: np.random.Generator, error: np.ndarray, expert: int) -> np.ndarray:
    """Draw a history of one expert without drift."""
    history: np.ndarray = error[draw.permutation(len(error))[:_LONG], expert]
    return history


def _found(
    way: Detector,
    draw: np.random.Generator,
    scores: np.ndarray,
    error: np.ndarray,
    predicted: np.ndarray,
    experts: tuple[str, ...],
    strong: str,
    weak: str,
    k: int,
) -> str:
    """Count the drifts found within 500 outcomes, without those with an alarm before; give the median delay."""
    one, other = experts.index(strong), experts.index(weak)
    drifting = (error[:, other] + predicted[:, other]) - predicted[:, one]
    delays = []
    for _ in range(_HISTORIES):
        rows = draw.permutation(len(scores))[: k + 500]
        raised = first_alarm(way, np.concatenate([error[rows[:k], one], drifting[rows[k:]]]))
        if raised > k:
            delays.append(raised - k)
    found = np.array(delays)
    return f"{np.mean(np.isfinite(found)):.0%}, {np.median(found):.0f}"


if __name__ == "__main__":
    main()
