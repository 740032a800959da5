"""Measure what learning while answering brings with real small models, whose answers are not recorded but given.

    python bench/learning/real_models.py --pool pool.toml --questions own|mmlu [--rows 300] [--parts 0.4 0.7]
        [--gold 0 60] [--seeds 0 1 2] [--store DIR] [--page F.html]

The pool is that of `bench/jobs/small_models.py --large`. Questions are our own (examples/local/questions.csv), or some
of MMLU's with their options as text. Every expert answers all of them first, which shows each alone. Then a table with
the same questions is learned from, as `leeroo run --learn` does, within a part of what the most expensive expert costs.
Answers come from the same store, so each is generated once. Right answers are shown to a run only where gold is named.

Beside each run: the best random mix of two experts for its money, chosen with hindsight. The report's intervals and its
claim are compared with the truth.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.routing.data import DATA
from bench.routing.table import table as markdown
from leeroo.engine.answer import NO_ROUTER, Criteria, Engine, open_engine
from leeroo.engine.arrays import Float64s
from leeroo.engine.jobs.learn.compare import is_right
from leeroo.engine.jobs.learn.findings import Findings
from leeroo.engine.jobs.learn.learn import Learning, learn_rows
from leeroo.engine.jobs.learn.mixes import best_mixes
from leeroo.reports.learn import learn_report
from leeroo.reports.page import page
from leeroo.reports.terminal import print_report

OWN = Path(__file__).resolve().parents[2] / "examples" / "local" / "questions.csv"
_OWN = f"SELECT question, answers AS truth FROM '{OWN}' ORDER BY md5(question)"
# A line for each option, with its letter; as many questions of each subject as of any other.
_MMLU = f"""
SELECT question || chr(10)
       || list_aggregate(list_transform(choices, lambda c, i: chr(64 + i::INT) || '. ' || c), 'string_agg', chr(10))
       || chr(10) || 'Answer with the letter of the right option.' AS question, answer AS truth
FROM '{DATA}/mmlu/test.parquet'
ORDER BY row_number() OVER (PARTITION BY subject ORDER BY md5(question)), md5(question)
"""


@dataclass(frozen=True)
class Alone:
    """The experts of a pool, each asked everything.

    Attributes:
        right: [n, e], 1 where an answer is right.
        costs: [e], mean list price of an answer in USD.
    """

    names: list[str]
    right: Float64s
    costs: Float64s

    def mix(self, usd: float) -> float:
        """Return the share right of the best random mix of two experts that spends this for each answer."""
        return float(best_mixes(self.right.mean(axis=0)[None], self.costs, usd)[0][0])


def main() -> None:
    """Ask each expert everything, then learn within each budget, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--questions", choices=["own", "mmlu"], default="own")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--parts", type=float, nargs="+", default=[0.4, 0.7], help="of the most expensive one's cost")
    parser.add_argument("--gold", type=int, nargs="+", default=[0], help="rows whose right answer a run sees")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--store", type=Path, help="of the answers; default: one that is removed at the end")
    parser.add_argument("--page", type=Path, help="of the first run")
    asked = parser.parse_args()
    with duckdb.connect() as con:
        rows = con.sql(_OWN if asked.questions == "own" else _MMLU).limit(asked.rows).to_arrow_table()
    print(f"{os.cpu_count()} cores; {len(rows)} questions: {asked.questions}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        with open_engine(pool=asked.pool, router=NO_ROUTER, store=asked.store or Path(folder)) as engine:
            alone = ask_each(engine, rows)
        print(describe(alone), flush=True)
        lines: list[list[str]] = []
        for gold, part, seed in itertools.product(asked.gold, asked.parts, asked.seeds):
            usd = part * alone.costs.max() * len(rows)
            seen = pa.array([t if i < gold else None for i, t in enumerate(rows.column("truth").to_pylist())])
            with open_engine(pool=asked.pool, router=NO_ROUTER, store=asked.store or Path(folder)) as engine:
                found, right = learn(engine, rows.append_column("gold", seen), usd, seed)
            if not lines:
                print_report(learn_report(found, f"{asked.questions}, {part:g}"))
                if asked.page:
                    asked.page.write_text(page(learn_report(found, f"{asked.questions}, {part:g}")))
            lines.append([f"{part:g}", f"{gold}", f"{seed}", *compare(alone, found, right)])
    print(markdown([_HEAD, *lines]))


def ask_each(engine: Engine, rows: pa.Table) -> Alone:
    """Have each expert answer all questions."""
    right, costs = [], []
    for name in engine.pool.names:
        with engine.answer(rows.to_reader(), Criteria(expert=name)) as answers:
            table = answers.read_all()
        right.append(grade(table))
        costs.append(np.mean(table.column("list_cost_usd").to_numpy()))
        print(f"asked {name}", file=sys.stderr, flush=True)
    return Alone(list(engine.pool.names), np.stack(right, axis=1), np.array(costs))


def grade(answered: pa.Table) -> Float64s:
    """Return 1 for each right answer [n]."""
    pairs = zip(answered.column("answer").to_pylist(), answered.column("truth").to_pylist(), strict=True)
    return np.array([float(is_right(answer or "", truth)) for answer, truth in pairs])


def describe(alone: Alone) -> str:
    """Format what each expert is right on alone, and all of them with hindsight."""
    lines = [[name, share(alone.right[:, j]), f"{1e3 * alone.costs[j]:.5f}"] for j, name in enumerate(alone.names)]
    lines.append(["with hindsight", share(alone.right.max(axis=1)), ""])
    return markdown([["expert", "right %", "USD per 1,000"], *lines]) + "\n"


def learn(engine: Engine, rows: pa.Table, usd: float, seed: int) -> tuple[Findings, Float64s]:
    """Answer the table within a budget, and learn; return the findings and which rows are right [n]."""
    # No run starts from what an earlier one learned from the same questions.
    how = Learning(seed=seed, owner=f"{usd} {rows.column('gold').null_count} {seed}")
    with engine.delivery():
        learned = learn_rows(engine, rows.to_reader(), Criteria(max_cost_usd=usd, gold="gold"), how)
    assert learned.rows is not None  # all rows were to be answered
    return learned.findings, grade(learned.rows)


_HEAD = ["part", "gold", "seed", "spent", "right %", "over the mix", "over the best expert", "report: right %", "gain"]


def compare(alone: Alone, found: Findings, right: Float64s) -> list[str]:
    """Return the cells of a run: the truth, and what its report says; the best expert may cost more than the run."""
    usd = found.spent_usd / len(right)
    over = right - alone.right[:, alone.right.mean(axis=0).argmax()]
    best = max(found.alternatives, key=lambda other: other.rate.value)
    holds = found.rate.low <= right.mean() <= found.rate.high
    return [
        f"{usd / alone.costs.max():.2f}",
        share(right),
        f"{100 * (right.mean() - alone.mix(usd)):+.1f}",
        f"{100 * over.mean():+.1f} ± {error(over):.1f}",
        f"{100 * found.rate.value:.0f} ({100 * found.rate.low:.0f} to {100 * found.rate.high:.0f})"
        + ("" if holds else " does not hold it"),
        f"{100 * best.gain.value:+.1f} ({100 * best.gain.low:.1f} to {100 * best.gain.high:.1f}) over {best.what}",
    ]


def share(right: Float64s) -> str:
    """Format a share in percent with its standard error."""
    return f"{100 * right.mean():.1f} ± {error(right):.1f}"


def error(values: Float64s) -> float:
    """Return the standard error of a mean, in percent."""
    return float(100 * values.std(ddof=1) / np.sqrt(len(values)))


if __name__ == "__main__":
    main()
