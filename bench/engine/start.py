"""How long it takes to start: `leeroo --help` and `import leeroo`, medians of eleven.

Run it with `python bench/engine/start.py`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

WAYS = {
    "leeroo --help": ("-m", "leeroo", "--help"),
    "import leeroo": ("-c", "import leeroo"),
    "python alone": ("-c", ""),
}


def main() -> None:
    """Measure and print."""
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(11):
        for way, arguments in WAYS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            took[way].append(time.perf_counter() - started)
    print(f"{os.cpu_count()} cores\n\n| what | seconds |\n|---|---|")
    for way, seconds in took.items():
        print(f"| {way} | {statistics.median(seconds):.2f} |")


if __name__ == "__main__":
    main()
