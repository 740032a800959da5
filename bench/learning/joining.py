"""Add a new expert to eight known ones, its questions chosen by exploration or drawn at random.

    python bench/learning/joining.py [--draws 5]
        [--experts gpt-4-1106-preview,mixtral-8x7b-instruct,dolphin-2.9-llama3-8b]

On mmlu9: the others are learned from all their outcomes. The new expert is learned from 50, 100, 200 and 500 of its own
and the predictions for the others, as `leeroo train --router` does. The results are the accuracy of the choice between
all nine on the test questions, as in `exploration.py`, and the new expert's log loss there. The frontier is the
accuracy under each budget, without the new expert and after each number of outcomes that were chosen.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.learning.exploration import SHARES, QuestionTables, frontier, load, with_error
from bench.routing.data import DATA
from leeroo.engine.arrays import Float32s
from leeroo.engine.orchestrator.outcomes.read import read_outcomes
from leeroo.engine.orchestrator.statistics import log_loss, sigmoid
from leeroo.engine.orchestrator.training.explore import explore
from leeroo.engine.orchestrator.training.gaussian_process import fit_gaussian_process
from leeroo.engine.orchestrator.training.quality import Quality, learn_quality

_OUTCOMES, _ROUND, _SHOWN = (50, 100, 200, 500), 50, 300
# Questions on which exploration knows all outcomes of the others.
_KNOWN_QUESTIONS = 100


def learn_others(train: QuestionTables, others: list[int]) -> Quality:
    """Learn the others, from all their outcomes."""
    return learn_quality(train.features, train.scores[:, others], np.arange(len(train.scores)))


def judge(
    rows: np.ndarray, new: int, others: list[int], quality: Quality, train: QuestionTables, test: QuestionTables
) -> tuple[list[float], float]:
    """Return frontier and log loss, with the new expert's outcomes on these training questions."""

    def before(features: Float32s) -> Float32s:
        return features @ quality.weight + quality.bias

    features, scores = train.features[rows], train.scores[rows][:, [new]]
    added = learn_quality(features, scores, np.arange(len(rows)), before(features))
    base = before(test.features)
    log_odds = np.empty((len(base), len(others) + 1), np.float32)
    log_odds[:, others] = base
    log_odds[:, new] = (test.features @ added.weight + base @ added.transfer + added.bias)[:, 0]
    expected = sigmoid(log_odds)
    truth = test.scores[:, new]
    return frontier(expected, test), log_loss(expected[:, new], truth, np.ones(len(truth)))


def choose_rows(new: int, others: list[int], train: QuestionTables, rng: np.random.Generator) -> np.ndarray:
    """Choose training questions for the new expert, in rounds, the first first."""
    n, e = train.scores.shape
    known = rng.permutation(n)[:_KNOWN_QUESTIONS]
    rows, columns = np.repeat(known, len(others)), np.tile(others, _KNOWN_QUESTIONS)
    mine = np.zeros(0, np.int64)
    while len(mine) < _OUTCOMES[-1]:
        at, of = np.append(rows, mine), np.append(columns, np.full(len(mine), new))
        posterior = fit_gaussian_process(train.features[at], of, at, train.scores[at, of], e)
        shown = np.setdiff1d(rng.permutation(n)[:_SHOWN], mine)
        allowed = np.zeros((len(shown), e), bool)
        allowed[:, new] = True
        pairs = explore(posterior, train.features[shown], train.costs[shown], _ROUND, rng, allowed=allowed)
        mine = np.append(mine, shown[[question for question, _ in pairs]])
    return mine


def main() -> None:
    """Measure and print a table for each expert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experts", default="gpt-4-1106-preview,mixtral-8x7b-instruct,dolphin-2.9-llama3-8b")
    parser.add_argument("--draws", type=int, default=5)
    options = parser.parse_args()
    names = list(read_outcomes([DATA / "mmlu9"], "train").experts)
    train, test = load("mmlu9")
    for name in options.experts.split(","):
        new = names.index(name)
        others = [j for j in range(len(names)) if j != new]
        quality = learn_others(train, others)
        found = []
        for draw in range(options.draws):
            rng = np.random.default_rng(draw)
            ways = rng.permutation(len(train.scores)), choose_rows(new, others, train, rng)
            found.append([[judge(rows[:n], new, others, quality, train, test) for n in _OUTCOMES] for rows in ways])
        frontiers, losses = (
            np.array([[[each[of] for each in way] for way in draw] for draw in found]) for of in (0, 1)
        )
        print(f"\n{name}, {options.draws} draws\n")
        print("| outcomes | at random, % | chosen, % | log loss at random | chosen |\n|---|---|---|---|---|")
        for i, n in enumerate(_OUTCOMES):
            accuracy = " | ".join(with_error(100 * frontiers[:, way, i].mean(axis=1)) for way in (0, 1))
            loss = " | ".join(with_error(losses[:, way, i], 4) for way in (0, 1))
            print(f"| {n} | {accuracy} | {loss} |", flush=True)
        old = QuestionTables(test.features, test.scores[:, others], test.costs[:, others])
        # The budgets stay those of all nine.
        scale = test.costs.sum(axis=0).max() / old.costs.sum(axis=0).max()
        without = frontier(sigmoid(test.features @ quality.weight + quality.bias), old, scale * SHARES)
        print("\n| frontier, % | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |\n" + "|---" * 11 + "|")
        with_chosen = zip(_OUTCOMES, frontiers[:, 1].mean(axis=0), strict=True)
        for of, accuracies in (("without", without), *((f"{n} chosen", each) for n, each in with_chosen)):
            print(f"| {of} | " + " | ".join(f"{100 * each:.1f}" for each in accuracies) + " |", flush=True)


if __name__ == "__main__":
    main()
