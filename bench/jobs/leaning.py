"""Correcting models that lean: nothing, batch calibration, and what `leeroo label` does, on simulated experts.

    python bench/jobs/leaning.py [--tables 10] [--rows 400]

No data set tells how far a model leans, so experts are simulated. The logit of a label is noise, plus the expert's
skill if it is the right label, plus its lean if it is the one that the expert leans to. Noise is normal, or Student's
t with three degrees of freedom and a skill that differs by row. Tables have 2, 4 or 8 labels, even, or with one label
at 80 or 95 %; skills are 1, 2, 4 and 8, leans 0, 2 and 5. Each line is the mean over all its tables: macro F1,
accuracy.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import product

import numpy as np

from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.jobs.choice_calibration import calibrate_choices

_LABELS, _SKILLS, _LEANS, _FREQUENT = (2, 4, 8), (1, 2, 4, 8), (0, 2, 5), (None, 0.8, 0.95)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=10)
    parser.add_argument("--rows", type=int, default=400)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    measured: dict[str, list[list[float]]] = defaultdict(list)
    for heavy, k, skill, lean, frequent in product((False, True), _LABELS, _SKILLS, _LEANS, _FREQUENT):
        for to in (0, 1) if frequent and lean else (0,):
            kind = "even" if frequent is None else f"{frequent:.0%} one label"
            leans = "no lean" if not lean else "leans" if frequent is None else f"leans to {('it', 'another')[to]}"
            for _ in range(given.tables):
                right, chances = simulate(random, given.rows, k, frequent or 1 / k, skill, lean, to, heavy=heavy)
                batch = chances / chances.mean(axis=0)
                ways = (chances, batch, calibrate_choices(chances))
                measured[f"{kind}, {leans}"].append(
                    [score(right, way) for way in ways for score in (macro_f1, accuracy)]
                )
    print("| table | nothing | batch calibration | ours |\n|---|---|---|---|")
    for name, rows in measured.items():
        f1 = np.mean(rows, axis=0).reshape(3, 2)
        print(f"| {name} | {' | '.join(f'{macro:.3f}, {right:.1%}' for macro, right in f1)} |")


def simulate(
    random: np.random.Generator, n: int, k: int, frequent: float, skill: float, lean: float, to: int, *, heavy: bool
) -> tuple[Int64s, Float64s]:
    """Return the right labels [n] of a table, and an expert's probabilities of them [n, k]."""
    prior = np.full(k, (1 - frequent) / (k - 1))
    prior[0] = frequent
    right = random.choice(k, n, p=prior)
    logits = random.standard_t(3, (n, k)) if heavy else random.normal(0, 1, (n, k))
    logits[np.arange(n), right] += skill * (random.uniform(0.3, 1.7, n) if heavy else 1)
    logits[:, to] += lean
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return right, weights / weights.sum(axis=1, keepdims=True)


def macro_f1(right: Int64s, chances: Float64s) -> float:
    """Mean over the labels that a table has of the harmonic mean of precision and recall."""
    said = chances.argmax(axis=1)
    hits = [2 * ((right == i) & (said == i)).sum() / ((right == i).sum() + (said == i).sum()) for i in np.unique(right)]
    return float(np.mean(hits))


def accuracy(right: Int64s, chances: Float64s) -> float:
    """Share of the rows whose likeliest label is right."""
    return float((chances.argmax(axis=1) == right).mean())


if __name__ == "__main__":
    main()
