"""How long it takes to start: help, import, a run of eight rows by the embedded pool, and a replayed statement.

    python bench/engine/start.py [--repeats 11] [--only TEXT] [--against FOLDER]

Medians of wall time, and of the CPU time of the command with all processes that it starts. Each repeat of a run or
statement has a new answer store. The first of each, which fills caches, does not count. With `--against`, another
checkout of this repository takes turns with this one.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parents[2]
EXAMPLES = HERE / "examples"
ROWS = 8
RUN = ("-m", "leeroo", "run", "{folder}/rows.csv", "--out", "{folder}/out.parquet", "--overwrite", "--quiet")
STATEMENT = f"SELECT leeroo_answer(question) FROM '{EXAMPLES / 'local' / 'questions.csv'}' LIMIT {ROWS}"
SQL = ("-m", "leeroo", "sql", STATEMENT, "--pool", str(EXAMPLES / "replay.toml"), "--quiet")


class Way(NamedTuple):
    """A command: its arguments, whether its store is new each time, and how many GiB of vectors are kept."""

    arguments: tuple[str, ...]
    new_store: bool = True
    vectors_gib: str = "4"


WAYS = {
    "leeroo --help": Way(("-m", "leeroo", "--help")),
    "import leeroo": Way(("-c", "import leeroo")),
    "python alone": Way(("-c", "")),
    f"leeroo run, {ROWS} rows, embedded pool, vectors cached": Way(RUN),
    f"leeroo run, {ROWS} rows, embedded pool, new questions": Way(RUN, vectors_gib="0"),
    f"leeroo run, the same {ROWS} rows from the store": Way(RUN, new_store=False),
    f"leeroo sql, {ROWS} rows, recorded answers": Way(SQL),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--only", default="", help="ways with this text in their names")
    parser.add_argument("--against", type=Path, help="another checkout, measured in turns")
    asked = parser.parse_args()
    checkouts = {"": HERE, **({" (against)": asked.against.resolve()} if asked.against else {})}
    took: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = (EXAMPLES / "local" / "questions.csv").read_text().splitlines(keepends=True)
        (folder / "rows.csv").write_text("".join(rows[: ROWS + 1]))
        for number in range(asked.repeats + 1):
            for title, way in WAYS.items():
                for where, checkout in checkouts.items() if asked.only in title else ():
                    store = folder / (f"{number}" if way.new_store else "kept") / f"{title}{where}".replace(" ", "-")
                    measured = measure(way, folder, store, checkout)
                    took.setdefault(title + where, []).extend([measured] if number else [])
    print(f"{os.cpu_count()} cores, {asked.repeats} repeats\n\n| what | seconds | CPU seconds |\n|---|---|---|")
    for title, each in took.items():
        wall, cpu = (statistics.median(column) for column in zip(*each, strict=True))
        print(f"| {title} | {wall:.2f} | {cpu:.2f} |")


def measure(way: Way, folder: Path, store: Path, checkout: Path) -> tuple[float, float]:
    """Run a command, and return its seconds and CPU seconds."""
    arguments = [argument.format(folder=folder) for argument in way.arguments]
    own = {"PYTHONPATH": str(checkout), "LEEROO_STORE": str(store), "LEEROO_VECTORS_GIB": way.vectors_gib}
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **own}
    started, before = time.perf_counter(), _cpu()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, cwd=folder, env=environment)
    return time.perf_counter() - started, _cpu() - before


def _cpu() -> float:
    """Return the CPU seconds of the processes that have ended, with theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
