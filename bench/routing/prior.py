"""Measure pools of which a shipped router knows half: what to expect of the experts that it does not know.

    python bench/routing/prior.py [--router mmlu-redux] [--data ../shared/data/redux] [--pools 200] [--experts 6]

Draws pools from the experts of a data folder. Half of each pool is taken out of the shipped router, as if it had never
been there. Test questions are chosen for under half of the cost of the pool's best expert, and under all of it, with
each way to expect something of the unknown half. Prints accuracies in %, means over the pools with standard errors.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.routing.data import DATA
from leeroo.engine.arrays import Float32s, Float64s
from leeroo.engine.orchestrator.analysis.frontier import accuracy_at, singles
from leeroo.engine.orchestrator.heads import Prediction, measure
from leeroo.engine.orchestrator.outcomes.read import read_outcomes
from leeroo.engine.orchestrator.outcomes.recorded import Recorded, prices_of, recorded
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.shipped.catalogue import About, folder_of, shipped
from leeroo.engine.orchestrator.shipped.prior import fit_to
from leeroo.engine.orchestrator.similar import most_similar
from leeroo.engine.pool import Expert

SHARES = (1 / 2, 1.0)


def main() -> None:
    """Draw pools, choose with each way, print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--router", default="mmlu-redux")
    parser.add_argument("--data", type=Path, default=DATA / "redux")
    parser.add_argument("--pools", type=int, default=200)
    parser.add_argument("--experts", type=int, default=6)
    options = parser.parse_args()
    router, about = Router.load(folder_of(options.router)), shipped()[options.router]
    names = tuple(about.experts)
    test = recorded(read_outcomes([options.data], "test"), names, prices_of([options.data], names))
    features = router.features.likeness(router.see(test.prompts).blocks)
    rng = np.random.default_rng(0)
    rows: dict[str, list[list[float]]] = {}
    for _ in range(options.pools):
        pool = [str(name) for name in rng.permutation(names)[: options.experts]]
        for way, accuracies in _measure(router, about, test, features, pool).items():
            rows.setdefault(way, []).append(accuracies)
    print(
        f"{os.cpu_count()} cores; {len(test.prompts):,} questions, {options.pools} pools of {options.experts} experts\n"
    )
    print("| unknown half | 1/2 of the best expert's cost | all of it |\n|---|---|---|")
    for way, found in rows.items():
        table = 100 * np.array(found)
        error = table.std(axis=0, ddof=1) / np.sqrt(len(table))
        print(f"| {way} |" + "".join(f" {m:.2f} ± {e:.2f} |" for m, e in zip(table.mean(axis=0), error, strict=True)))


def _measure(
    router: Router, about: About, test: Recorded, features: Float32s, pool: list[str]
) -> dict[str, list[float]]:
    """Return the accuracy at each share of the best expert's cost, for each way."""
    experts = [_expert(name, about) for name in pool]
    unknown = pool[len(pool) // 2 :]
    rest = [name for name in router.experts if name not in unknown]
    without = about.model_copy(update={"experts": {name: about.experts[name] for name in rest}})
    prices = np.array([[e.usd_per_m_input, e.usd_per_m_output] for e in experts])
    columns = [list(about.experts).index(name) for name in pool]
    scores, costs = test.scores[:, columns], test.costs[:, columns]
    best = max(singles(scores, costs), key=lambda point: point.accuracy)

    def accuracies(predicted: Prediction, known: list[int]) -> list[float]:
        tokens = predicted.prompt_tokens * prices[:, 0] + predicted.completion_tokens * prices[:, 1]
        expected = np.full(scores.shape, np.nan)
        expected[:, known] = predicted.scores[:, known]
        return [
            accuracy_at(expected, tokens / 1e6, scores, costs, share * best.cost_usd_per_1k).value for share in SHARES
        ]

    def predict(known: list[str]) -> Prediction:
        cut = router.only(rest) if len(known) < len(pool) else router
        fitted = fit_to(cut, about if cut is router else without, experts, {name: name for name in known})
        return fitted.heads.predict(features, measure(test.prompts))

    everyone, half = list(range(len(pool))), len(pool) // 2
    by_price = predict(pool[:half])
    return {
        "known to the router as well": accuracies(predict(pool), everyone),
        "never chosen": accuracies(by_price, everyone[:half]),
        "as the most similar known one": accuracies(_similar(by_price, experts, half), everyone),
        "by price": accuracies(by_price, everyone),
    }


def _expert(name: str, about: About) -> Expert:
    known = about.experts[name]
    return Expert(
        name=name,
        model=known.model,
        backend="openai",
        usd_per_m_input=known.usd_per_m_input,
        usd_per_m_output=known.usd_per_m_output,
    )


def _similar(predicted: Prediction, experts: list[Expert], known: int) -> Prediction:
    """Return predictions in which each unknown expert does as the most similar known one."""
    columns = [
        i if i < known else experts.index(most_similar(expert, experts[:known])) for i, expert in enumerate(experts)
    ]
    tables: dict[str, Float64s] = {name: table[:, columns] for name, table in vars(predicted).items()}
    return Prediction(**tables)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
