"""Measure how many outcomes a router needs when it chooses the next requests itself, and when chance draws them.

    python bench/learning/exploration.py [--data mmlu9,mmlu_pro] [--draws 10] [--to 2000] [--plot exploration.svg]

On recorded outcomes: each starts from 200 random pairs of training question and expert, and continues in rounds of 100.
A round chooses from 300 questions. The active one stops at half of the outcomes after the start. After every round
the heads are learned from the outcomes so far, and their choices for the test questions are scored. Budgets are a tenth
to all of the most expensive expert's cost there; the mean over these is the accuracy. Costs are expected from a
question's tokens and the expert's mean answer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.routing.data import DATA
from leeroo.engine.arrays import Float32s, Float64s
from leeroo.engine.orchestrator.choose import choose
from leeroo.engine.orchestrator.encoders.encode import encode
from leeroo.engine.orchestrator.features import fit_features
from leeroo.engine.orchestrator.outcomes.read import read_outcomes
from leeroo.engine.orchestrator.outcomes.recorded import prices_of
from leeroo.engine.orchestrator.statistics import sigmoid
from leeroo.engine.orchestrator.text_features import text_features
from leeroo.engine.orchestrator.training.explore import Pairs, explore
from leeroo.engine.orchestrator.training.gaussian_process import fit_gaussian_process
from leeroo.engine.orchestrator.training.quality import learn_quality
from leeroo.reports.plot import OTHERS, OURS, as_svg, use_style

_START, _ROUND, _SHOWN = 200, 100, 300
# Numbers of random outcomes at which results are reported.
_REPORTED = (400, 600, 800, 1000, 1400, 2000)
SHARES = np.arange(1, 11) / 10


@dataclass(frozen=True)
class QuestionTables:
    """Some questions: features [n, k], scores and expected costs [n, e]."""

    features: Float32s
    scores: Float32s
    costs: Float64s


@dataclass(frozen=True)
class Curve:
    """After each round: outcomes so far, what they cost, and the accuracy of the choice."""

    outcomes: list[int]
    usd: list[float]
    accuracy: list[float]


@lru_cache(maxsize=1)
def load(name: str) -> tuple[QuestionTables, QuestionTables]:
    """Read the training and the test questions of a data folder."""
    parts = [read_outcomes([DATA / name], split) for split in ("train", "test")]
    prices = prices_of([DATA / name], parts[0].experts).astype(np.float64)
    answer = np.nanmean(parts[0].completion_tokens, axis=0)
    blocks = [[encode(part.prompts), text_features(part.prompts)] for part in parts]
    features = fit_features(blocks[0], np.zeros((len(parts[0].prompts), 0), np.int64), 0)
    whitening = features.whitening()
    train, test = (
        QuestionTables(
            features.likeness(np.concatenate(block, axis=1)) @ whitening,
            part.scores,
            (part.prompt_tokens * prices[0] + answer * prices[1]) / 1e6,
        )
        for part, block in zip(parts, blocks, strict=True)
    )
    return train, test


def accuracy(rows: np.ndarray, columns: np.ndarray, train: QuestionTables, test: QuestionTables) -> float:
    """Return the accuracy on the test questions after learning from these pairs of training question and expert."""
    recorded, at = np.unique(rows, return_inverse=True)
    scores = np.full((len(recorded), train.scores.shape[1]), np.nan, np.float32)
    scores[at, columns] = train.scores[rows, columns]
    quality = learn_quality(train.features[recorded], scores, np.arange(len(recorded)))
    return mean_accuracy(sigmoid(test.features @ quality.weight + quality.bias), test)


def mean_accuracy(expected: Float32s, test: QuestionTables) -> float:
    """Return the accuracy of the choice by expected scores of test questions, the mean over the budgets."""
    return float(np.mean(frontier(expected, test)))


def frontier(expected: Float32s, test: QuestionTables, shares: Float64s = SHARES) -> list[float]:
    """Return the accuracy of the choice by expected scores, under shares of the most expensive expert's cost."""
    n, highest = len(expected), test.costs.sum(axis=0).max()
    accuracies = []
    for share in shares:
        chosen = choose(expected, test.costs, budget_usd=share * highest).expert
        answered = np.flatnonzero(chosen >= 0)
        accuracies.append(float(test.scores[answered, chosen[answered]].sum() / n))
    return accuracies


RequestStrategy = Callable[
    [np.ndarray, np.ndarray, np.ndarray, QuestionTables, np.ndarray, int, np.random.Generator], Pairs
]


def choose_at_random(
    rows: np.ndarray,  # noqa: ARG001
    columns: np.ndarray,  # noqa: ARG001
    shown: np.ndarray,
    train: QuestionTables,
    allowed: np.ndarray,
    requests: int,
    rng: np.random.Generator,
) -> Pairs:
    """Choose random pairs."""
    pairs = rng.permutation(len(shown) * train.scores.shape[1])
    places = [divmod(int(pair), train.scores.shape[1]) for pair in pairs]
    return [(i, j) for i, j in places if allowed[i, j]][:requests]


def choose_actively(
    rows: np.ndarray,
    columns: np.ndarray,
    shown: np.ndarray,
    train: QuestionTables,
    allowed: np.ndarray,
    requests: int,
    rng: np.random.Generator,
) -> Pairs:
    """Choose pairs as self-play explores."""
    scores = train.scores[rows, columns]
    known = fit_gaussian_process(train.features[rows], columns, rows, scores, train.scores.shape[1])
    return explore(known, train.features[shown], train.costs[shown], requests, rng, allowed=allowed)


WAYS: dict[str, RequestStrategy] = {"at random": choose_at_random, "actively": choose_actively}


def grow(name: str, way: str, draw: int, to: int) -> Curve:
    """Start, and continue in rounds; both strategies start with the same pairs in the same draw."""
    train, test = load(name)
    n, e = train.scores.shape
    rng = np.random.default_rng(draw)
    rows, columns = rng.permutation(n)[:_START], rng.integers(e, size=_START)
    recorded = ~np.isfinite(train.scores)
    recorded[rows, columns] = True
    curve = Curve([], [], [])
    while True:
        curve.outcomes.append(len(rows))
        curve.usd.append(float(train.costs[rows, columns].sum()))
        curve.accuracy.append(accuracy(rows, columns, train, test))
        if len(rows) >= to:
            return curve
        shown = rng.permutation(n)[:_SHOWN]
        pairs = np.array(WAYS[way](rows, columns, shown, train, ~recorded[shown], _ROUND, rng))
        rows, columns = np.append(rows, shown[pairs[:, 0]]), np.append(columns, pairs[:, 1])
        recorded[rows, columns] = True


def report(name: str, curves: dict[str, list[Curve]]) -> str:
    """Compare the accuracy of both strategies by the number of outcomes."""
    random, active = (np.array([curve.accuracy for curve in curves[way]]) for way in WAYS)
    outcomes, fewer = (curves[way][0].outcomes for way in WAYS)
    lines = [
        f"\n{name}, {len(random)} draws\n",
        "| at random | accuracy, % | actively, half of them | half of those since the start | as far with | USD |",
        "|---|---|---|---|---|---|",
    ]
    usd = {way: np.mean([curve.usd for curve in each], axis=0) for way, each in curves.items()}
    for n in _REPORTED:
        if n > outcomes[-1]:
            break
        i = outcomes.index(n)
        half, after = (with_error(100 * active[:, fewer.index(m)]) for m in (n // 2, (n + _START) // 2))
        as_far = np.flatnonzero(active.mean(axis=0) >= random[:, i].mean())
        first = f"{fewer[as_far[0]]:,}" if len(as_far) else "-"
        paid = f"{usd['at random'][i]:.2f}, {usd['actively'][as_far[0]]:.2f}" if len(as_far) else "-"
        lines.append(f"| {n:,} | {with_error(100 * random[:, i])} | {half} | {after} | {first} | {paid} |")
    return "\n".join(lines)


def with_error(values: Float64s, digits: int = 2) -> str:
    """Format the mean over draws, and its standard error."""
    return f"{values.mean():.{digits}f} ± {_error(values):.{digits}f}"


def _error(values: Float64s) -> float:
    """Return the standard error of a mean over draws."""
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0


def picture(found: dict[str, dict[str, list[Curve]]]) -> str:
    """Draw SVG: outcomes against accuracy, a panel for each data folder; bands are standard errors over the draws."""
    from matplotlib.figure import Figure

    with use_style():
        figure = Figure(figsize=(4.2 * len(found), 3.4), dpi=72, layout="constrained")
        panels = figure.subplots(1, len(found), squeeze=False)[0]
        for axes, (name, curves) in zip(panels, found.items(), strict=True):
            for colour, (way, each) in zip((OTHERS[0], OURS), curves.items(), strict=True):
                accuracies = 100 * np.array([curve.accuracy for curve in each])
                mean, error = accuracies.mean(axis=0), np.array([_error(column) for column in accuracies.T])
                axes.fill_between(each[0].outcomes, mean - error, mean + error, color=colour, alpha=0.2, linewidth=0)
                axes.plot(each[0].outcomes, mean, color=colour, linewidth=2, label=way)
            axes.set(title=name, xlabel="outcomes to learn from", ylabel="accuracy of the choice, %")
            axes.grid(color="#eeeeee")
            axes.legend(loc="lower right", frameon=False)
        return as_svg(figure, "exploration")


def main() -> None:
    """Measure and print; draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mmlu9,mmlu_pro")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--to", type=int, default=2000)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    found: dict[str, dict[str, list[Curve]]] = {}
    far = {"at random": options.to, "actively": (options.to + _START) // 2}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for name in options.data.split(","):
            train, test = load(name)
            print(f"{name}: {len(train.scores):,} training and {len(test.scores):,} test questions", flush=True)
            curves = {
                way: [pool.submit(grow, name, way, draw, far[way]) for draw in range(options.draws)] for way in WAYS
            }
            found[name] = {way: [curve.result() for curve in each] for way, each in curves.items()}
            print(report(name, found[name]), flush=True)
    if options.plot:
        options.plot.write_text(picture(found))


if __name__ == "__main__":
    main()
