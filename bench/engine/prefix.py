"""Fields laid out for the prefix cache: what it saves on a real table with vLLM.

    python bench/engine/prefix.py [--rows 96] [--subjects 8] [--repeats 2]

Questions of MMLU in random order (LEEROO_DATA/mmlu), each with five solved questions of its subject: one column that
hundreds of rows share, one that none does. Asked by one statement in two ways: with the columns filled in where the
task names them, question first, as string concatenation does; and as `leeroo_answer(task, fields)`. In turns, each
time with a new engine and a new store; loading is not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

import leeroo
from bench.engine.sql import VLLM
from bench.routing.data import DATA
from leeroo.engine.answer import Progress

TABLE = """
CREATE TABLE t AS
WITH shown AS (
    SELECT subject, string_agg(question || chr(10) || array_to_string(choices, chr(10)) || chr(10)
                               || 'Answer: ' || choices[ascii(answer) - 64], chr(10) || chr(10)) AS examples
    FROM '{mmlu}/dev.parquet' GROUP BY subject),
chosen AS (SELECT subject, examples FROM shown WHERE strlen(examples) < 6000 ORDER BY hash(subject) LIMIT {subjects})
SELECT question || chr(10) || array_to_string(choices, chr(10)) AS question, examples
FROM '{mmlu}/test.parquet' JOIN chosen USING (subject) ORDER BY hash(question) LIMIT {rows}
"""
WAYS = {
    "filled in": "'Answer the question: ' || question || ' Here are solved ones like it: ' || examples",
    "laid out": "'Answer the question: {question} Here are solved ones like it: {examples}', t",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=2)
    asked = parser.parse_args()
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    shares: dict[str, float] = {}
    for _ in range(asked.repeats):
        for way, arguments in WAYS.items():
            took, shares[way] = measure(arguments, asked.rows, asked.subjects)
            seconds[way].append(took)
    print(f"{os.cpu_count()} cores, DuckDB {duckdb.__version__}; {asked.rows} questions of {asked.subjects} subjects\n")
    print("| fields | seconds | prompt tokens from the prefix cache |\n|---|---|---|")
    for way, each in seconds.items():
        print(f"| {way} | {statistics.median(each):.1f} | {shares[way]:.0%} |")


def measure(arguments: str, rows: int, subjects: int) -> tuple[float, float]:
    """Seconds of the statement, and the share of its prompt tokens that came from the cache."""
    last = Progress()

    def listen(progress: Progress) -> None:
        nonlocal last
        last = progress

    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "pool.toml").write_text(VLLM)
        with leeroo.connect(pool=Path(name) / "pool.toml", store=Path(name) / "store", on_progress=listen) as con:
            con.execute(TABLE.format(mmlu=DATA / "mmlu", rows=rows, subjects=subjects))
            con.execute("SELECT leeroo_answer('What is the capital of France?', max_tokens := 1)")
            started = time.perf_counter()
            con.execute(f"CREATE TABLE answered AS SELECT leeroo_answer({arguments}, max_tokens := 4) AS a FROM t")
            return time.perf_counter() - started, last.cached_share or 0.0


if __name__ == "__main__":
    main()
