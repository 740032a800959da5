"""Measure how often the intervals of a learning run's report hold the truth.

    PYTHONPATH=. python bench/learning/intervals.py [--tables 70] [--gold 0] [--processes 2]

Each table is a sample of recorded questions (MMLU-Pro, or MMLU as HELM asked it), of 300, 600 or 1,200 rows, with three
to six experts drawn at random and a part of what the most expensive one costs. The policy of `leeroo run --learn`
spends it, and what the report would say is compared with the right answers: each expert's rate, the run's, and its
gain over the best other way. A gain is claimed where its interval is above 0.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.learning.while_answering import Case, Recorded, Replayed, recorded
from leeroo.engine.arrays import Int64s
from leeroo.engine.jobs.learn.cover import sample_order
from leeroo.engine.jobs.learn.deviations import deviate
from leeroo.engine.jobs.learn.findings import LEAST_PILOT
from leeroo.engine.jobs.learn.intervals import doubtful_skills, interval, other_ways, rate_of_batch
from leeroo.engine.jobs.learn.policy import Plan, Simulated, choose_base, refit, run_pilot, spend_rest
from leeroo.engine.jobs.learn.skills import families, price_prior
from leeroo.engine.jobs.learn.truth import NONE, Evidence, posterior, rates
from leeroo.engine.orchestrator.analysis.frontier import Interval

_CASES = (Case("", "mmlu_pro", "", ()), Case("", "helm12", "", ()))
# The part of the tables that are of the first case.
_FIRST = 0.65


class Said(NamedTuple):
    """What the report of a table says, each with the truth: of the experts, of the run and of its gain."""

    experts: list[tuple[Interval, float]]
    run: tuple[Interval, float]
    gain: tuple[Interval, float]
    pilot: int


def one_table(gold: int, seed: int) -> Said:
    """Run the policy on a table that is drawn by a seed, with gold on some of its rows."""
    rng = np.random.default_rng(1000 + seed)
    data, part = _draw(rng)
    n, costs = len(data.gold), data.costs.mean(axis=0)
    known = rng.permutation(n)[:gold]
    batch, usd, prior = _batch(data, known), part * n * float(costs.max()), price_prior(costs, n)

    def learn_deviations(plan: Plan) -> None:
        offset = deviate(batch.evidence, prior, data.vectors, plan.pilot, plan.skills.likely)
        batch.evidence = replace(batch.evidence, offset=offset)

    plan = run_pilot(batch, prior, sample_order(n, data.vectors, known.tolist(), rng), usd, rng, learn_deviations)
    plan.base = choose_base(batch, plan, usd, rng)
    spend_rest(batch, plan, prior, usd)
    best = posterior(batch.evidence, refit(batch, prior, plan.skills.likely)).best
    says_it = (batch.evidence.answers == best[:, None]) & (best >= 0)[:, None]
    chosen = np.where(says_it.any(axis=1), says_it.argmax(axis=1), -1)
    return _compare(data, batch, plan, chosen, usd / n, rng)


def _draw(rng: np.random.Generator) -> tuple[Recorded, float]:
    """Return a table of some rows and experts, and the part of the most expensive one's cost that may be spent."""
    data = recorded(_CASES[int(rng.random() >= _FIRST)])
    experts = np.sort(rng.permutation(len(data.names))[: rng.integers(3, 7)])
    n, part = int(rng.choice([300, 600, 1200])), float(rng.choice([0.3, 0.5, 1.0]))
    rows = rng.permutation(len(data.gold))[:n]
    cells = np.ix_(rows, experts)
    table = Recorded(
        [data.names[j] for j in experts.tolist()],
        [data.texts[i] for i in rows.tolist()],
        data.answers[cells],
        data.costs[cells],
        data.expected[cells],
        data.scores[cells],
        data.gold[rows],
        data.options[rows],
        data.vectors[rows],
    )
    return table, part


def _batch(data: Recorded, known: Int64s) -> Simulated:
    shape = data.answers.shape
    gold = np.full(shape[0], NONE)
    gold[known] = data.gold[known]
    empty = Evidence(np.full(shape, NONE), data.options, gold, np.zeros(shape), families(data.names))
    return Replayed(data.answers, empty, data.expected, np.ones(shape[0], int), paid=data.costs)


def _compare(
    data: Recorded, batch: Simulated, plan: Plan, chosen: Int64s, usd: float, rng: np.random.Generator
) -> Said:
    """Compare what the report would say with the truth."""
    skills = doubtful_skills(plan, batch.evidence, batch.evidence.gold != NONE, rng)
    shares_right, true_rates = rates(skills), data.scores.mean(axis=0)
    ours = rate_of_batch(batch.evidence, batch.rows, skills, chosen, rng)
    ways = other_ways(data.names, shares_right, data.costs.mean(axis=0), usd, data.names[-1])
    part = max(ways.values(), key=lambda each: float((shares_right @ each).mean()))
    at = np.arange(len(chosen))
    right = float(((batch.evidence.answers[at, chosen] == data.gold) & (chosen >= 0)).mean())
    experts = [(interval(0.0, shares_right[:, j]), float(true_rates[j])) for j in range(len(true_rates))]
    gain = interval(0.0, ours - shares_right @ part), right - float(true_rates @ part)
    return Said(experts, (interval(0.0, ours), right), gain, len(plan.pilot))


def _held(said: list[tuple[Interval, float]]) -> str:
    """Return how many intervals hold the truth in per cent, and the mean width of one in points."""
    held = [found.low <= truth <= found.high for found, truth in said]
    return f"{100 * np.mean(held):.0f} ({100 * np.mean([found.high - found.low for found, _ in said]):.0f})"


def main() -> None:
    """Print a line of the table in LOG.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=70)
    parser.add_argument("--gold", type=int, default=0, help="rows whose right answer is known")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        said = list(pool.map(partial(one_table, options.gold), range(options.tables)))
    said = [each for each in said if each.pilot >= LEAST_PILOT]  # of the others the report compares nothing
    gains = [each.gain for each in said]
    claims = [truth for found, truth in gains if found.low > 0]
    print("| gold | tables | experts held % (width) | run | gain | claims | false | true gains of 2 points or more |")
    print(
        f"| {options.gold} | {len(said)} | {_held([one for each in said for one in each.experts])}"
        f" | {_held([each.run for each in said])} | {_held(gains)} | {len(claims)}"
        f" | {sum(truth <= 0 for truth in claims)} | {sum(truth >= 0.02 for _, truth in gains)} |"
    )


if __name__ == "__main__":
    main()
