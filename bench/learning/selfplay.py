"""Run self-play on the embedded local pool: how far a few rounds improve the router, and how long they take.

    python bench/learning/selfplay.py [--rounds 3] [--outcomes 100] [--held-out 300] [--seeds 0 1 2]
        [--pool F.toml] [--own 320] [--store DIR] [--page F.html] [--plot F.svg]

One loop shows little: the experts of the embedded pool are right on one question in seven, so chance moves a score as
far as learning does. Several loops with questions of their own show the mean rise. `bench/jobs/small_models.py` writes
a pool of which more can be learned.

With --own, loops play on that many of our own questions (examples/local/questions.csv) instead of made ones, and share
a store, so that each pair of question and expert is answered once. A quarter of them is held out, another in each loop:
the standard error is then that of the draw of questions to learn from and to measure on, among these. With --store the
answers are kept there, so that a killed run does not lose them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np

from leeroo.engine.answer import NO_ROUTER, open_engine
from leeroo.engine.arrays import Float64s
from leeroo.engine.jobs.selfplay.generate import NewQuestion, read_seeds
from leeroo.engine.jobs.selfplay.loop import Play
from leeroo.engine.jobs.selfplay.loop import play as play_rounds
from leeroo.engine.jobs.selfplay.played import Played, read_played
from leeroo.reports.page import page
from leeroo.reports.selfplay import plot_played, selfplay_report
from leeroo.reports.terminal import print_report, say

OWN = Path(__file__).resolve().parents[2] / "examples" / "local" / "questions.csv"


def main() -> None:
    """Play each loop in a new folder, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--outcomes", type=int, default=100)
    parser.add_argument("--held-out", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--pool", type=Path, help="default: the embedded local pool")
    parser.add_argument("--own", type=int, default=0, help="play on this many of our own questions")
    parser.add_argument("--store", type=Path, help="of all loops, with --own; default: one that is removed at the end")
    parser.add_argument("--page", type=Path, help="of the first loop")
    parser.add_argument("--plot", type=Path, help="of the first loop")
    options = parser.parse_args()
    play = Play(outcomes=options.outcomes, held_out=options.held_out)
    if options.own:
        play = replace(play, families=(), written=0, seeds=own_questions(options.own))
    with tempfile.TemporaryDirectory() as store:
        shared = (options.store or Path(store)) if options.own else None
        loops = [play_once(replace(play, seed=seed), options.rounds, options.pool, shared) for seed in options.seeds]
    if options.page:
        options.page.write_text(page(selfplay_report(loops[0], title(options.pool))))
    if options.plot:
        options.plot.write_text(plot_played(loops[0]))
    if len(loops) > 1:
        say(f"\nMeans of {len(loops)} loops:")
        for name in ("score", "log_loss"):
            for number in range(options.rounds + 1):
                say(describe_round(loops, name, number))
        say(f"random mix: {np.mean([played.random_mix for played in loops]):.4f}")
        for name in sorted(row["expert"] for row in loops[0].experts):
            alone = [row["accuracy"] for played in loops for row in played.experts if row["expert"] == name]
            say(f"{name} alone: {np.mean(alone):.4f}")
        say(f"with hindsight: {np.mean([played.rounds[-1]['oracle_accuracy'] for played in loops]):.4f}")


def own_questions(questions: int) -> tuple[NewQuestion, ...]:
    """Return some of our own questions with their answers, drawn by chance and always the same."""
    drawn = duckdb.connect().sql(
        f"SELECT question, answers AS answer FROM '{OWN}' ORDER BY md5(question) LIMIT {questions}"
    )
    return tuple(read_seeds(drawn.to_arrow_table().to_reader(), "question"))


def play_once(what: Play, rounds: int, pool: Path | None, store: Path | None) -> Played:
    """Play one loop; with an empty store when none is shared."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        with open_engine(pool=pool, router=NO_ROUTER, store=store or Path(folder) / "store") as engine:
            play_rounds(engine, Path(folder) / "play", what, rounds, lambda line: print(line, file=sys.stderr))
        played = read_played(Path(folder) / "play")
    say(f"seed {what.seed}: {rounds} rounds in {(time.monotonic() - begun) / 60:.1f} minutes")
    print_report(selfplay_report(played, title(pool)))
    return played


def title(pool: Path | None) -> str:
    """Name the pool for the report."""
    return "the embedded local pool" if pool is None else f"the pool {pool.name}"


def describe_round(loops: list[Played], name: str, number: int) -> str:
    """Describe a round over the loops: the mean of its figure, and the change since the start within each loop."""
    start, now = (np.array([played.rounds[at][name] for played in loops]) for at in (0, number))
    outcomes = np.mean([played.rounds[number]["outcomes_total"] for played in loops])
    line = f"{name}, {outcomes:.0f} outcomes: {with_error(now)}"
    return line + (f", {with_error(now - start, '+')} since the start" if number else "")


def with_error(values: Float64s, sign: str = "") -> str:
    """Format the mean over the loops with its standard error."""
    return f"{values.mean():{sign}.4f} ± {values.std(ddof=1) / np.sqrt(len(values)):.4f}"


if __name__ == "__main__":
    main()
