"""Measure what learning while answering brings, all costs counted, with no outcomes beforehand.

    python bench/learning/while_answering.py [--draws 10] [--sets mmlu_pro,...] [--processes 2]

On recorded answers: the test questions of a set are a user's table, its experts the pool. The policy of
`leeroo run --learn` decides what is bought; nothing but the answers bought is shown to it, and right answers only to
count at the end. A draw is another order of questions, and other bootstrap draws. Beside it: the best mix of two
experts with hindsight, the mix that prices suggest, and the strong expert alone. What is paid is what was recorded;
expected beforehand is the price of the prompt and of an answer of the expert's mean length.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import duckdb
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.routing.data import DATA, SETTINGS
from leeroo.engine.arrays import Bools, Float32s, Float64s, Int64s
from leeroo.engine.jobs.learn.cover import sample_order
from leeroo.engine.jobs.learn.deviations import deviate
from leeroo.engine.jobs.learn.mixes import best_mixes
from leeroo.engine.jobs.learn.policy import Plan, Simulated, choose_base, refit, run_pilot, spend_rest
from leeroo.engine.jobs.learn.skills import families, price_prior, router_prior
from leeroo.engine.jobs.learn.truth import EMPTY, NONE, Evidence, posterior, rates
from leeroo.engine.orchestrator.encoders.encode import encode
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.shipped.catalogue import folder_of

# Set, splits, experts, the expert whose cost is 1, parts of it, gold rows, rows, and the part of a shipped router's
# experts that is known beforehand.
SMALL = ("gemini-1.5-pro-002", "gemini-1.5-flash-002", "llama-3.1-8b-instruct")
FIVE = (*SMALL, "llama-3.1-70b-instruct", "phi-3-mini-4k-instruct")
WEAK = ("gemini-1.5-pro-002", "mistral-7b-v0.1", "llama-2-7b", "gemma-7b")


@dataclass(frozen=True)
class Case:
    """A table, a pool and budgets; see the comment at `CASES`."""

    name: str
    data: str
    strong: str
    parts: tuple[float, ...]
    experts: tuple[str, ...] | None = None  # None: all that have answers
    splits: tuple[str, ...] = ("test",)
    gold: int = 0
    rows: int | None = None
    shipped: str | None = None  # the router that knows every other expert


_PRO = "gemini-1.5-pro-002"
_SEVENTEEN = next(setting.experts for setting in SETTINGS if setting.key == "pro17")
# The cases of the table in LOG.md.
CASES = [
    Case("28 experts", "mmlu_pro", _PRO, (0.25, 0.5, 1.0)),
    Case("28 experts, gold on 100 rows", "mmlu_pro", _PRO, (0.5,), gold=100),
    Case("28 experts, all questions", "mmlu_pro", _PRO, (0.5,), splits=("train", "test")),
    Case("28 experts, half of them known to a shipped router", "mmlu_pro", _PRO, (0.5,), shipped="mmlu-pro"),
    Case("17 open experts", "mmlu_pro", "mixtral-8x7b-instruct", (0.5, 1.0), experts=_SEVENTEEN),
    Case(
        "17 experts, some known to a shipped router",
        "mmlu_pro",
        "mixtral-8x7b-instruct",
        (0.5, 1.0),
        experts=_SEVENTEEN,
        shipped="mmlu-pro",
    ),
    Case("9 experts of HELM", "helm12", "gpt-4o-2024-05-13-helm", (0.5,)),
    Case("9 experts, some known to a shipped router", "helm12", "gpt-4o-2024-05-13-helm", (0.5,), shipped="helm-mmlu"),
    Case("300 rows, 28 experts", "mmlu_pro", _PRO, (0.5,), rows=300),
    Case("300 rows, 9 experts of HELM", "helm12", "gpt-4o-2024-05-13-helm", (0.5,), rows=300),
    Case("300 rows, 17 open experts", "mmlu_pro", "mixtral-8x7b-instruct", (0.5,), experts=_SEVENTEEN, rows=300),
    Case("300 rows, three experts", "mmlu_pro", _PRO, (0.5, 1.0), experts=SMALL, rows=300),
    Case("three experts", "mmlu_pro", _PRO, (0.5, 1.0), experts=SMALL),
    Case("five experts", "mmlu_pro", _PRO, (0.5, 1.0), experts=FIVE),
    Case("one strong and three weak experts", "mmlu_pro", _PRO, (0.5, 1.0), experts=WEAK),
]


@dataclass(frozen=True)
class Recorded:
    """Recorded answers: [n, e] numbers, USD paid and expected, right or wrong; gold and options [n], vectors [n, d]."""

    names: list[str]
    texts: list[str]
    answers: Int64s
    costs: Float64s
    expected: Float64s
    scores: Float64s
    gold: Int64s
    options: Int64s
    vectors: Float32s


@lru_cache(maxsize=4)
def recorded(case: Case) -> Recorded:
    """Read the answers of a case; those without a letter are empty."""
    folder, splits = DATA / case.data, ", ".join(f"'{split}'" for split in case.splits)
    questions = duckdb.execute(
        f"SELECT query_id, prompt, answer, len(choices) AS k FROM '{folder}/queries.parquet'"
        f" WHERE split IN ({splits}) ORDER BY query_id"
    ).fetchall()
    rows = duckdb.execute(
        f"SELECT query_id, expert, prediction, score, prompt_tokens * usd_per_m_input / 1e6,"
        f" completion_tokens * usd_per_m_output / 1e6"
        f" FROM '{folder}/outcomes.parquet' JOIN '{folder}/experts.parquet' USING (expert)"
    ).fetchall()
    heard = {row[1] for row in rows if row[2] is not None}
    # HELM's run of a model that RouteLLM has too, with 5 % of its replies cut before a letter.
    names = sorted(heard - {"gpt-4-1106-preview-helm"} if case.experts is None else set(case.experts))
    at, column = {q[0]: i for i, q in enumerate(questions)}, {name: j for j, name in enumerate(names)}
    shape = len(questions), len(names)
    answers, prompts, replies, scores = np.full(shape, EMPTY), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for query, expert, letter, score, of_prompt, of_reply in rows:
        if query in at and expert in column:
            cell = at[query], column[expert]
            prompts[cell], replies[cell], scores[cell] = of_prompt, of_reply, score
            answers[cell] = ord(letter) - ord("A") if letter is not None and len(letter) == 1 else EMPTY
    gold = np.array([ord(q[2]) - ord("A") for q in questions])
    texts = [q[1] for q in questions]
    options = np.maximum([q[3] for q in questions], gold + 1)
    expected = prompts + replies.mean(axis=0)
    return Recorded(names, texts, answers, prompts + replies, expected, scores, gold, options, encode(texts))


@dataclass
class Replayed(Simulated):
    """A batch of recorded answers, each of which was paid, [n, e] USD, and not what was expected."""

    paid: Float64s | None = None

    def ask(self, pairs: Bools, what: str) -> None:
        """Show the answers of these pairs, for what they cost."""
        assert self.paid is not None
        before = self.spent
        super().ask(pairs, what)
        self.spent = before + float(self.paid[pairs].sum())


def one_draw(case: Case, part: float, seed: int) -> tuple[float, ...]:
    """Return accuracies in per cent: ours, hindsight mix, price mix, strong expert; and the part that was spent."""
    data, rng = recorded(case), np.random.default_rng(seed)
    rows = np.arange(len(data.gold)) if case.rows is None else rng.permutation(len(data.gold))[: case.rows]
    answers, costs, scores, truth = data.answers[rows], data.costs[rows], data.scores[rows], data.gold[rows]
    n, e = answers.shape
    usd = part * _usd_of(case, rows)
    gold = np.full(n, NONE)
    known = rng.permutation(n)[: case.gold]
    gold[known] = truth[known]
    empty = Evidence(np.full((n, e), NONE), data.options[rows], gold, np.zeros((n, e)), families(data.names))
    batch = Replayed(answers, empty, data.expected[rows], np.ones(n, int), paid=costs)
    prior = price_prior(costs.mean(axis=0), n)
    if case.shipped is not None:
        prior = router_prior(prior, _known_scores(case, rows))
        batch.evidence = Evidence(empty.answers, empty.options, gold, prior.offset, empty.family)
    vectors = data.vectors[rows]

    def learn_deviations(plan: Plan) -> None:
        offset = deviate(batch.evidence, prior, vectors, plan.pilot, plan.skills.likely)
        found = batch.evidence
        batch.evidence = Evidence(found.answers, found.options, found.gold, offset, found.family)

    plan = run_pilot(batch, prior, sample_order(n, vectors, known.tolist(), rng), usd, rng, learn_deviations)
    plan.base = choose_base(batch, plan, usd, rng)
    spend_rest(batch, plan, prior, usd)
    theta = refit(batch, prior, plan.skills.likely)
    ours = (posterior(batch.evidence, theta).best == truth).mean()
    mean = costs.mean(axis=0)
    hindsight = best_mixes(scores.mean(axis=0)[None], mean, usd / n)[0][0]
    by_price = best_mixes(rates(price_prior(mean, n).mean)[None], mean, usd / n)[1][0] @ scores.mean(axis=0)
    strong = scores[:, data.names.index(case.strong)].mean()
    return (*(100 * float(x) for x in (ours, hindsight, by_price, strong)), batch.spent / usd, float(len(plan.pilot)))


def _usd_of(case: Case, rows: Int64s) -> float:
    """Return what the strong expert costs for these questions."""
    data = recorded(case)
    return float(data.costs[rows, data.names.index(case.strong)].sum())


@lru_cache(maxsize=2)
def _all_scores(case: Case) -> Float64s:
    """Return the scores that a shipped router expects, NaN for every other expert."""
    data = recorded(case)
    assert case.shipped is not None
    router = Router.load(folder_of(case.shipped))
    known = router.only([name for name in router.experts if name in data.names[::2]])
    found = np.full(data.answers.shape, np.nan)
    predicted = known.predict(data.texts).scores
    for j, name in enumerate(known.experts):
        found[:, data.names.index(name)] = predicted[:, j]
    return found


def _known_scores(case: Case, rows: Int64s) -> Float64s:
    return _all_scores(case)[rows]


def measured(case: Case, draws: int, processes: int) -> Iterator[str]:
    """Yield a line of the table for each budget of a case."""
    for part in case.parts:
        begun = time.monotonic()
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            results = np.array(list(pool.map(partial(one_draw, case, part), range(draws))))
        ours, mix, price, strong, spent, pilot = results.mean(axis=0)
        error = results[:, 0].std(ddof=1) / np.sqrt(draws)
        yield (
            f"| {case.name} | {part:g} | {ours:.1f} ± {error:.1f} | {results[:, 0].min():.1f} | {mix:.1f} | {price:.1f}"
            f" | {strong:.1f} | {spent:.2f} | {pilot:.0f} | {(time.monotonic() - begun) / draws:.0f} |"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    print("| table and pool | part of the strong expert's cost | right % | least | mix with hindsight | mix by price")
    print("| strong expert | spent | pilot | s |")
    for case in CASES:
        if options.only in case.name:
            for line in measured(case, options.draws, options.processes):
                print(line, flush=True)


if __name__ == "__main__":
    main()
