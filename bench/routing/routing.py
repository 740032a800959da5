"""Compute every figure and picture of routing on recorded outcomes: our routers, simple baselines and public peers.

    python bench/routing/routing.py [--routers DIR] [--peers DIR [--peers-python PYTHON]] [--plot DIR]
        [--learning-curve]

Reads the data folders in LEEROO_DATA, or ../shared/data. Three routers are learned by the public API with its
defaults, or read from `--routers` where they were saved before: `mmlu9` (from mmlu9 and mmlu_gpt4_mixtral), `pair`
(from mmlu_gpt4_mixtral) and `mmlu_pro`. All predict the test questions of five settings. A choice is made
for all questions at once under each budget, from the predictions alone; recorded scores and costs are counted.

The peers' predictions are read from DIR/SETTING.parquet, as peers.py writes them. With the Python of the peers'
environment (see peers.py) absent ones are computed first. Peers predict no costs, so each expert's mean
cost in training replaces them. Their value for an expert - the probability that it is the one to choose, a win rate -
is used as its score. Between two experts that is the same as moving a threshold over their win rate, which is how
RouteLLM and the hybrid are used. "No budget" is a peer's own choice: its highest score. Mean costs overspend
where the expensive experts get the long questions; "spending alike" compares all at exactly the budget.

Intervals are 95 % bootstrap intervals over the test questions. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.routing import curve as routing_curve
from bench.routing import table as routing_table
from bench.routing.data import DATA, ROUTERS, SETTINGS, Setting, Task, load
from bench.routing.plot import picture
from bench.routing.rivals import baselines, ours, peers
from bench.routing.table import BLIND, OURS, Rivals
from leeroo.engine.errors import LeerooError
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.training.learn import train

_PLOTTED = ("nine", "pro28")


def main() -> None:
    """Train absent routers, predict, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", type=Path, help="where routers are kept; without, they are learned anew")
    parser.add_argument("--peers", type=Path, help="where the peers' predictions are")
    parser.add_argument("--peers-python", type=Path, help="makes those that are absent")
    parser.add_argument("--plot", type=Path, help="a folder for pictures")
    parser.add_argument("--learning-curve", action="store_true", help="also learn from parts of the questions")
    parser.add_argument("--settings", type=lambda text: text.split(","), help="only these: eight,nine,pair,pro28,pro17")
    options = parser.parse_args()
    start = time.perf_counter()
    memory = psutil.virtual_memory().total / 2**30
    print(f"{os.cpu_count()} cores, {memory:.0f} GiB of memory; Python {sys.version.split()[0]}\n")

    settings = [setting for setting in SETTINGS if setting.key in (options.settings or [s.key for s in SETTINGS])]
    routers = {name: load_or_train(name, options.routers) for name in ROUTERS if name in {s.router for s in settings}}
    measured = []
    for setting in settings:
        task = load(setting)
        rivals = predict(task, routers[setting.router], options.peers, options.peers_python)
        print(routing_table.header(task))
        print(routing_table.budgets(task, rivals) if setting.goals else routing_table.pair(task, rivals), flush=True)
        if options.plot and setting.key in _PLOTTED:
            options.plot.mkdir(parents=True, exist_ok=True)
            (options.plot / f"{setting.key}.svg").write_text(picture(task, rivals), encoding="utf-8")
        measured.append((task, rivals))
    print("### Calibration\n\n" + routing_table.calibration(measured))
    if options.learning_curve:
        curves([task for task, _ in measured], routers)
    print(f"{time.perf_counter() - start:.0f} s in all")


def load_or_train(name: str, kept: Path | None) -> Router:
    """Read one of the routers where it is saved, or learn it with all defaults."""
    folder = kept / name if kept else None
    start = time.perf_counter()
    if folder and folder.exists():
        router, how = Router.load(folder), "read"
    else:
        router, how = train([DATA / source for source in ROUTERS[name]], on_progress=_print_progress), "learned"
        if folder:
            router.save(folder)
    print(
        f"- router {name} ({router.fingerprint[:12]}), from {' and '.join(ROUTERS[name])}: {how} in "
        f"{time.perf_counter() - start:.0f} s; {router.summary.questions:,} questions, {len(router.experts)} experts, "
        f"encoders {', '.join(router.encoders)}\n",
        flush=True,
    )
    return router


def predict(task: Task, router: Router, folder: Path | None, python: Path | None) -> Rivals:
    """Collect all predictions in one setting."""
    file = folder / f"{task.setting.key}.parquet" if folder else None
    if file and not file.exists() and python:
        run_peers(python, task.setting, task.experts, file)
    return Rivals(
        {OURS: ours(router, task, in_context=True), BLIND: ours(router, task, in_context=False)},
        baselines(task),
        peers(task, file) if file and file.exists() else {},
    )


def run_peers(python: Path, setting: Setting, experts: tuple[str, ...], file: Path) -> None:
    """Run peers.py to write one setting's file; its messages, and the peers it left out, are sent to stderr."""
    sources = [word for name in setting.train for word in ("--train", str(DATA / name))]
    script = Path(__file__).with_name("peers.py")
    test = ["--test", str(DATA / setting.test), "--experts", ",".join(experts), "--out", str(file)]
    subprocess.run([str(python), str(script), *sources, *test], check=True, stdout=sys.stderr)


def curves(tasks: list[Task], routers: dict[str, Router]) -> None:
    """Print learning curves of every encoder, on the settings that have budgets."""
    for name in routers:
        mine = [task for task in tasks if task.setting.router == name and task.setting.goals]
        if not mine:
            continue
        print(f"### Learning curves of {name}\n")
        for title, encoders in routing_curve.ENCODERS.items():
            try:
                print(routing_curve.report(title, routing_curve.grow(name, encoders, mine)), flush=True)
            except LeerooError as error:  # the static encoder needs packages of its own
                print(f"{title}: {error}\n")


def _print_progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
