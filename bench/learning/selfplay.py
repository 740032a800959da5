"""Run self-play on the embedded local pool: how far a few rounds improve the router, and how long they take.

    python bench/learning/selfplay.py [--rounds 3] [--outcomes 100] [--held-out 300] [--seeds 0 1 2]
        [--pool F.toml] [--written 0.25] [--page F.html] [--plot F.svg]

One loop shows little: the experts of the embedded pool are right on one question in seven, so chance moves a score as
far as learning does. Several loops with questions of their own show the mean rise. `bench/jobs/small_models.py` writes
a pool of which more can be learned.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from leeroo.engine.answer import NO_ROUTER, open_engine
from leeroo.engine.jobs.selfplay.loop import Play, play
from leeroo.engine.jobs.selfplay.played import Played, read_played
from leeroo.reports.page import page
from leeroo.reports.selfplay import plot_played, selfplay_report
from leeroo.reports.terminal import print_report, say


def main() -> None:
    """Play each loop in a new folder, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--outcomes", type=int, default=100)
    parser.add_argument("--held-out", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--pool", type=Path, help="default: the embedded local pool")
    parser.add_argument("--written", type=float, default=0.25, help="part of the questions that an expert writes")
    parser.add_argument("--page", type=Path, help="of the first loop")
    parser.add_argument("--plot", type=Path, help="of the first loop")
    options = parser.parse_args()
    sizes = {"outcomes": options.outcomes, "held_out": options.held_out, "written": options.written}
    loops = [play_once(Play(**sizes, seed=seed), options.rounds, options.pool) for seed in options.seeds]
    if options.page:
        options.page.write_text(page(selfplay_report(loops[0], title(options.pool))))
    if options.plot:
        options.plot.write_text(plot_played(loops[0]))
    if len(loops) > 1:
        say(f"\nMeans of {len(loops)} loops:")
        for name in ("score", "log_loss"):
            say(describe_rise(loops, name))
        say(f"random mix: {np.mean([played.random_mix for played in loops]):.4f}")
        for name in sorted(row["expert"] for row in loops[0].experts):
            alone = [row["accuracy"] for played in loops for row in played.experts if row["expert"] == name]
            say(f"{name} alone: {np.mean(alone):.4f}")
        say(f"with hindsight: {np.mean([played.rounds[-1]['oracle_accuracy'] for played in loops]):.4f}")


def play_once(what: Play, rounds: int, pool: Path | None) -> Played:
    """Play one loop with an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        with open_engine(pool=pool, router=NO_ROUTER, store=Path(folder) / "store") as engine:
            play(engine, Path(folder) / "play", what, rounds, lambda line: print(line, file=sys.stderr))
        played = read_played(Path(folder) / "play")
    say(f"seed {what.seed}: {rounds} rounds in {(time.monotonic() - begun) / 60:.1f} minutes")
    print_report(selfplay_report(played, title(pool)))
    return played


def title(pool: Path | None) -> str:
    """Name the pool for the report."""
    return "the embedded local pool" if pool is None else f"the pool {pool.name}"


def describe_rise(loops: list[Played], name: str) -> str:
    """Describe the change from the start to the last round, the mean over the loops, with its standard error."""
    start, end = (np.array([played.rounds[at][name] for played in loops]) for at in (0, -1))
    error = (end - start).std(ddof=1) / np.sqrt(len(loops))
    rise = f"{(end - start).mean():+.4f} ± {error:.4f}"
    return f"{name}: {start.mean():.4f} at the start, {end.mean():.4f} at the end, {rise}"


if __name__ == "__main__":
    main()
