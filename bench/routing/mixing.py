"""Compare a router's choices with the best random mix of single experts that the same training data knows.

    python bench/routing/mixing.py [--pools eight,nine] [--draws 20] [--questions 400] [--share 0.3] [--first 0]

Reads the data folders in LEEROO_DATA, or ../shared/data. For each draw all questions of a folder are divided anew at
random, into as many for training as the folder has, or as `--questions` says, and the rest for testing. A router is
learned by the public API with its defaults. For the test questions it chooses under twelve budgets from the cheapest
expert's cost to the most expensive one's. The mix assigns experts by their training rates and expected mean costs
alone, under the same budgets; its accuracy is what its shares reach on average. Both answer every question. With
`--share` a training outcome is kept with this probability only, so that most questions lack some experts.

Each figure is the router's accuracy less the mix's, in points: the mean over the draws and its standard error. Draws
share questions, so that the standard errors are too small by what is peculiar to the folder. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.routing.data import DATA, SETTINGS, Setting, Task
from bench.routing.rivals import Predicted, ours
from bench.routing.table import table
from leeroo.engine.arrays import Float64s
from leeroo.engine.orchestrator.choose import choose
from leeroo.engine.orchestrator.outcomes.read import read_outcomes
from leeroo.engine.orchestrator.outcomes.recorded import prices_of, recorded
from leeroo.engine.orchestrator.training.learn import train

_BUDGETS = 12
# A budget that is exactly the cheapest expert's cost would be missed by a rounding error.
_ROUNDING = 1 + 1e-6


@dataclass(frozen=True)
class Pool:
    """Experts of a data folder, and how many of its questions are for training; no experts stand for all."""

    folder: str
    train: int
    experts: str = "true"


_EIGHT = next(setting.experts for setting in SETTINGS if setting.key == "eight")
_SEVENTEEN = next(setting.experts for setting in SETTINGS if setting.key == "pro17")
POOLS = {
    "eight": Pool("mmlu9", 1968, f"expert IN {_EIGHT}"),
    "nine": Pool("mmlu9", 1968),
    "redux": Pool("redux", 1909),
    "open": Pool("redux", 1909, "license_open AND params_b <= 73"),
    "pro28": Pool("mmlu_pro", 5907),
    "pro17": Pool("mmlu_pro", 5907, f"expert IN {_SEVENTEEN}"),
    "helm": Pool("helm12", 9602, "expert <> 'gpt-4-1106-preview-helm'"),
    "pair": Pool("mmlu_gpt4_mixtral", 9688),
}


def main() -> None:
    """Draw, learn, choose, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", default="eight,nine,redux,open", help="of one folder after another")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="number of the first draw")
    parser.add_argument("--questions", type=int, help="for training; default: as many as in the folder")
    parser.add_argument("--share", type=float, default=1.0, help="of the training outcomes that are kept")
    options = parser.parse_args()
    names = options.pools.split(",")
    gains: dict[str, list[Float64s]] = {name: [] for name in names}
    for folder in dict.fromkeys(POOLS[name].folder for name in names):
        mine = [name for name in names if POOLS[name].folder == folder]
        n = options.questions or POOLS[mine[0]].train
        for draw in range(options.first, options.first + options.draws):
            for name, gain in zip(mine, measure(mine, n, options.share, draw), strict=True):
                gains[name].append(gain)
        print(report({name: np.array(gains[name]) for name in mine}, n, options.share), flush=True)


def measure(names: Sequence[str], n: int, share: float, draw: int) -> list[Float64s]:
    """Learn a router from one draw of a folder's questions; return its gains [budgets] over the mix in each pool."""
    source = DATA / POOLS[names[0]].folder
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = divide(source, Path(place), n, share, draw)
        router = train([folder])
        setting = Setting(folder.name, folder.name, folder.name, (folder.name,), folder.name, "")
        prices = prices_of([folder], router.experts)
        known, new = (recorded(read_outcomes([folder], split), router.experts, prices) for split in ("train", "test"))
        task = Task(setting, router.experts, prices, known, new, query_ids=[])
        predicted = ours(router, task, in_context=True)
    print(f"{source.name}, draw {draw}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return [gains_over_mix(task, predicted, _columns(task, source, POOLS[name].experts)) for name in names]


def divide(source: Path, to: Path, n: int, share: float, draw: int) -> Path:
    """Write a data folder with n training questions drawn at random, of whose outcomes a share is kept."""
    for name, query in _DRAWN.items():
        sources = {f"${each}": f"read_parquet('{source / each}.parquet')" for each in ("queries", "outcomes")}
        for each, parquet in {**sources, "$divided": f"read_parquet('{to}/queries.parquet')"}.items():
            query = query.replace(each, parquet)
        query = query.format(n=n, draw=draw, million=round(share * 1e6))
        duckdb.execute(f"COPY ({query}) TO '{to}/{name}.parquet'")
    (to / "experts.parquet").write_bytes((source / "experts.parquet").read_bytes())
    return to


_DRAWN = {
    "queries": """
SELECT * REPLACE (if(row_number() OVER (ORDER BY md5('{draw}' || query_id)) <= {n}, 'train', 'test') AS split)
FROM $queries ORDER BY query_id""",
    "outcomes": """
SELECT o.* FROM $outcomes o JOIN $divided USING (query_id)
WHERE split = 'test' OR md5_number_lower('{draw}' || query_id || expert) % 1000000 < {million} ORDER BY ALL""",
}


def gains_over_mix(task: Task, predicted: Predicted, columns: list[int]) -> Float64s:
    """Return the router's accuracy less the mix's under each budget."""
    scores, costs, recorded_scores = (
        values[:, columns] for values in (predicted.scores, predicted.costs, task.test.scores)
    )
    n = len(scores)
    rates = np.broadcast_to(np.nanmean(task.train.scores[:, columns], axis=0), scores.shape)
    mean_costs = np.broadcast_to(costs.mean(axis=0), costs.shape)
    gains = []
    for budget in np.geomspace(mean_costs[0].min(), mean_costs[0].max(), _BUDGETS) * _ROUNDING * n:
        chosen, mixed = (
            choose(score, cost, budget_usd=float(budget)).expert
            for score, cost in ((scores, costs), (rates, mean_costs))
        )
        shares = np.bincount(mixed, minlength=len(columns)) / n
        gains.append(recorded_scores[np.arange(n), chosen].mean() - shares @ recorded_scores.mean(axis=0))
    return np.array(gains)


def _columns(task: Task, source: Path, experts: str) -> list[int]:
    found = duckdb.execute(f"SELECT expert FROM read_parquet('{source}/experts.parquet') WHERE {experts}").fetchall()
    wanted = {name for (name,) in found}
    return [j for j, name in enumerate(task.experts) if name in wanted]


def report(gains: dict[str, Float64s], n: int, share: float) -> str:
    """Format the gains [draws, budgets] of pools over the mix."""
    kept = f", {100 * share:.0f} % of their outcomes" if share < 1 else ""
    rows = [
        [f"{n:,} training questions{kept}", "draws", "mean of all budgets", "worst", "most expensive's cost", "each"]
    ]
    for name, of_one in gains.items():
        points = 100 * of_one
        mean, error = points.mean(axis=0), _error(points)
        worst = int(mean.argmin())
        all_budgets = f"{points.mean():+.2f} ± {_error(points.mean(axis=1)):.2f}"
        cells = (f"{mean[i]:+.2f} ± {error[i]:.2f}" for i in (worst, -1))
        rows.append([name, f"{len(points)}", all_budgets, *cells, " ".join(f"{value:+.1f}" for value in mean)])
    return table(rows)


def _error(values: Float64s) -> Float64s:
    return np.asarray(values.std(axis=0, ddof=1) / len(values) ** 0.5)


if __name__ == "__main__":
    main()
