"""Measure what --learn brings a new user: a table, a pool of three experts behind an API, no router, no right answers.

    PYTHONPATH=. python bench/learning/three_experts.py --rows 1000 [--gold 200]

The API is the tests' fake provider, whose experts are right on 95, 92 and 93 % of one kind of question and on 50 to
60 % of the others. The report is the one in docs/how-to/learn-while-answering.md. Below it: who is right, by answers
that only this script knows.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import polars as pl

from tests import three_experts
from tests.command import leeroo
from tests.provider import running


def main() -> None:
    """Run the command with --learn, and each expert alone for the same money."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1000)
    options.add_argument("--usd-per-1k", type=float, default=0.04, help="The budget, for 1,000 questions.")
    options.add_argument("--gold", type=int, default=0, help="Rows whose right answer the run sees.")
    given = options.parse_args()
    with running() as api, tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        table = three_experts.set_up(place, api, given.rows)
        seen = pl.when(pl.col("id") < given.gold).then(pl.col("truth"))
        table.with_columns(seen.alias("gold")).write_csv(place / "questions.csv")
        gold = ["--gold", "gold"] if given.gold else []
        budget = f"{given.usd_per_1k * given.rows / 1000:g}"
        _run(place, "learned", budget, "--learn", "--save-router", "router", "--report", "report.html", *gold)
        for name in three_experts.SKILLS:
            _run(place, name, budget, "--expert", name)


def _run(place: Path, name: str, budget: str, *options: str) -> None:
    command = ["run", "questions.csv", "--pool", "pool.toml", "--store", f"store-{name}", "--max-cost-usd", budget]
    done = leeroo(*command, "--out", f"{name}.csv", *options, cwd=place)
    if name == "learned":
        print(done.stderr, done.stdout, sep="\n")
    answered = pl.read_csv(place / f"{name}.csv")
    right = 100 * three_experts.share_right(answered)
    print(f"{name}: {right:.1f} % right, for ${answered['cost_usd'].sum():.4f}")


if __name__ == "__main__":
    main()
