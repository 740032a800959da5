"""Self-play for real on the embedded local pool: how far a few rounds bring the router, and how long they take.

python bench/selfplay.py [--rounds 3] [--outcomes 100] [--held-out 100] [--page F.html] [--plot F.svg]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from leeroo.engine.answer import open_engine
from leeroo.engine.jobs.selfplay import Play, play
from leeroo.engine.jobs.selfplay_report import headline, plot_played, read_played, report_page, tables
from leeroo.terminal_evaluation import print_tables, say


def main() -> None:
    """Play in a new folder, and print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--outcomes", type=int, default=100)
    parser.add_argument("--held-out", type=int, default=100)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        with open_engine(store=Path(folder) / "store") as engine:
            what = Play(outcomes=options.outcomes, held_out=options.held_out)
            play(engine, Path(folder) / "play", what, options.rounds, lambda line: print(line, file=sys.stderr))
        played = read_played(Path(folder) / "play")
        say(f"{options.rounds} rounds in {(time.monotonic() - begun) / 60:.1f} minutes")
        say(headline(played))
        print_tables(tables(played))
        if options.page:
            options.page.write_text(report_page(played, "the embedded local pool"))
        if options.plot:
            options.plot.write_text(plot_played(played))


if __name__ == "__main__":
    main()
